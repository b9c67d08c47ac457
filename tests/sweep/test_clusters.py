"""The engines that are not the pool: the same leaderboard, and what is taken from Hydra's launcher nodes."""

import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from assay.errors import RunFailed, UserError
from assay.sweep import clusters, pool
from assay.sweep.clusters import Slurm, Submitit, engine_of
from assay.sweep.job import SweepFolder
from assay.sweep.plan import plan
from assay.sweep.worker import Task
from tests.sweep.sweeps import command, sweep, table

GRID = ("optimizer=sgd,adam", "seed=0,1", "sweep.name=same")
PACKAGES = {"submitit_local": "submitit", "ray": "ray"}


@pytest.fixture(scope="module")
def one_after_the_other(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    path = tmp_path_factory.mktemp("pool")
    done = sweep(path, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    return table(path / "sweeps" / "same")


@pytest.mark.parametrize("launcher", PACKAGES)
def test_an_engine_makes_the_leaderboard_of_the_pool(
    one_after_the_other: list[dict[str, str]], tmp_path: Path, launcher: str
) -> None:
    if find_spec(PACKAGES[launcher]) is None:
        pytest.skip(f"{PACKAGES[launcher]} is not installed: pip install -e '.[slurm,ray]'")
    done = sweep(tmp_path, *GRID, f"hydra/launcher={launcher}", "sweep.workers=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert table(tmp_path / "sweeps" / "same") == one_after_the_other
    assert len(one_after_the_other) == 4


@pytest.mark.parametrize("launcher", PACKAGES)
def test_an_engine_is_given_the_trials_of_a_search_as_workers_are_free(tmp_path: Path, launcher: str) -> None:
    if find_spec(PACKAGES[launcher]) is None:
        pytest.skip(f"{PACKAGES[launcher]} is not installed: pip install -e '.[slurm,ray]'")
    words = ("optimizer.lr=interval(1e-4,1e-1)", "sweep.search=random", "sweep.trials=3", "sweep.workers=2")
    here = sweep(tmp_path, *words, "sweep.name=here")
    there = sweep(tmp_path, *words, "sweep.name=there", f"hydra/launcher={launcher}")
    assert (here.returncode, there.returncode) == (0, 0), there.stdout + there.stderr
    assert "2 at once" in there.stdout
    assert table(tmp_path / "sweeps" / "there") == table(tmp_path / "sweeps" / "here")
    assert len(table(tmp_path / "sweeps" / "here")) == 3


def test_a_search_gives_slurm_no_more_than_its_workers(tmp_path: Path) -> None:
    words = ("hydra/launcher=submitit_slurm", "optimizer.lr=interval(1e-4,1e-1)", "sweep.workers=4")
    searched = plan((*words, "sweep.search=random", "sweep.trials=30"))
    assert engine_of(searched, SweepFolder(tmp_path)).at_once == 4
    grid = plan(("hydra/launcher=submitit_slurm", "seed=range(0,30)", "sweep.workers=4"))
    assert engine_of(grid, SweepFolder(tmp_path)).at_once == 30


def test_several_workers_make_the_same_leaderboard(
    one_after_the_other: list[dict[str, str]], tmp_path: Path
) -> None:
    done = sweep(tmp_path, *GRID, "sweep.workers=2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4; 2 at once, on this machine" in done.stdout
    assert table(tmp_path / "sweeps" / "same") == one_after_the_other


SPAWNING = """
import sys
from assay.cli import train
from assay.sweep import pool
pool.START_METHOD = "spawn"
if __name__ == "__main__":
    sys.exit(train())
"""


def test_where_processes_are_started_anew_as_on_macos(tmp_path: Path) -> None:
    _, _, *words = command(tmp_path, "seed=0", "sweep.name=spawned")
    started = [sys.executable, "-c", SPAWNING, *words]
    done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [row["status"] for row in table(tmp_path / "sweeps" / "spawned")] == ["completed"]


def test_what_the_launchers_node_says_of_jobs_and_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 8)
    wanted, folder = plan(("seed=0,1,2,3", "device=cpu", "sweep.workers=2")), SweepFolder(tmp_path)

    def engine(**node: Any) -> tuple[int, int | None, bool]:
        made = engine_of(replace(wanted, launcher=node), folder)
        return made.at_once, made.threads, made.elsewhere

    assert engine() == engine(_target_="hydra._internal.core_plugins.basic_launcher.BasicLauncher")
    assert engine() == (2, 4, False)
    assert engine(_target_="hydra_plugins.LocalLauncher") == (2, 4, False)
    assert engine(_target_="hydra_plugins.SlurmLauncher", cpus_per_task=3) == (4, 3, True)
    assert engine(_target_="hydra_plugins.RayLauncher", ray={"remote": {"num_cpus": 2}}) == (4, 2, True)
    with pytest.raises(UserError, match="ElsewhereLauncher is none that Assay knows"):
        engine(_target_="hydra_plugins.ElsewhereLauncher")


class Queue:
    """A stand-in for SLURM: what was submitted stays in the queue until it is taken out."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.submitted: list[str] = []

    def submit(self, tasks: list[Task], sweep: object) -> list[Any]:
        ids = [f"7_{len(self.submitted) + at}" for at in range(len(tasks))]
        self.submitted += [task.folder.name for task in tasks]
        self.ids += ids
        return [type("Job", (), {"job_id": id})() for id in ids]

    def run(self, *args: Any, **kwargs: Any) -> Any:
        return type("Answer", (), {"returncode": 0, "stdout": "\n".join(["9_1", *self.ids])})()


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Queue:
    queue = Queue()
    monkeypatch.setattr(clusters, "QUEUE_SECONDS", -1.0)
    monkeypatch.setattr(clusters.subprocess, "run", queue.run)
    return queue


def slurm(queue: Queue, folder: Path) -> Slurm:
    made: Any = queue
    return Slurm(made, folder / "queue.json")


def task(name: str) -> Task:
    job: Any = None
    return Task(Path(name), job, None, (), False, {}, ())


def test_a_job_that_slurm_still_has_is_not_queued_twice(queue: Queue, tmp_path: Path) -> None:
    first = slurm(queue, tmp_path).start([task("a"), task("b")])
    assert [one.ended() for one in first] == [None, None]
    queue.ids.remove("7_0")
    again = slurm(queue, tmp_path).start([task("a"), task("b"), task("c")])
    assert queue.submitted == ["a", "b", "a", "c"]
    assert [one.ended() for one in again] == [None, None, None]
    assert first[0].ended() == "SLURM's job 7_0 is over"


def test_a_signal_to_the_command_leaves_the_jobs_in_slurms_queue(queue: Queue, tmp_path: Path) -> None:
    (handle,) = slurm(queue, tmp_path).start([task("a")])
    handle.stop(2)
    assert handle.ended() == ""
    assert queue.ids == ["7_0"]


def test_a_machine_without_slurm_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunFailed, match="submitit_slurm"):
        Slurm(Submitit("slurm", {}, tmp_path), tmp_path / "queue.json").start([task("a")])
