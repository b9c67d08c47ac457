"""The jobs of a sweep, composed and validated before the first starts, and the folder that they leave.

    sweep.json                       the jobs in order: id, group, overrides; the command
    jobs/<changed keys>-<id>/        a run folder each, with the run folder's own lock
    leaderboard.*, report.html       made from the folders, again and again

Reading needs no torch.
"""

import errno
import shlex
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import BaseModel

from assay.config.compose import composing
from assay.config.explain import groups, key_of
from assay.config.load import Loaded, load_job
from assay.config.messages import InvalidConfig, Problem
from assay.config.redact import redact, redact_text
from assay.config.saved import as_plain, config_id, group_id
from assay.config.schema import SweepConfig, TrainConfig
from assay.errors import UserError
from assay.run.earlier import find_earlier
from assay.run.folder import RunFolder
from assay.sweep.grid import (
    axes,
    expand,
    grid_name,
    is_for_all,
    job_name,
    label,
    overrides_of,
    swept,
    swept_keys,
)
from assay.sweep.space import Space, corners, refuse_search, space_of
from assay.training.atomic import write_durably

DIED = "its process died without a word"
# what a stage measures; `fit` validates after its epochs
STAGES = {"train": ("fit",), "val": ("fit", "validate"), "test": ("test",)}


@dataclass(frozen=True)
class Listed:
    """A job as `sweep.json` has it."""

    id: str
    group: str  # shared by the jobs that differ in their seed alone
    name: str  # of its folder
    overrides: tuple[str, ...]


@dataclass(frozen=True)
class Job(Listed):
    """One point of the grid with its validated config."""

    config: TrainConfig


@dataclass(frozen=True)
class Plan:
    """What a command line asks for: jobs, where they run, and the environment variables that they get."""

    name: str  # of the sweep
    jobs: tuple[Job, ...]  # of a search those at the corners of its space, which are not run
    keys: tuple[str, ...]  # those that differ between jobs
    launcher: Mapping[str, Any]
    env: Mapping[str, str]
    for_all: tuple[str, ...]  # overrides that are no job's
    space: Space | None  # of a search

    @property
    def config(self) -> SweepConfig:
        return self.jobs[0].config.sweep

    @property
    def count(self) -> int:
        """How many jobs there are in all, if nothing ends a search before."""
        return len(self.jobs) if self.space is None else (self.config.trials or 1) * self.config.seeds


def plan(overrides: Sequence[str]) -> Plan:
    """The jobs that overrides and sweep file make; raises `UserError` with the problems of all of them."""
    for_all = tuple(one for one in overrides if is_for_all(key_of(one)))
    typed = [one for one in overrides if one not in for_all]
    with composing():
        first_job = tuple(axis.overrides[0] for axis in axes(typed).values())
        first = load_job("train", [*for_all, *first_job], find_earlier)
        config = first[0].config.sweep if first[0] else None
        columns = axes([*overrides_of(config.params if config else {}), *typed])
        if config is not None:
            refuse_search(config, columns)
        is_search = config.search is not None if config else any(one.is_interval for one in columns.values())
        if is_search:
            points = corners(columns, [key for key in columns if key in groups()])
        else:
            points = expand(typed, config.mode if config else "product", config.params if config else {})
        results = [
            first if point == first_job else load_job("train", [*for_all, *point], find_earlier)
            for point in points
        ]
    refuse_any([problems for _, problems in results], points, "corner" if is_search else "job")
    loaded, keys = [one for one, _ in results if one is not None], swept_keys(points)
    jobs = tuple(_job(one, point, keys) for one, point in zip(loaded, points, strict=True))
    _refuse_useless(jobs, keys)
    ids, config = [job.id for job in jobs], jobs[0].config.sweep
    space = space_of(columns, config, ids) if is_search else None
    name = config.name or (space.name if space else grid_name(points, ids))
    keys = (*keys, "seed") if config.seeds > 1 else tuple(keys)
    return Plan(name, jobs, keys, loaded[0].composed.launcher, loaded[0].composed.environment, for_all, space)


def job_of(plan: Plan, overrides: Sequence[str]) -> Job:
    """One more job of a search; raises `InvalidConfig`."""
    with composing():
        loaded, problems = load_job("train", [*plan.for_all, *overrides], find_earlier)
    if loaded is None:
        raise InvalidConfig(problems)
    return _job(loaded, overrides, plan.keys)


def _job(loaded: Loaded, overrides: Sequence[str], keys: Sequence[str]) -> Job:
    config, plain = loaded.config, as_plain(loaded.config)
    id, config = config_id(plain), replace(config, sweep=replace(config.sweep, params={}))
    return Job(id, group_id(plain), job_name(overrides, keys, id), tuple(overrides), config)


def _refuse_useless(jobs: Sequence[Job], keys: Sequence[str]) -> None:
    """Raises `UserError` for jobs that go on with a run, two that are one folder, a metric that none has."""
    if any(job.config.resume is not None for job in jobs):
        raise UserError("resume: a sweep goes on by itself\n  type its command again, with its sweep.name")
    first: dict[str, int] = {}
    for at, job in enumerate(jobs):
        before = first.setdefault(job.id, at)
        if before != at:
            own = dict.fromkeys(label(jobs[one].overrides, keys) for one in (before, at))
            raise UserError(
                f"jobs {before + 1} and {at + 1} of {len(jobs)} are the same: "
                f"{' and '.join(filter(None, own)) or f'seed={job.config.seed}'}\n"
                "  what decides a result is the same in both: all but paths, names and what is logged"
            )
    metric, has = jobs[0].config.sweep.metric, jobs[0].config.stages
    stages = STAGES[metric.partition("/")[0]]
    if not any(stage in stages for job in jobs for stage in job.config.stages):
        raise UserError(
            f"sweep.metric={metric}: no job has the stage that measures it\n"
            f"  stages=[{','.join(has)}] is without {' or '.join(stages)}"
        )


