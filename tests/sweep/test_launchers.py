"""The same six jobs by each of Hydra's launchers: the same leaderboard."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sweep.sweeps import command, sweep, table

GRID = ("optimizer=sgd,adam", "seed=0,1,2", "sweep.name=same")
PACKAGES = {"joblib": "joblib", "submitit_local": "submitit", "ray": "ray"}


@pytest.fixture(scope="module")
def one_after_the_other(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("basic")
    done = sweep(path, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    return table(path / "sweeps" / "same")


@pytest.mark.parametrize("launcher", PACKAGES)
def test_a_launcher_makes_the_leaderboard_of_the_basic_one(
    one_after_the_other: list[dict[str, str]], tmp_path: Path, launcher: str
) -> None:
    if find_spec(PACKAGES[launcher]) is None:
        pytest.skip(f"{PACKAGES[launcher]} is not installed: pip install -e '.[slurm,ray]'")
    done = sweep(tmp_path, *GRID, f"hydra/launcher={launcher}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(tmp_path / "sweeps" / "same") == one_after_the_other
    assert len(one_after_the_other) == 6


SPAWNING = """
import sys
from multiprocessing.context import SpawnProcess
from assay.cli import train
from assay.sweep import launch
launch.PROCESS = SpawnProcess
sys.exit(train())
"""


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_where_processes_are_started_anew_as_on_macos(tmp_path: Path, launcher: str) -> None:
    _, _, *words = command(tmp_path, "seed=0,1", "sweep.name=spawned", f"hydra/launcher={launcher}")
    started = [sys.executable, "-c", SPAWNING, *words]
    done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["status"] for row in table(tmp_path / "sweeps" / "spawned")] == ["completed"] * 2
