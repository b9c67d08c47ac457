"""The jobs of a sweep, composed and validated before the first starts, and the folder that they leave.

    sweep.json                       the jobs in order: id, group, overrides; the command
    jobs/<changed keys>-<id>/        a run folder each, with the run folder's own lock
    leaderboard.*, report.html       made from the folders, again and again

Reading needs no torch.
"""

import errno
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel

from assay.config.compose import composing
from assay.config.explain import key_of
from assay.config.load import Loaded, load_job
from assay.config.messages import InvalidConfig, Problem, nearest
from assay.config.redact import redact, redact_text
from assay.config.saved import as_plain, config_id, group_id
from assay.config.schema import SweepConfig, TrainConfig
from assay.errors import UserError
from assay.run.earlier import find_earlier
from assay.run.folder import RunFolder
from assay.sweep.grid import axes, expand, grid_name, is_for_all, job_name, label, swept, swept_keys
from assay.training.atomic import write_durably

DIED = "its process died without a word"
# what a stage measures; `fit` validates after its epochs
Direction = Literal["max", "min"]
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
    jobs: tuple[Job, ...]
    launcher: Mapping[str, Any]
    env: Mapping[str, str]

    @property
    def config(self) -> SweepConfig:
        return self.jobs[0].config.sweep


def plan(overrides: Sequence[str]) -> Plan:
    """The jobs that overrides and sweep file make; raises `UserError` with the problems of all of them."""
    for_all = [one for one in overrides if is_for_all(key_of(one))]
    typed = [one for one in overrides if one not in for_all]

    def load(job: Sequence[str]) -> tuple[Loaded | None, list[Problem]]:
        return load_job("train", [*for_all, *job], find_earlier)

    with composing():
        first_job = tuple(values[0] for values in axes(typed).values())
        first = load(first_job)
        of_file = (first[0].config.sweep.mode, first[0].config.sweep.params) if first[0] else ("product", {})
        grid = expand(typed, *of_file)
        results = [first if job == first_job else load(job) for job in grid]
    refuse_any([problems for _, problems in results], grid)
    loaded = [one for one, _ in results if one is not None]
    plain = [as_plain(one.config) for one in loaded]
    keys, ids = swept_keys(grid), list(map(config_id, plain))
    configs = [replace(one.config, sweep=replace(one.config.sweep, params={})) for one in loaded]
    jobs = tuple(
        Job(id, group_id(whole), job_name(job, keys, id), job, config)
        for id, whole, job, config in zip(ids, plain, grid, configs, strict=True)
    )
    _refuse_useless(jobs, keys)
    name = jobs[0].config.sweep.name or grid_name(grid, ids)
    return Plan(name, jobs, loaded[0].composed.launcher, loaded[0].composed.environment)


def _refuse_useless(jobs: Sequence[Job], keys: Sequence[str]) -> None:
    """Raises `UserError` for jobs that go on with a run, and two that are one folder."""
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


@dataclass(frozen=True)
class Ranking:
    """What the leaderboard is sorted by, which end is best, and that of each metric of the task."""

    metric: str
    direction: Direction
    directions: Mapping[str, Direction]


def ranking(
    config: TrainConfig, directions: Mapping[str, Direction], before: Ranking | None = None
) -> Ranking:
    """As typed; else as `before`, or by the task's first metric where it is validated, or tested.

    `directions` are the task's. Raises `UserError` for a metric that nothing measures: what callbacks log may
    have any name.
    """
    metric, wanted = config.sweep.metric, config.sweep.direction
    if metric is None and before is not None:
        return before if wanted == "auto" else replace(before, direction=wanted)
    if metric is None:
        validates = {*STAGES["val"]} & {*config.stages}
        metric = f"{'val' if validates else 'test'}/{next(iter(directions))}"
    split, name = metric.partition("/")[0], metric.rpartition("/")[2]
    names = [f"{one}/{measured}" for one in STAGES for measured in (*directions, "loss")]
    if metric not in names and not config.callbacks:
        near = nearest(metric, names)
        hint = f"did you mean sweep.metric={near[0]}?" if near else f"it is one of {', '.join(names)}"
        raise UserError(f"sweep.metric={metric}: nothing measures it\n  {hint}")
    if metric in names and not {*STAGES[split]} & {*config.stages}:
        raise UserError(
            f"sweep.metric={metric}: no job has the stage that measures it\n"
            f"  stages=[{','.join(config.stages)}] is without {' or '.join(STAGES[split])}"
        )
    if wanted == "auto":
        wanted = directions.get(name) or ("min" if name.endswith("loss") else "max")
    return Ranking(metric, wanted, directions)


def refuse_any(problems: Sequence[Sequence[Problem]], jobs: Sequence[Sequence[str]]) -> None:
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
        note = f"in job {first + 1} of {len(jobs)} ({label(jobs[first], keys)}){more}"
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
    def reason(self) -> str:
        """The first line of the error."""
        return (self.error or "").partition("\n")[0]

    @property
    def seconds(self) -> float | None:
        """How long it took in all, if it completed."""
        return self.result["seconds"]["total"] if self.status == "completed" else None

    def metric(self, name: str) -> float | None:
        """The best checkpoint's, or with `last ` before the name that of the last epoch, if it completed."""
        if self.status != "completed":
            return None
        measured = self.result.get("last" if name.startswith("last ") else "metrics", {})
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
    by: Ranking
    jobs: tuple[Listed, ...]


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

    def write_manifest(self, plan: Plan, by: Ranking, command: str) -> None:
        listed = tuple(Listed(job.id, job.group, job.name, tuple(redact(job.overrides))) for job in plan.jobs)
        manifest = Manifest(name=self.path.name, command=redact_text(command), by=by, jobs=listed)
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
        kept = {id: entry for id, entry in (before or {}).items() if entry.status == "completed"}
        return {job.id: kept.get(job.id) or read(job, paths.get(job.id, folder / job.name)) for job in jobs}