def refuse_any(
    problems: Sequence[Sequence[Problem]], jobs: Sequence[Sequence[str]], what: str = "job"
) -> None:
    """Raises `InvalidConfig` if any job has a problem: each problem once, with the first job that has it."""
    where: dict[str, list[tuple[int, Problem]]] = {}
    for at, ones in enumerate(problems):
        for problem in ones:
            where.setdefault(problem.text, []).append((at, problem))
    keys = swept_keys(jobs) if where else []
    raised: list[Problem] = []
    for has in where.values():
        first, problem = has[0]
        more = f" and {len(has) - 1} more" if len(has) > 1 else ""
        note = f"in {what} {first + 1} of {len(jobs)} ({label(jobs[first], keys)}){more}"
        note += ": a search draws every key with every option" if what == "corner" else ""
        in_all = len(has) == len(jobs)
        raised.append(problem if in_all else replace(problem, notes=(*problem.notes[:2], note)))
    if raised:
        raise InvalidConfig(raised)


@dataclass(frozen=True)
class Entry(Listed):
    """A job as its folder tells it: its status is `pending`, or that of a run."""

    folder: Path
    status: str = "pending"
    error: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def failed(self) -> bool:
        return self.status in ("failed", "diverged")

    @property
    def is_over(self) -> bool:
        """Whether it is as it was to become: nothing is left to do, and nothing went wrong."""
        return self.status in ("completed", "pruned")

    @property
    def reason(self) -> str:
        """The first line of the error."""
        return (self.error or "").partition("\n")[0]

    @property
    def seconds(self) -> float | None:
        """How long it took in all, if it completed."""
        return self.result["seconds"]["total"] if self.status == "completed" else None

    def metric(self, name: str) -> float | None:
        """The best checkpoint's, if it completed; with `last ` before the name that of the last epoch."""
        is_last = name.startswith("last ")
        if self.status != "completed" and not (is_last and self.status == "pruned"):
            return None
        measured = self.result.get("last" if is_last else "metrics", {})
        return measured.get(name.removeprefix("last "))

    def value(self, key: str) -> str:
        """The value of a key as typed, or the name of the sweep."""
        return self.folder.parents[1].name if key == "sweep" else swept(self.overrides, [key]).get(key, "")


def read(job: Listed, path: Path) -> Entry:
    """What the folder says now; a run whose process is gone is `interrupted`, whatever it wrote."""
    folder = opened(path)
    result, status = folder.result, folder.status if folder.result else "pending"
    error = result.get("error")
    if status == "interrupted" and result["status"] == "running":
        error = f"{DIED} ({result['process']['pid']} on {result['process']['host']})"
    return Entry(job.id, job.group, path.name, job.overrides, path, status, error, result)


def opened(path: Path) -> RunFolder:
    """A job's folder, there or not; one whose `result.json` is damaged counts as not begun."""
    try:
        return RunFolder.open(path)
    except UserError:
        return RunFolder(path)


class Manifest(BaseModel):
    """`sweep.json`: what was typed, what the leaderboard is sorted by, and the jobs."""

    name: str
    command: str
    metric: str
    direction: str
    jobs: tuple[Listed, ...]


def command_typed() -> str:
    """This process's command line, to be typed again."""
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python", "train.py"] if program.endswith(".py") else [program]), *sys.argv[1:]])


class SweepFolder:
    """The files of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def manifest(self) -> Manifest | None:
        """None where there is none yet. Raises `UserError` if it is damaged."""
        file = self.path / "sweep.json"
        try:
            return Manifest.model_validate_json(file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError):
            raise UserError(
                f"{file} is damaged\n  remove it and type the sweep's command again: no job is lost"
            ) from None

    def write_manifest(self, plan: Plan, jobs: Sequence[Job], command: str) -> None:
        listed = tuple(Listed(job.id, job.group, job.name, tuple(redact(job.overrides))) for job in jobs)
        by, command = {"metric": plan.config.metric, "direction": plan.config.direction}, redact_text(command)
        manifest = Manifest(name=self.path.name, command=command, jobs=listed, **by)
        if manifest != self.manifest:
            write_durably(self.path / "sweep.json", manifest.model_dump_json(indent=2).encode())

    @contextmanager
    def locked(self) -> Generator[None]:
        """Alone with the files that belong to no job; raises `UserError` where there can be no such files."""
        lock = FileLock(self.path / ".lock")
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except OSError as error:
            what = f"the sweep's folder {self.path} cannot be made: {error.strerror or error}"
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP):
                what = f"the file system of {self.path} has no locks: {error.strerror}\n"
                what += "  set output_dir to a disk of this machine, NFS 4, or Lustre mounted with flock"
            raise UserError(f"output_dir: {what}") from error
        try:
            yield
        finally:
            lock.release()

    def entries(self, jobs: Sequence[Listed], before: Mapping[str, Entry] | None = None) -> dict[str, Entry]:
        """Of all jobs, by id; what had completed is not read again: a thousand would cost a core's fifth.

        The id ends a folder's name, whatever keys were swept when it was made.
        """
        folder = self.path / "jobs"
        paths = {path.name.rpartition("-")[2]: path for path in folder.glob("*")}
        kept = {id: entry for id, entry in (before or {}).items() if entry.is_over}
        return {job.id: kept.get(job.id) or read(job, paths.get(job.id, folder / job.name)) for job in jobs}
