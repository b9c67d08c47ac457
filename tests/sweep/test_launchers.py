"""The same six jobs by each of Hydra's launchers: the same leaderboard."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.sweep.sweeps import sweep, table

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
