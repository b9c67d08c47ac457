"""The jobs of a sweep, composed and validated before the first starts, and the folder that they leave.

    sweep.json                       the jobs in order: id, group, overrides; the command
    jobs/<changed keys>-<id>/        a run folder each, with the run folder's own lock
    leaderboard.*, report.html       made from the folders, again and again

Reading needs no torch.
"""

import errno
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from assay.config.compose import composing
from assay.config.load import Loaded, load_job
from assay.config.messages import InvalidConfig, Problem
from assay.config.redact import redact, redact_text
from assay.config.saved import as_plain, config_id, group_id
from assay.config.schema import TrainConfig, inside
from assay.errors import UserError
from assay.run.earlier import find_earlier
from assay.run.folder import RunFolder
from assay.sweep.grid import (
    expand,
    grid_name,
    is_readable,
    job_name,
    overrides_of,
    split,
    swept,
    swept_keys,
)
from assay.training.atomic import write_durably

ENDED = ("completed", "failed", "diverged")
DIED = "its process died without a word"
# what a stage measures; `fit` validates after its epochs
STAGES = {"train": ("fit",), "val": ("fit", "validate"), "test": ("test",)}


@dataclass(frozen=True)
class Job:
    """One point of the grid: its overrides, its validated config, and the names that follow from them."""

    id: str
    group: str  # shared by the jobs that differ in their seed alone
    name: str  # of its folder
    overrides: tuple[str, ...]
    config: TrainConfig


@dataclass(frozen=True)
class Plan:
    """What a command line asks for: jobs, where they run, and the environment variables that they get."""

    name: str  # of the sweep
    jobs: tuple[Job, ...]
    launcher: Mapping[str, Any]
    env: Mapping[str, str]


def plan(overrides: Sequence[str]) -> Plan:
    """The jobs that the overrides and the sweep file make; each is composed and validated once.

    Raises `UserError` with the problems of all jobs, each with the job that it is in.
    """
    hydra, sweep, typed = split(overrides)

    def load(job: Sequence[str]) -> tuple[Loaded | None, list[Problem]]:
        return load_job("train", [*hydra, *sweep, *job], find_earlier)

    def grid_of(params: Mapping[str, Any], mode: Literal["product", "zip"]) -> list[tuple[str, ...]]:
        every = [*overrides_of(params), *typed]
        if bad := [one for one in every if not is_readable(one)]:
            refuse_any([load(bad)[1]])
        return expand(every, mode)

    with composing():
        grid = grid_of({}, "product")
        first = load(grid[0])
        settings = first[0].config.sweep if first[0] else None
        if settings is not None and (settings.params or settings.mode != "product"):  # those of a sweep file
            grid = grid_of(settings.params, settings.mode)
            first = load(grid[0])
        results = [first, *map(load, grid[1:])]
    refuse_any([problems for _, problems in results], grid)
    loaded = [one for one, _ in results if one is not None]
    plain = [as_plain(one.config) for one in loaded]
    keys, ids = swept_keys(grid), list(map(config_id, plain))
    jobs = tuple(
        Job(id, group_id(config), job_name(job, keys, id), job, one.config)
        for id, job, config, one in zip(ids, grid, plain, loaded, strict=True)
    )
    if any(job.config.resume is not None for job in jobs):
        raise UserError("resume: a sweep goes on by itself\n  type its command again, with its sweep.name")
    _refuse_repeated(jobs)
    _refuse_unmeasured(jobs)
    name = jobs[0].config.sweep.name or grid_name(grid, ids)
    return Plan(name, jobs, loaded[0].composed.launcher, loaded[0].composed.environment)


def _refuse_repeated(jobs: Sequence[Job]) -> None:
    """Two jobs with one id would be one folder. Raises `UserError`."""
    first: dict[str, int] = {}
    keys = swept_keys([job.overrides for job in jobs])
    for at, job in enumerate(jobs):
        before = first.setdefault(job.id, at)
        if before != at:
            one, other = (_own(which.overrides, keys) for which in (jobs[before], job))
            raise UserError(
                f"jobs {before + 1} and {at + 1} of {len(jobs)} are the same: "
                f"{one or 'seed=' + str(job.config.seed)}{f' and {other}' if one != other else ''}\n"
                "  what decides a result is the same in both: all but paths, names and what is logged"
            )


def _own(job: Sequence[str], keys: Sequence[str]) -> str:
    return " ".join(f"{key}={value}" for key, value in swept(job, keys).items())


def _refuse_unmeasured(jobs: Sequence[Job]) -> None:
    """A leaderboard needs a job that has its metric. Raises `UserError`."""
    metric = jobs[0].config.sweep.metric
    stages = STAGES[metric.partition("/")[0]]
    if not any(stage in stages for job in jobs for stage in job.config.stages):
        raise UserError(
            f"sweep.metric={metric}: no job has the stage that measures it\n"
            f"  stages=[{','.join(jobs[0].config.stages)}] is without {' or '.join(stages)}"
        )


