"""Searches for the tests: jobs whose results a test writes, and the studies that come of them."""

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from assay.run.process import this_process
from assay.sweep.job import Job, Ranking, SweepFolder
from assay.sweep.plan import plan
from assay.sweep.search import Search
from assay.sweep.study import JOURNAL

LR = "optimizer.lr=interval(1e-4,1e-1)"
BY = Ranking("val/accuracy", "max", {"accuracy": "max"})
WORDS = (LR, "model.width=16,32,64")
TRIALS = 12


def search(path: Path, *words: str) -> Search:
    wanted = plan(words)
    path.mkdir(parents=True, exist_ok=True)
    return Search(wanted, SweepFolder(path))


def accuracy(job: Job) -> float:
    """As if small widths and a learning rate of about 0.01 were good."""
    config = job.config
    return 1 / (
        1 + abs(config.optimizer["lr"] - 0.01) * 10 + config.model["width"] / 1000 + config.seed / 1e4
    )


def write(folder: SweepFolder, job: Job, status: str, value: float) -> None:
    """What a job would leave."""
    path = folder.path / "jobs" / job.name
    path.mkdir(parents=True, exist_ok=True)
    measured = {"metrics": {"val/accuracy": value}, "last": {"val/accuracy": value}, "seed": 0}
    took = {"seconds": {"total": 1.0, "fit": 1.0}, "epochs": 1, "steps": 10}
    result = {"status": status, "error": None, "process": this_process(), **measured, **took}
    (path / "result.json").write_text(json.dumps(result))


@contextmanager
def running(one: Search) -> Generator[Callable[[], Sequence[Job]]]:
    """Ask for jobs in the way of the supervisor; they are in the manifest then."""
    with one.begun(BY):

        def more() -> Sequence[Job]:
            jobs = one.more(one.folder.entries(one.jobs))
            one.folder.write_manifest(BY, one.jobs, "python train.py -m")
            return jobs

        yield more
        one.look(one.folder.entries(one.jobs))


def run(one: Search, count: int | None = None, status: Callable[[Job], str] = lambda _: "completed") -> None:
    """Run so many of its jobs, or all, one after the other."""
    with running(one) as more:
        waiting = [job for job in one.jobs if not (one.folder.path / "jobs" / job.name).exists()]
        done = 0
        while (count is None or done < count) and (waiting or (waiting := list(more()))):
            job = waiting.pop(0)
            write(one.folder, job, status(job), accuracy(job))
            done += 1


def study(path: Path) -> optuna.Study:
    """As the docs say to open it."""
    storage = JournalStorage(JournalFileBackend(str(path / JOURNAL)))
    return optuna.load_study(study_name=None, storage=storage)


def told(path: Path) -> list[tuple[Mapping[str, Any], Sequence[float] | None, str]]:
    return [(trial.params, trial.values, trial.state.name) for trial in study(path).trials]


# ---- words
