"""A sweep's folder: the list of its jobs, a lock and a holder for each, and what each has come to.

    sweep.json              the jobs in order: id, group, words; the command
    jobs/<id>/              a run folder, named by its config
    locks/<id>.lock         held by the process that runs the job; the system frees it when that one dies
    locks/<id>.json         who holds or held it
    stop                    the session that starts no more jobs

Reading it needs no torch.
"""

import json
import secrets
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from assay.config.frame import TrainConfig
from assay.errors import UserError
from assay.run.process import is_alive, this_process
from assay.training.atomic import write_durably

ENDED = ("completed", "failed", "diverged")
DIED = "its process died without a word"
LOCK_SECONDS = 1.0  # who only looks whether a lock is free holds it for less


@dataclass(frozen=True)
class Job:
    """One point of the grid: its words, its judged config, and the names that follow from the config."""

    id: str
    group: str  # shared by the jobs that differ in their seed alone
    words: tuple[str, ...]
    config: TrainConfig


@dataclass(frozen=True)
class JobState:
    """What a job's folder says of it: `pending`, or a status of a run."""

    status: str
    error: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict[str, Any])
    holder: Mapping[str, Any] = field(default_factory=dict[str, Any])  # pid, host, created, session

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def died(self) -> bool:
        """Whether it ended without a word: killed, or crashed beneath Python."""
        return self.status == "interrupted" and (self.error or "").startswith(DIED)


class SweepFolder:
    """The files of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, sweeps: Path, name: str | None) -> "SweepFolder":
        """The folder of that name, there or not yet; without a name a new one, of the date and time.

        Raises `UserError` where it cannot be made.
        """
        moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        path = sweeps / (name or f"{moment}-{secrets.token_hex(3)}")
        try:
            path.mkdir(parents=True, exist_ok=name is not None)
        except OSError as error:
            why = error.strerror or str(error)
            raise UserError(f"output_dir: the sweep's folder {path} cannot be made: {why}") from error
        return cls(path)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """`sweep.json`; empty where there is none yet. Raises `UserError` if it is damaged."""
        file = self.path / "sweep.json"
        found = _read(file)
        jobs = found.get("jobs")
        whole = isinstance(jobs, list) and all(isinstance(job, dict) and "id" in job for job in jobs)
        if not whole and file.exists():
            raise UserError(
                f"{file} is damaged\n  remove it and run the sweep's command again: no job is lost"
            )
        return found

    def write_manifest(self, jobs: Sequence[Job], command: str) -> None:
        listed = [{"id": job.id, "group": job.group, "words": list(job.words)} for job in jobs]
        sweep = jobs[0].config.sweep
        by = {"metric": sweep.metric, "direction": sweep.direction}
        whole = {"name": self.path.name, "command": command, "sorted": by, "jobs": listed}
        if whole != self.manifest:
            write_durably(self.path / "sweep.json", json.dumps(whole, indent=2).encode())
            self.__dict__["manifest"] = whole

    def job(self, id: str) -> Path:
        return self.path / "jobs" / id

    def state(self, id: str) -> JobState:
        """What has become of a job; one whose process is gone is `interrupted`, whatever it last wrote."""
        result, holder = _read(self.job(id) / "result.json"), _read(self._holder(id))
        open_end = bool(holder) and not holder.get("done")
        if open_end and is_alive(holder) is not False and self.is_held(id):
            return JobState("running", None, result, holder)
        if result.get("status") == "running" or (open_end and not result):
            who = result.get("process") or holder
            return JobState("interrupted", f"{DIED} ({who['pid']} on {who['host']})", result, holder)
        return JobState(result.get("status", "pending"), result.get("error"), result, holder)

    def state_of_mine(self, id: str) -> JobState:
        """The same for a job that this process holds: nobody else can be running it."""
        result = _read(self.job(id) / "result.json")
        status = result.get("status", "pending")
        return JobState("interrupted" if status == "running" else status, result.get("error"), result)

    @contextmanager
    def hold(self, id: str, session: str) -> Generator[bool]:
        """Yields whether the job is ours alone inside the block."""
        (self.path / "locks").mkdir(exist_ok=True)
        lock = self._lock(id)
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            yield False
            return
        mine = {**this_process(), "session": session, "since": datetime.now().isoformat(timespec="seconds")}
        try:
            write_durably(self._holder(id), json.dumps(mine).encode())
            yield True
            write_durably(self._holder(id), json.dumps({**mine, "done": True}).encode())
        finally:
            lock.release()

    def is_held(self, id: str) -> bool:
        """Whether a living process has the job's lock."""
        if not (self.path / "locks" / f"{id}.lock").exists():
            return False
        lock = self._lock(id)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        lock.release()
        return False

    def stop(self, session: str) -> None:
        """Let no further job of the session begin."""
        write_durably(self.path / "stop", session.encode())

    def is_stopped(self, session: str) -> bool:
        file = self.path / "stop"
        return file.is_file() and file.read_text() == session

    def _lock(self, id: str) -> FileLock:
        return FileLock(self.path / "locks" / f"{id}.lock", is_singleton=False)

    def _holder(self, id: str) -> Path:
        return self.path / "locks" / f"{id}.json"


def _read(file: Path) -> dict[str, Any]:
    """Empty where there is no file, or one that is damaged: its job is run again."""
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