def refuse_any(problems: Sequence[Sequence[Problem]], jobs: Sequence[Sequence[str]] = ()) -> None:
    """Raises `UserError` if any job has a problem: each problem once, with the first job that has it."""
    where: dict[str, tuple[Problem, list[int]]] = {}
    for at, ones in enumerate(problems):
        for problem in ones:
            where.setdefault(problem.text, (problem, []))[1].append(at)
    if where:
        keys = swept_keys(jobs)
        raise InvalidConfig([_in_jobs(problem, numbers, jobs, keys) for problem, numbers in where.values()])


def _in_jobs(
    problem: Problem, numbers: list[int], jobs: Sequence[Sequence[str]], keys: Sequence[str]
) -> Problem:
    if len(jobs) < 2 or len(numbers) == len(jobs):
        return problem
    more = f" and {len(numbers) - 1} more" if len(numbers) > 1 else ""
    first = numbers[0]
    note = f"in job {first + 1} of {len(jobs)} ({_own(jobs[first], keys)}){more}"
    return replace(problem, notes=(*problem.notes[:2], note))


@dataclass(frozen=True)
class JobState:
    """What a job's folder says of it: `pending`, or a status of a run."""

    status: str
    error: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def ended(self) -> bool:
        return self.status in ENDED


def state_of(folder: RunFolder) -> JobState:
    """What a folder just opened says; a run whose process is gone is `interrupted`, whatever it wrote."""
    result, status = folder.result, folder.status if folder.result else "pending"
    error = result.get("error")
    if status == "interrupted" and result["status"] == "running":
        error = f"{DIED} ({result['process']['pid']} on {result['process']['host']})"
    return JobState(status, error, result)


def opened(path: Path) -> RunFolder:
    """A job's folder, there or not; one whose `result.json` is damaged counts as not begun."""
    try:
        return RunFolder.open(path)
    except UserError:
        return RunFolder(path)


def is_held(path: Path) -> bool:
    """Whether a living process, here or on another machine, has the lock of a job's folder."""
    if not (path / ".lock").exists():
        return False
    lock = FileLock(path / ".lock", is_singleton=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


class SweepFolder:
    """The files of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def named(cls, output_dir: str, name: str) -> "SweepFolder":
        """The folder of that name, there or not. Raises `UserError` for a name that leads elsewhere."""
        return cls(inside(Path(output_dir) / "sweeps", name, "sweep.name"))

    def make(self) -> None:
        """Raises `UserError` where it cannot be made."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(f"output_dir: the sweep's folder {self.path} cannot be made: {why}") from error

    @property
    def manifest(self) -> dict[str, Any]:
        """`sweep.json`; empty where there is none yet. Raises `UserError` if it is damaged."""
        file = self.path / "sweep.json"
        try:
            manifest: dict[str, Any] = json.loads(file.read_bytes())
            _ = [(job["id"], job["group"], job["overrides"]) for job in manifest["jobs"]]
            _ = manifest["command"], manifest["sorted"]["metric"], manifest["sorted"]["direction"]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{file} is damaged\n  remove it and type the sweep's command again: no job is lost"
            ) from None
        return manifest

    @contextmanager
    def locked(self) -> Generator[None]:
        """Alone with the files that belong to no job. Raises `UserError` on a file system without locks."""
        lock = FileLock(self.path / ".lock")
        try:
            lock.acquire()
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
                raise
            raise UserError(
                f"output_dir: the file system of {self.path} has no locks: {error.strerror}\n"
                "  set output_dir to a disk of this machine, to NFS 4, or to Lustre mounted with flock"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def write_manifest(self, jobs: Sequence[Job], command: str) -> None:
        sweep = jobs[0].config.sweep
        listed = [
            {"id": job.id, "group": job.group, "overrides": redact(list(job.overrides))} for job in jobs
        ]
        manifest = {
            "name": self.path.name,
            "command": redact_text(command),
            "sorted": {"metric": sweep.metric, "direction": sweep.direction},
            "jobs": listed,
        }
        if manifest != self.manifest:
            write_durably(self.path / "sweep.json", json.dumps(manifest, indent=2).encode())

    def folders(self) -> dict[str, Path]:
        """The folders of jobs by id, which ends their names whatever keys were swept when they were made."""
        jobs = self.path / "jobs"
        return {path.name.rpartition("-")[2]: path for path in jobs.iterdir()} if jobs.is_dir() else {}

    def states(
        self, jobs: Sequence[Job], before: Mapping[str, JobState] | None = None
    ) -> dict[str, JobState]:
        """Of all jobs; what had completed is not read again, or a thousand jobs would cost a core's fifth."""
        paths, known = self.folders(), before or {}

        def state(id: str) -> JobState:
            if id in known and known[id].status == "completed":
                return known[id]
            return state_of(opened(paths[id])) if id in paths else JobState("pending")

        return {job.id: state(job.id) for job in jobs}

    def job(self, job: Job) -> Path:
        """The folder of a job, there or not."""
        return self.folders().get(job.id, self.path / "jobs" / job.name)
