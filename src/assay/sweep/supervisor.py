"""Hands the jobs of a sweep to an engine until nothing is left to do.

What a job came to is read from its folder; only for a process that died without a word is it written there,
by `record_failure`. Jobs that another command has are left to it and waited for.
"""

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from assay.errors import Interrupted
from assay.run.folder import RunFolder, record_failure
from assay.run.signals import StopRequest
from assay.sweep.job import DIED, Entry, Job, Plan, SweepFolder, opened, read
from assay.sweep.pool import Engine, Handle
from assay.sweep.worker import Task
from assay.training.atomic import WriteError

LOOK_SECONDS = 0.3  # between two looks at the folders, if no process ends before
POLL_SECONDS = 0.02
TRIES = 2  # of a job whose process dies: what killed it may not have been its own fault


@dataclass
class Supervisor:
    """One command's part of a sweep."""

    plan: Plan
    folder: SweepFolder
    engine: Engine
    request: StopRequest
    watch: Callable[[Mapping[str, Entry]], None]
    tell: Callable[[str], None]
    _handles: dict[str, Handle] = field(default_factory=dict[str, Handle])
    _tries: Counter[str] = field(default_factory=Counter[str])
    _told: set[str] = field(default_factory=set[str])
    _stopped: bool = False  # no further job begins

    def run(self, entries: Mapping[str, Entry]) -> None:
        """Until nothing is left to do. Raises `Interrupted` if a signal ended it."""
        failed = {id for id, entry in entries.items() if entry.failed}
        self.request.ask = self._stop
        try:
            while self._start(entries, failed) or self._handles or self._others(entries):
                until = time.monotonic() + LOOK_SECONDS
                while not self._note_ended() and time.monotonic() < until:
                    time.sleep(POLL_SECONDS)
                entries = self.folder.entries(self.plan.jobs, entries)
                self.watch(entries)
        finally:
            self.request.ask = None
            for handle in self._handles.values():
                handle.kill()
        if self.request.received is not None:
            raise Interrupted(self.request.received)

    def _start(self, entries: Mapping[str, Entry], failed: set[str]) -> bool:
        """Begin what there is room for; whether any job waits for its turn."""
        waiting = [one for one in self.plan.jobs if not self._stopped and self._waits(one, entries, failed)]
        free = (one for one in waiting if not RunFolder(self.folder.job(one)).is_locked())
        chosen = list(islice(free, max(0, self.engine.at_once - len(self._handles))))
        handles = self.engine.start([self._task(job, job.id in failed) for job in chosen])
        self._handles |= zip([job.id for job in chosen], handles, strict=True)
        if self.request.received is not None:  # it came while they were started
            self._stop(self.request.received, handles)
        return bool(waiting)

    def _task(self, job: Job, again: bool) -> Task:
        path, engine = self.folder.job(job).absolute(), self.engine
        where = engine.threads, engine.gpus
        return Task(path, job.config, job.overrides, *where, again, self.plan.env, tuple(sys.argv))

    def _waits(self, job: Job, entries: Mapping[str, Entry], failed: set[str]) -> bool:
        """Whether it is to begin or to go on; one that failed before this command is run once more."""
        entry, tries = entries[job.id], self._tries[job.id]
        if job.id in self._handles:
            return False
        if entry.failed:
            return job.config.sweep.retry == "failed" and job.id in failed and not tries
        return entry.status in ("pending", "interrupted") and tries < TRIES

    def _others(self, entries: Mapping[str, Entry]) -> bool:
        """Whether another command runs jobs of ours: theirs may come back to us."""
        running = [] if self._stopped else [one for one in entries.values() if one.status == "running"]
        for entry in running:
            if entry.id not in self._told:
                process = entry.result["process"]
                who = f"process {process['pid']} on {process['host']}"
                self.tell(f"{entry.id} is run by another sweep ({who}): waiting for it")
        self._told |= {entry.id for entry in running}
        return bool(running)

    def _note_ended(self) -> bool:
        """Take note of the jobs whose processes have ended; whether there are any."""
        ended = {id: how for id, handle in self._handles.items() if (how := handle.ended()) is not None}
        for job in self.plan.jobs if ended else ():
            if job.id in ended:
                del self._handles[job.id]
                self._note(job, ended[job.id])
        return bool(ended)

    def _note(self, job: Job, how: str) -> None:
        entry = read(job, self.folder.job(job))
        if RunFolder(entry.folder).is_locked() or (not how and entry.status == "pending"):
            return  # another command has it
        self._tries[job.id] += 1
        if how and (entry.status == "pending" or (entry.error or "").startswith(DIED)):
            self._record_death(job, entry, how)
        if entry.failed and job.config.sweep.on_failure == "stop":
            self._stopped = True

    def _record_death(self, job: Job, entry: Entry, how: str) -> None:
        signum = self.request.received
        if signum is not None and not entry.folder.exists():
            return  # it had not begun
        error = f"{DIED}: {how}" if signum is None else f"stopped by {signal.Signals(signum).name}"
        try:
            entry.folder.mkdir(parents=True, exist_ok=True)
            record_failure(opened(entry.folder), job.config, job.overrides, "interrupted", error)
        except WriteError as unwritten:
            self.tell(f"{job.name}: {error}; {unwritten}")

    def _stop(self, signum: int, handles: Sequence[Handle] | None = None) -> None:
        self._stopped = True
        for handle in list(self._handles.values()) if handles is None else handles:
            handle.stop(signum)
