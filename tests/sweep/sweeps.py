"""Sweeps for the tests, started as a user starts them."""

import csv
import json
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from assay import PROJECT, cli
from tests import processes

CLOCK = ("fit_seconds", "total_seconds", "samples_per_second")  # columns that differ from run to run
TINY = (
    "device=cpu", "device.threads=1", "trainer.max_epochs=2", "trainer.limit_train_batches=10",
    "trainer.limit_val_batches=2", "trainer.limit_test_batches=2",
)  # fmt: skip


def command(output_dir: Path, *words: str) -> list[str]:
    return [sys.executable, str(PROJECT / "train.py"), *swept(output_dir, *words)]


def swept(output_dir: Path, *words: str) -> list[str]:
    return ["-m", *TINY, f"output_dir={output_dir}", *words]


def start(output_dir: Path, *words: str, **more: Any) -> processes.Child:
    """A sweep in a process of its own, with one as the server of its processes."""
    return processes.start("train", output_dir, *swept(output_dir, *words), **more)


def sweep(
    output_dir: Path, *words: str, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return train(output_dir, *swept(output_dir, *words), env=env)


def train(folder: Path, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`python train.py words` in a folder; with `env` in a process of its own.

    Here the server of a sweep's processes is there from the second sweep on.
    """
    if env is not None:
        return processes.start("train", folder, *words, env=env).completed()
    command = [str(PROJECT / "train.py"), *words]
    out, err = StringIO(), StringIO()
    with chdir(folder), redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        code = cli.train()
    return subprocess.CompletedProcess(command, code, out.getvalue(), err.getvalue())


def folders(folder: Path) -> dict[str, Path]:
    """The folders of jobs by id."""
    return {path.name.rpartition("-")[2]: path for path in folder.glob("jobs/*")}


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """`result.json` by id of all jobs that have begun."""
    files = {id: path / "result.json" for id, path in folders(folder).items()}
    return {id: json.loads(file.read_text()) for id, file in files.items() if file.exists()}


def table(folder: Path) -> list[dict[str, str]]:
    """`leaderboard.csv` without what depends on the clock."""
    with (folder / "leaderboard.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]
