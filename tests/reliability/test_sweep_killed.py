"""R3 and R9: a sweep killed and run again, and two sweeps in one folder at once."""

import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.sweep.sweeps import command, results, sweep, table

GRID = ("optimizer=sgd,adam", "seed=0,1,2")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs")
    assert sweep(path, *GRID, "sweep.name=undisturbed").returncode == 0
    return path


def _start(output: Path, *words: str) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command(output, *words), cwd=output, stdout=quiet, stderr=quiet)


def _wait_for(folder: Path, completed: int) -> None:
    deadline = time.monotonic() + 120
    while sum(one["status"] == "completed" for one in results(folder).values()) < completed:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "after", [3, pytest.param(1, marks=pytest.mark.full), pytest.param(5, marks=pytest.mark.full)]
)
def test_killed_and_run_again_the_table_is_that_of_an_undisturbed_sweep(output: Path, after: int) -> None:
    name = f"killed{after}"
    folder = output / "sweeps" / name
    running = _start(output, *GRID, f"sweep.name={name}")
    _wait_for(folder, after)
    running.kill()
    running.wait()
    done = {id: one["process"] for id, one in results(folder).items() if one["status"] == "completed"}
    assert sweep(output, *GRID, f"sweep.name={name}").returncode == 0
    assert table(folder) == table(output / "sweeps" / "undisturbed")
    assert all(results(folder)[id]["process"] == process for id, process in done.items())  # not started again


def test_ctrl_c_saves_says_how_to_go_on_and_goes_on(output: Path) -> None:
    words = (*GRID, "sweep.name=stopped")
    running = _start(output, *words)
    _wait_for(output / "sweeps" / "stopped", 1)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 130
    assert (output / "sweeps" / "stopped" / "leaderboard.csv").is_file()
    assert sweep(output, *words).returncode == 0
    assert table(output / "sweeps" / "stopped") == table(output / "sweeps" / "undisturbed")


def test_three_sweeps_at_once_share_the_jobs(output: Path) -> None:
    words = ("seed=0,1,2,3", "trainer.max_epochs=1", "sweep.name=shared")
    running = [_start(output, *words) for _ in range(3)]
    assert [one.wait(timeout=200) for one in running] == [0, 0, 0]
    found = results(output / "sweeps" / "shared")
    assert len(found) == 4
    assert [one["resumed"] for one in found.values()] == [0] * 4  # each begun once
