"""The command as typed: what it writes, says and returns."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from assay import PROJECT
from assay.bench import main as command
from assay.bench.main import choose, main, new_folder, raise_failures
from assay.bench.record import Measurement, Record, Task, load, save
from assay.config.load import load as load_config
from assay.errors import RunFailed, UserError
from assay.report import Report
from tests.bench.test_views import timed
from tests.processes import start, wait_for

SMALL = (
    "devices=[cpu]",
    "sizes=[16,64]",
    "dtypes=[float32]",
    "threads=1",
    "seconds=2",
    "sustained_seconds=0",
)
NO_GPU = {"cuda": "this machine has no NVIDIA GPU"}
AROUND = {
    "cpu": {"name": "CPU"},
    "devices": {"cpu": "CPU"},
    "versions": {"torch": "2.15.0"},
    "blas": {"torch": "MKL"},
}


def run(*overrides: str) -> None:
    main(load_config("bench", overrides).config, overrides)


def result(output_dir: Path) -> tuple[Path, dict[str, Any]]:
    (path,) = (output_dir / "bench").iterdir()
    return path, json.loads((path / "result.json").read_text())


def test_a_result_folder_has_the_record_and_its_views(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*SMALL, f"output_dir={tmp_path}")
    path, found = result(tmp_path)
    assert path.name.startswith("matmul-")
    assert found["status"] == "completed"
    assert found["config"]["sizes"] == [16, 64] and "threads=1" in found["overrides"]
    assert found["environment"]["cpu"]["name"]
    row = found["measurements"][0]
    assert row["wall_s"] and row["derived"]["median_s"] > 0 and row["check"]["error"] < row["check"]["limit"]
    for view in ("table.md", "figures/time.png", "figures/rate.png"):
        assert (path / view).stat().st_size > 100, view
    assert "| matmul 64 | cpu | 1 | float32 | torch |" in (path / "table.md").read_text()
    screen = capsys.readouterr().out
    assert "64 x 64" in screen and str(path) in screen


def test_what_is_written_is_read_back_to_the_same_raw_times_and_drawn_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(*SMALL, f"output_dir={tmp_path}")
    path, found = result(tmp_path)
    record = load(path, "report")
    assert [list(m.wall_s) for m in record.measurements] == [row["wall_s"] for row in found["measurements"]]
    medians = [row["derived"]["median_s"] for row in found["measurements"]]
    assert [m.median_s for m in record.measurements] == medians
    page, shown = (path / "table.md").read_text(), capsys.readouterr().out
    (path / "table.md").unlink()
    (path / "figures" / "time.png").unlink()
    run(f"report={path}")
    assert (path / "table.md").read_text() == page and (path / "figures" / "time.png").exists()
    assert capsys.readouterr().out == shown
    assert result(tmp_path)[1] == found


def test_several_processes_share_the_time_and_their_times_are_kept_apart(tmp_path: Path) -> None:
    run(*SMALL, "sizes=[16]", "seconds=4", "processes=2", f"output_dir={tmp_path}")
    _, found = result(tmp_path)
    for row in found["measurements"]:
        assert len(row["per_process"]) == 2 and sum(row["per_process"]) == len(row["wall_s"])
    assert found["config"]["processes"] == 2 and found["status"] == "completed"


def test_two_benches_of_the_same_second_have_two_folders(tmp_path: Path) -> None:
    assert len({new_folder(tmp_path, "matmul") for _ in range(5)}) == 5


def test_a_refused_result_or_a_failed_claim_is_exit_code_1() -> None:
    task = Task("matmul", "torch", "cpu")
    good = Measurement(task, wall_s=[1.0])
    skipped, invalid = Measurement(task, "skipped", "no time"), Measurement(task, "invalid", "wrong result")
    raise_failures(Record([good, skipped]), Report())
    with pytest.raises(RunFailed, match="wrong result"):
        raise_failures(Record([good, invalid]), Report())
    with pytest.raises(RunFailed, match="gradcheck failed"):
        raise_failures(Record([good]), Report(failures=("gradcheck failed",)))


def rounds(output_dir: Path) -> int:
    """How many times every row on disk has at least; 0 where there is no record."""
    paths = list(output_dir.glob("bench/*/result.json"))
    rows = json.loads(paths[0].read_text())["measurements"] if paths else []
    return min((len(row["wall_s"]) for row in rows), default=0)


INTERRUPTED = {
    "matmul": (["sizes=[16,64,9000]", "dtypes=[float32]"], signal.SIGINT),
    "training": (
        ["bench=training", "optimizers=[sgd]", "arms=[bare,assay]", "batch_sizes=[4096]", "repeats=500"],
        signal.SIGINT,
    ),
    "several processes": (["sizes=[64]", "dtypes=[float32]", "processes=2"], signal.SIGTERM),
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_what_is_measured_is_kept_and_shown_at_ctrl_c(name: str, tmp_path: Path) -> None:
    overrides, number = INTERRUPTED[name]
    words: Sequence[str] = [*overrides, "seconds=1000", "threads=1", f"output_dir={tmp_path}"]
    process = start("bench", PROJECT, *words)
    wait_for(lambda: rounds(tmp_path) >= 2 or process.poll() is not None)
    assert process.poll() is None, process.text
    process.send_signal(number)
    assert process.wait(timeout=100) == 128 + number, process.text
    assert "Traceback" not in process.text
    path, found = result(tmp_path)
    assert found["status"] == "interrupted"
    assert any(row["status"] == "ok" and len(row["wall_s"]) >= 2 for row in found["measurements"])
    assert "| notes |" in (path / "table.md").read_text() or "| all rows" in (path / "table.md").read_text()
    assert f"interrupted: {path}" in process.text


def test_a_bug_in_a_picture_loses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(report: Report, folder: Path, heading: str) -> None:
        raise ZeroDivisionError("in a picture")

    monkeypatch.setattr(command, "save_report", broken)
    said = r"ZeroDivisionError: in a picture\n  at .*test_main.py:\d+\nthe traceback is in .*log\.txt"
    with pytest.raises(RunFailed, match=said):
        run(*SMALL, f"output_dir={tmp_path}")
    path, found = result(tmp_path)
    assert found["status"] == "completed" and found["measurements"]
    assert "in broken" in (path / "log.txt").read_text()


def test_a_bug_in_a_bench_keeps_the_rows_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from assay.bench import matmul

    real = matmul.product_job

    def broken(inputs: matmul.Inputs, *rest: Any) -> Any:
        return real(inputs, *rest) if inputs.size == 16 else {}["job"]

    monkeypatch.setattr(matmul, "product_job", broken)
    with pytest.raises(RunFailed, match="KeyError: 'job'"):
        run(*SMALL, f"output_dir={tmp_path}")
    path, found = result(tmp_path)
    assert found["status"] == "failed" and [row["task"]["size"] for row in found["measurements"]] == [16, 16]
    assert "Traceback" in (path / "log.txt").read_text()


@pytest.mark.parametrize("bench", ["loader", "training"])
def test_a_bench_of_the_cpu_refuses_other_devices_and_writes_nothing(
    bench: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator = torch.accelerator
    monkeypatch.setattr(accelerator, "current_accelerator", lambda **_: torch.device("cuda"))
    monkeypatch.setattr(accelerator, "device_count", lambda: 1)
    with pytest.raises(UserError, match=rf"devices=\[cuda:0\] cannot be used: bench={bench} runs on the CPU"):
        run(f"bench={bench}", "devices=[cpu,cuda:0]", f"output_dir={tmp_path}")
    assert not list(tmp_path.iterdir())


def test_names_are_taken_once_and_cuda_is_the_first_gpu() -> None:
    assert choose(["cpu", "cuda", "cuda:0"], ["cpu", "cuda:0"], {}) == ["cpu", "cuda:0"]


@pytest.mark.parametrize(
    ("name", "here", "absent", "said"),
    [
        ("cuda:7", ["cpu"], NO_GPU, "devices=[cuda:7] cannot be used: this machine has no NVIDIA GPU"),
        ("cuda:7", ["cpu", "cuda:0"], {}, "devices=[cuda:7] cannot be used: this machine has no cuda:7"),
        ("mps", ["cpu"], NO_GPU, "devices=[mps] cannot be used: this machine has no mps"),
        ("gpu", ["cpu"], NO_GPU, "devices=[gpu] is no device"),
        ("cuda:x", ["cpu", "cuda:0"], {}, "devices=[cuda:x] cannot be used"),
    ],
)
def test_a_device_that_is_not_here_is_refused(
    name: str, here: list[str], absent: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        choose([name], here, absent)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(said)
    assert lines[-1].endswith(f"on this machine: {', '.join(here)}")
    assert len(lines) <= 4


def test_it_imports_no_lightning(tmp_path: Path) -> None:
    overrides = [*SMALL, f"output_dir={tmp_path}"]
    code = (
        "import sys; from assay.cli import bench;"
        f"sys.argv = {['bench.py', *overrides]!r}; assert bench() == 0;"
        "assert not {'pytorch_lightning', 'lightning'} & {name.split('.')[0] for name in sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def written(folder: Path, *measurements: Measurement, **around: object) -> Path:
    save(Record(list(measurements), environment=AROUND | around, bench="matmul"), folder)
    return folder


def test_the_command_compares_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written(tmp_path / "a", timed(1.0))
    after = written(tmp_path / "b", timed(1.3), timed(1.0, size=32), versions={"torch": "2.16.0"})
    run(f"compare=['{before / 'result.json'}','{after}']")
    screen = capsys.readouterr().out
    assert "SLOWER" in screen
    assert "1 rows are in one result only" in screen
    assert "one process a side" in screen
    assert "versions differ: {'torch': '2.15.0'} and {'torch': '2.16.0'}" in screen


def test_fail_if_slower_is_for_scripts(tmp_path: Path) -> None:
    slow, fast = written(tmp_path / "slow", timed(1.3)), written(tmp_path / "fast", timed(1.0))
    with pytest.raises(RunFailed, match="1 of 1 rows are SLOWER"):
        run(f"compare=['{fast}','{slow}']", "fail_if_slower=true")
    run(f"compare=['{slow}','{fast}']", "fail_if_slower=true")


@pytest.mark.parametrize("key", ["compare", "report"])
def test_what_is_no_result_is_said_to_be_none(key: str, tmp_path: Path) -> None:
    good = written(tmp_path / "good", timed(1.0))
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')

    def named(path: Path) -> str:
        return f"compare=['{good}','{path}']" if key == "compare" else f"report='{path}'"

    with pytest.raises(UserError, match=rf"{key}: .*nowhere.* cannot be read: No such file"):
        run(named(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=rf"{key}: .*other\.json is no result of a bench"):
        run(named(other))
    if key == "compare":
        with pytest.raises(UserError, match="have no row in common"):
            run(named(written(tmp_path / "none", timed(1.0, size=7))))
