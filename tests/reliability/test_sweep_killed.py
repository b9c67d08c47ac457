"""R3 and R9: a sweep killed and run again, and several sweeps in one folder at once."""

import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.processes import Child, wait_for
from tests.sweep.sweeps import folders, results, start, sweep, table

GRID = ("optimizer=sgd,adam", "seed=0,1,2")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs")
    assert sweep(path, *GRID, "sweep.name=undisturbed").returncode == 0
    return path


def completed(folder: Path) -> int:
    return sum(one["status"] == "completed" for one in results(folder).values())


def below(running: Child) -> list[psutil.Process]:
    return psutil.Process(running.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    """Whether they have ended; a process that nobody has asked for is a zombie for a while."""
    return not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in processes)


@pytest.mark.parametrize(
    ("after", "workers"),
    [(3, 2), pytest.param(1, 1, marks=pytest.mark.full), pytest.param(5, 1, marks=pytest.mark.full)],
)
def test_killed_and_run_again_the_table_is_that_of_an_undisturbed_sweep(
    output: Path, after: int, workers: int
) -> None:
    words = (*GRID, f"sweep.name=killed{after}", f"sweep.workers={workers}")
    folder = output / "sweeps" / f"killed{after}"
    running = start(output, *words)
    wait_for(lambda: completed(folder) >= after)
    assert (folder / "leaderboard.csv").is_file() and (folder / "leaderboard.json").is_file()
    left = below(running)
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: all_gone(left), seconds=10)
    done = {id: one["process"] for id, one in results(folder).items() if one["status"] == "completed"}
    assert sweep(output, *words).returncode == 0
    assert table(folder) == table(output / "sweeps" / "undisturbed")
    assert all(results(folder)[id]["process"] == process for id, process in done.items())  # not started again


def test_a_leaderboard_is_there_from_the_first_job_on(tmp_path: Path) -> None:
    folder = tmp_path / "sweeps" / "one"
    running = start(tmp_path, "seed=0", "trainer.max_epochs=3000", "sweep.name=one")
    wait_for(lambda: list(folder.glob("jobs/*/result.json")))
    assert [row["status"] for row in table(folder)] == ["pending"]
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=60) == 128 + signal.SIGTERM
    assert [row["status"] for row in table(folder)] == ["interrupted"]
    assert (folder / "report.html").is_file()


def test_the_jobs_of_a_killed_sweep_save_and_one_whose_checkpoints_are_lost_fails_and_says_so(
    tmp_path: Path,
) -> None:
    words = ("seed=0", "trainer.max_epochs=3000", "sweep.name=one")
    folder = tmp_path / "sweeps" / "one"
    running = start(tmp_path, *words)
    wait_for(lambda: list(folder.glob("jobs/*/checkpoints/last.ckpt")))
    running.send_signal(signal.SIGKILL)
    running.wait()
    wait_for(lambda: [one["error"] for one in results(folder).values()] == ["stopped by SIGTERM"])
    for file in folder.glob("jobs/*/checkpoints/*.ckpt"):
        file.write_bytes(b"lost")
    failed = sweep(tmp_path, *words)
    assert failed.returncode == 1
    assert [row["status"] for row in table(folder)] == ["failed"]
    assert "no undamaged checkpoint is left" in table(folder)[0]["reason"]
    log = next(folder.glob("jobs/*/log.txt")).read_text()
    assert "Traceback" in log and "CannotResume" in log


@pytest.mark.parametrize(("workers", "signum"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_signal_saves_and_the_command_goes_on(output: Path, workers: int, signum: signal.Signals) -> None:
    words = (*GRID, f"sweep.name=stopped{workers}", f"sweep.workers={workers}")
    folder = output / "sweeps" / f"stopped{workers}"
    running = start(output, *words)
    wait_for(lambda: completed(folder))
    left = below(running)
    running.send_signal(signum)
    assert running.wait(timeout=60) == 128 + signum
    wait_for(lambda: all_gone(left), seconds=10)
    assert (folder / "leaderboard.csv").is_file()
    assert not [one for one in results(folder).values() if one["status"] not in ("completed", "interrupted")]
    assert sweep(output, *words).returncode == 0
    assert table(folder) == table(output / "sweeps" / "undisturbed")


def test_ctrl_c_in_the_first_moment_of_a_job_leaves_it_interrupted(output: Path) -> None:
    words = ("seed=0,1,2", "trainer.max_epochs=1", "sweep.name=moment", "sweep.retry=none")
    folder = output / "sweeps" / "moment"
    for begun in (1, 2):
        running = start(output, *words)
        wait_for(lambda begun=begun: len(folders(folder)) >= begun)  # its folder is made before anything else
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
        said = [one["status"] for one in results(folder).values()]
        assert said and set(said) <= {"completed", "interrupted"}
    assert sweep(output, *words).returncode == 0


def test_a_second_ctrl_c_ends_all_at_once(output: Path) -> None:
    folder = output / "sweeps" / "twice"
    running = start(output, "seed=0", "trainer.max_epochs=3000", "sweep.name=twice")
    wait_for(lambda: list(folder.glob("jobs/*/checkpoints/last.ckpt")))
    left = below(running)
    running.send_signal(signal.SIGINT)
    time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 130
    wait_for(lambda: all_gone(left), seconds=10)


def test_ctrl_c_while_the_jobs_are_validated_leaves_nothing(tmp_path: Path) -> None:
    running = start(tmp_path, "seed=0,1")
    parent, left = psutil.Process(running.pid), list[psutil.Process]()
    while len(left) < 2 and running.poll() is None:  # the resource tracker and the server
        time.sleep(0.005)
        left = parent.children(recursive=True)
    running.send_signal(signal.SIGINT)
    assert (running.wait(timeout=60), running.text) == (130, "stopped by SIGINT\n")
    assert not list(tmp_path.iterdir())
    wait_for(lambda: all_gone(left), seconds=10)


def test_three_sweeps_at_once_share_the_jobs(output: Path) -> None:
    words = ("seed=0,1,2,3", "trainer.max_epochs=1", "sweep.name=shared")
    running = [start(output, *words) for _ in range(3)]
    assert [one.wait(timeout=200) for one in running] == [0, 0, 0]
    found = results(output / "sweeps" / "shared")
    assert len(found) == 4
    assert [one["resumed"] for one in found.values()] == [0] * 4  # each begun once


def test_a_full_disk_costs_the_job_not_the_sweep(tmp_path: Path) -> None:
    """`RLIMIT_FSIZE` in all processes: no checkpoint fits, the small files do."""
    done = start(tmp_path, "seed=0,1", "sweep.name=full", "model.width=512", file_size=400_000).completed()
    assert done.returncode == 1, done.stdout + done.stderr
    assert [row["status"] for row in table(tmp_path / "sweeps" / "full")] == ["failed"] * 2
    assert "Traceback" not in done.stderr
