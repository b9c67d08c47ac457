"""The jobs of a sweep, and the folder that they leave.

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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel

from assay.config.redact import redact, redact_text
from assay.config.schema import TrainConfig
from assay.errors import UserError
from assay.run.folder import RunFolder
from assay.sweep.grid import swept
from assay.training.atomic import write_durably

DIED = "its process died without a word"
Direction = Literal["max", "min"]


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
class Ranking:
    """What the leaderboard is sorted by, which end is best, and that of each metric of the task."""

    metric: str
    direction: Direction
    directions: Mapping[str, Direction]


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
    by: Ranking
    jobs: tuple[Listed, ...]


def command_typed() -> str:
    """This process's command line, to be typed again."""
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python", "train.py"] if program.endswith(".py") else [program]), *sys.argv[1:]])


class SweepFolder:
    """The files of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listed: dict[tuple[str, tuple[str, ...]], Listed] = {}

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

    def write_manifest(self, by: Ranking, jobs: Sequence[Job], command: str) -> None:
        listed = tuple(map(self._as_listed, jobs))
        manifest = Manifest(name=self.path.name, command=redact_text(command), by=by, jobs=listed)
        if manifest != self.manifest:
            write_durably(self.path / "sweep.json", manifest.model_dump_json(indent=2).encode())

    def _as_listed(self, job: Job) -> Listed:
        key = (job.name, job.overrides)
        if key not in self._listed:  # a search asks for all of its jobs again with each that is new
            self._listed[key] = Listed(job.id, job.group, job.name, tuple(redact(job.overrides)))
        return self._listed[key]

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
