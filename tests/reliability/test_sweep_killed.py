"""R3 and R9: a sweep killed and run again, and two sweeps in one folder at once."""

import signal
import subprocess
import time
from pathlib import Path

import psutil
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


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_the_jobs_of_a_killed_sweep_save_and_one_whose_checkpoints_are_lost_fails_and_says_so(
    tmp_path: Path, launcher: str
) -> None:
    words = ("seed=0", "trainer.max_epochs=3000", "sweep.name=one", f"hydra/launcher={launcher}")
    folder = tmp_path / "sweeps" / "one"
    running = _start(tmp_path, *words)
    deadline = time.monotonic() + 120
    while not list(folder.glob("jobs/*/checkpoints/last.ckpt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    running.kill()
    running.wait()
    while [one["error"] for one in results(folder).values()] != ["stopped by SIGTERM"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for file in folder.glob("jobs/*/checkpoints/*.ckpt"):
        file.write_bytes(b"lost")
    failed = sweep(tmp_path, *words)
    assert failed.returncode == 1
    assert [row["status"] for row in table(folder)] == ["failed"]
    assert "no undamaged checkpoint is left" in table(folder)[0]["reason"]
    log = next(folder.glob("jobs/*/log.txt")).read_text()
    assert "Traceback" in log and "CannotResume" in log


@pytest.mark.parametrize(("launcher", "signum"), [("basic", signal.SIGINT), ("joblib", signal.SIGTERM)])
def test_a_signal_saves_and_the_command_goes_on(output: Path, launcher: str, signum: signal.Signals) -> None:
    words = (*GRID, f"sweep.name=stopped_{launcher}", f"hydra/launcher={launcher}")
    folder = output / "sweeps" / f"stopped_{launcher}"
    running = _start(output, *words)
    _wait_for(folder, 1)
    running.send_signal(signum)
    assert running.wait(timeout=60) == 128 + signum
    assert (folder / "leaderboard.csv").is_file()
    assert sweep(output, *words).returncode == 0
    assert table(folder) == table(output / "sweeps" / "undisturbed")


@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_ctrl_c_while_the_jobs_are_judged_leaves_nothing(tmp_path: Path, launcher: str) -> None:
    words = command(tmp_path, "seed=0,1", f"hydra/launcher={launcher}")
    running = subprocess.Popen(
        words, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    parent, below = psutil.Process(running.pid), list[psutil.Process]()
    while len(below) < (1 if launcher == "basic" else 3) and running.poll() is None:  # joblib's two workers
        time.sleep(0.05)
        below = parent.children(recursive=True)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=60)[0]
    assert (running.returncode, said) == (130, "")
    assert not list(tmp_path.iterdir())
    assert psutil.wait_procs(below, timeout=10)[1] == []


def test_three_sweeps_at_once_share_the_jobs(output: Path) -> None:
    words = ("seed=0,1,2,3", "trainer.max_epochs=1", "sweep.name=shared")
    running = [_start(output, *words) for _ in range(3)]
    assert [one.wait(timeout=200) for one in running] == [0, 0, 0]
    found = results(output / "sweeps" / "shared")
    assert len(found) == 4
    assert [one["resumed"] for one in found.values()] == [0] * 4  # each begun once
