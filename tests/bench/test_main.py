"""The command as typed: what it writes, says and returns."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay.bench import folder
from assay.bench.main import exit_code, main
from assay.bench.measurement import Measurement, Record, Task
from assay.bench.report import Report
from assay.config.compose import PROJECT, compose

SMALL = [
    "devices=[cpu]",
    "sizes=[16,64]",
    "dtypes=[float32]",
    "threads=1",
    "seconds=2",
    "sustained_seconds=0",
]


def run(tmp_path: Path, *words: str) -> int:
    overrides = [*words, f"output_dir={tmp_path}"]
    return main(compose("bench", overrides), overrides)


def test_a_result_folder_has_the_record_and_its_views(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *SMALL) == 0
    (path,) = (tmp_path / "bench").iterdir()
    assert path.name.startswith("matmul-")
    result = json.loads((path / "result.json").read_text())
    assert result["status"] == "completed"
    assert result["config"]["sizes"] == [16, 64] and "threads=1" in result["config"]["overrides"]
    assert result["environment"]["cpu"]["name"]
    row = result["measurements"][0]
    assert row["wall_s"] and row["derived"]["median_s"] > 0 and row["check"]["error"] < row["check"]["limit"]
    for view in ("table.md", "figures/time.png", "figures/rate.png"):
        assert (path / view).stat().st_size > 100, view
    assert list(path.glob("events.out.tfevents.*"))
    assert "| matmul 64 | cpu | 1 | float32 | torch |" in (path / "table.md").read_text()
    screen = capsys.readouterr().out
    assert "64 x 64" in screen and str(path) in screen


def test_what_is_written_is_read_back_to_the_same_raw_times(tmp_path: Path) -> None:
    assert run(tmp_path, *SMALL) == 0
    (path,) = (tmp_path / "bench").iterdir()
    _, measurements = folder.read(str(path))
    raw = json.loads((path / "result.json").read_text())["measurements"]
    assert [list(m.wall_s) for m in measurements] == [row["wall_s"] for row in raw]
    assert [m.median_s for m in measurements] == [row["derived"]["median_s"] for row in raw]


def test_two_benches_of_the_same_second_have_two_folders(tmp_path: Path) -> None:
    assert len({folder.create(tmp_path, "matmul") for _ in range(5)}) == 5


def test_a_refused_result_or_a_failed_claim_is_exit_code_1() -> None:
    task = Task("matmul", "torch", "cpu")
    good, report = Measurement(task, wall_s=(1.0,)), Report((), (), ())
    skipped, invalid = Measurement(task, "skipped", "no time"), Measurement(task, "invalid", "wrong result")
    assert exit_code(Record((good, skipped)), report) == 0
    assert exit_code(Record((good, invalid)), report) == 1
    assert exit_code(Record((good,)), Report((), (), (), failures=("gradcheck failed",))) == 1


def test_ctrl_c_keeps_what_is_measured(tmp_path: Path) -> None:
    words = ["sizes=[16,64,9000]", "threads=1", "dtypes=[float32]", "seconds=100", f"output_dir={tmp_path}"]
    process = subprocess.Popen(
        [sys.executable, "bench.py", *words], cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    time.sleep(9.0)  # into the largest product; a machine that is slower is interrupted a little earlier
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    results = list(tmp_path.glob("bench/*/result.json"))
    if b"before anything was measured" not in errors:
        result = json.loads(results[0].read_text())
        assert result["status"] == "interrupted"
        assert any(row["status"] == "ok" for row in result["measurements"])


def test_it_imports_no_lightning(tmp_path: Path) -> None:
    code = (
        "import sys; from assay.config.compose import compose; from assay.bench.main import main;"
        f"words = {[*SMALL, f'output_dir={tmp_path}']!r}; assert main(compose('bench', words), words) == 0;"
        "assert not {'pytorch_lightning', 'lightning'} & {name.split('.')[0] for name in sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
