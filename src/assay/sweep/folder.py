"""A sweep's folder: the list of its jobs, a lock and a holder for each, and what each has come to.

    sweep.json              the jobs in order: id, group, words; the command
    jobs/<id>/              a run folder, named by its config
    locks/<id>.lock         held by the process that runs the job; the system frees it when that one dies
    locks/<id>.json         who holds or held it
    locks/<session>.stop    the session starts no more jobs

Reading it needs no torch.
"""

import json
import os
import secrets
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from assay.config.schema import TrainConfig
from assay.config.redact import redact, redact_text
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

    @property
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

    @contextmanager
    def locked(self) -> Generator[None]:
        """Alone with the files that belong to no job."""
        (self.path / "locks").mkdir(exist_ok=True)
        with FileLock(self.path / "locks" / "sweep.lock"):
            yield

    def write_manifest(self, jobs: Sequence[Job], command: str) -> None:
        listed = [{"id": job.id, "group": job.group, "words": redact(job.words)} for job in jobs]
        sweep = jobs[0].config.sweep
        by = {"metric": sweep.metric, "direction": sweep.direction}
        whole = {"name": self.path.name, "command": redact_text(command), "sorted": by, "jobs": listed}
        if whole != self.manifest:
            write_durably(self.path / "sweep.json", json.dumps(whole, indent=2).encode())

    def job(self, id: str) -> Path:
        return self.path / "jobs" / id

    def state(self, id: str) -> JobState:
        """What has become of a job; one whose process is gone is `interrupted`, whatever it last wrote."""
        result: dict[str, Any] = {}
        for _ in range(2):  # it may have begun between the looks at its holder and at its result
            live = self._live_holder(id)
            result = _read(self.job(id) / "result.json")
            if live is not None:
                return JobState("running", None, result, live)
            if result.get("status") != "running":
                break
        holder = _read(self._holder(id))
        if result.get("status") == "running" or (holder and not holder.get("done") and not result):
            who = result.get("process") or holder
            return JobState("interrupted", f"{DIED} ({who['pid']} on {who['host']})", result, holder)
        return JobState(result.get("status", "pending"), result.get("error"), result, holder)

    def _live_holder(self, id: str) -> dict[str, Any] | None:
        holder = _read(self._holder(id))
        is_live = holder and not holder.get("done") and is_alive(holder) is not False and self.is_held(id)
        return holder if is_live else None

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
        except (Timeout, OSError):  # where we may not lock nobody here can say that it is free
            return True
        lock.release()
        return False

    def stop(self, session: str) -> None:
        """Let no further job of the session begin."""
        (self.path / "locks").mkdir(exist_ok=True)
        self._stop_file(session).touch()

    def is_stopped(self, session: str) -> bool:
        return self._stop_file(session).exists()

    def signal_running(self, ids: Iterable[str], session: str, signum: int) -> bool:
        """Send a signal to the session's processes on this machine that run a job; whether there was any."""
        any_running, host = False, this_process()["host"]
        for id in ids:
            state = self.state(id)
            holder = state.holder
            mine = state.status == "running" and holder.get("session") == session
            if mine and holder["host"] == host and is_alive(holder):
                with suppress(ProcessLookupError):  # it has just ended by itself
                    os.kill(holder["pid"], signum)
                    any_running = True
        return any_running

    def _stop_file(self, session: str) -> Path:
        return self.path / "locks" / f"{session}.stop"

    def _lock(self, id: str) -> FileLock:
        return FileLock(self.path / "locks" / f"{id}.lock", is_singleton=False)

    def _holder(self, id: str) -> Path:
        return self.path / "locks" / f"{id}.json"


def _read(file: Path) -> dict[str, Any]:
    """Empty where there is no file, or one that is damaged: its job is run again."""
    try:
        found = json.loads(file.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
