"""`runs`: what has been run, read from the folders; `ckpt=best:<sweep>`."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from assay import PROJECT, cli
from tests.runs import SHORT, result, train

Written = dict[str, Any]


def write_run(folder: Path, began: int, **values: Any) -> Path:
    """A run folder with what the list reads; it began in that minute."""
    whole: Written = {
        "status": "completed",
        "process": {"pid": 2**22 - 1, "host": os.uname().nodename},
        "started": f"2025-11-26T10:{began:02}:00+00:00",
        "metrics": {"val/accuracy": 0.9},
        "seconds": {"total": 75.0},
        "overrides": [],
        "checkpoint": "checkpoints/best.ckpt",
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(whole | values))
    return folder


def write_sweep(folder: Path, values: list[float | None], metric: str = "val/accuracy") -> None:
    jobs = [
        {"id": f"{at:x}", "group": "g", "name": f"seed={at}-{at:x}", "overrides": [f"seed={at}"]}
        for at in range(len(values))
    ]
    command = "python train.py -m optimizer=sgd seed=0,1,2"
    folder.mkdir(parents=True)
    by = {"metric": metric, "direction": "min" if metric == "val/loss" else "max", "directions": {}}
    whole = {"name": folder.name, "command": command, "by": by, "jobs": jobs}
    (folder / "sweep.json").write_text(json.dumps(whole))
    for job, value in zip(jobs, values, strict=True):
        status = "failed" if value is None else "completed"
        write_run(folder / "jobs" / str(job["name"]), 0, status=status, metrics={metric: value or 0.0})


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    runs = tmp_path / "runs"
    write_run(runs / "first", 1, overrides=["optimizer=sgd", f"output_dir={tmp_path}"])
    write_run(runs / "second", 2, metrics={"val/r2": 0.5}, metric="val/r2", overrides=["model.width=64"])
    write_run(runs / "died", 3, status="running", metrics={})
    words = ["stages=[test]", f"ckpt={runs}/first", "device=cpu"]
    of = {"checkpoint": f"{runs}/first", "metrics": {"test/accuracy": 0.91}}
    write_run(runs / "tested", 4, overrides=words, **of)
    (runs / "broken").mkdir()
    (runs / "broken" / "result.json").write_bytes(b"\xff{")
    write_sweep(tmp_path / "sweeps" / "grid", [0.25, 0.75, None])
    (tmp_path / "sweeps" / "empty").mkdir()
    return tmp_path


def listed(outputs: Path, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, str]:
    """The lines of the list by name, in order."""
    assert cli.train(["runs", *words, f"output_dir={outputs}"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    return {line.split()[0]: " ".join(line.split()) for line in lines[2:]}


def test_runs_and_sweeps_are_listed_newest_first(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(outputs, capsys)
    began = ["tested", "died", "second", "first", "grid"]
    assert [name for name in lines if name in began] == began and len(lines) == 7
    assert "90.00% val/accuracy completed" in lines["first"]
    assert "75 s optimizer=sgd" in lines["first"] and "output_dir" not in lines["first"]
    assert "0.5000 val/r2" in lines["second"] and lines["second"].endswith("model.width=64")
    assert "interrupted" in lines["died"] and "%" not in lines["died"]
    assert "91.00% test/accuracy" in lines["tested"]
    assert lines["tested"].endswith("test of first device=cpu")
    assert "75.00%" in lines["grid"] and "2/3 completed, 1 failed" in lines["grid"]
    assert lines["grid"].endswith("optimizer=sgd seed=0,1,2")


def test_what_is_damaged_says_so(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = listed(outputs, capsys, "damaged")
    assert set(lines) == {"broken", "empty"}


def test_words_filter_by_name_changes_and_status(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert set(listed(outputs, capsys, "optimizer=sgd")) == {"first", "grid"}
    assert set(listed(outputs, capsys, "sgd", "failed")) == {"grid"}
    assert cli.train(["runs", "nothing", f"output_dir={outputs}"]) == 0
    assert capsys.readouterr().out == f"none of the 7 in {outputs} has nothing\n"


def test_without_any_it_is_said_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.train([f"output_dir={tmp_path}", "runs"]) == 0
    assert capsys.readouterr().out == f"no runs in {tmp_path} yet; to make one: python train.py\n"


def test_a_run_that_was_really_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(tmp_path, "optimizer=sgd", "stages=[fit]")
    capsys.readouterr()
    (line,) = listed(tmp_path, capsys).values()
    assert line.startswith(folder.name) and "optimizer=sgd" in line
    assert f"{result(folder)['metrics']['val/accuracy']:.2%}" in line


def test_the_list_needs_no_torch(outputs: Path) -> None:
    code = (
        f"import sys; from assay import cli; assert cli.train(['runs', 'output_dir={outputs}']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PROJECT, capture_output=True)


def test_the_best_run_of_a_sweep_is_a_checkpoint(tmp_path: Path) -> None:
    grid = ["-m", "seed=0,1", *SHORT, "stages=[fit]", "sweep.metric=val/loss"]
    assert cli.train([*grid, f"output_dir={tmp_path}"]) == 0
    (sweep,) = (tmp_path / "sweeps").iterdir()
    best = json.loads((sweep / "leaderboard.json").read_text())["rows"][0]
    assert "," in sweep.name  # which Hydra would take apart
    for name in (sweep.name, str(sweep)):
        run = train(tmp_path, "stages=[validate]", f"ckpt=best:{name}")
        assert Path(result(run)["checkpoint"]).name.endswith(best["id"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gird", "did you mean ckpt=best:grid?"),
        ("nothing", "there is no such sweep in"),
        ("none", "finish it: "),
    ],
)
def test_no_best_run(outputs: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    write_sweep(outputs / "sweeps" / "none", [None])
    assert cli.train([f"ckpt=best:{name}", f"output_dir={outputs}"]) == 2
    error = capsys.readouterr().err
    assert said in error and f"ckpt=best:{name}: " in error and len(error.splitlines()) <= 4


@pytest.mark.parametrize(("metric", "best"), [("val/accuracy", 1), ("val/loss", 0)])
def test_the_best_is_by_the_sweeps_own_metric(tmp_path: Path, metric: str, best: int) -> None:
    from assay.runs import best_of

    write_sweep(tmp_path / "sweeps" / "grid", [0.25, 0.75, None], metric)
    assert best_of("grid", tmp_path).name == f"seed={best}-{best}"
