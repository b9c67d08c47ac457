"""One command's part of a sweep: it starts jobs while there is room, and takes note of how they end."""

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from assay.errors import Interrupted
from assay.run.folder import RunFolder, record_failure
from assay.sweep.job import DIED, Entry, Job, command_typed, opened, read
from assay.sweep.pool import Handle, Sweep
from assay.sweep.worker import Task
from assay.training.atomic import WriteError

LOOK_SECONDS = 0.3  # between two looks at the folders, if no process ends before
POLL_SECONDS = 0.02
TRIES = 2  # of a job whose process dies: what killed it may not have been its own fault


@dataclass
class Supervisor:
    """One command's part of a sweep."""

    sweep: Sweep
    entries: Mapping[str, Entry]  # as the folders were at the last look
    watch: Callable[[Mapping[str, Entry]], None]
    _handles: dict[str, tuple[Job, Handle]] = field(default_factory=dict[str, tuple[Job, Handle]])
    _tries: Counter[str] = field(default_factory=Counter[str])
    _stopping: dict[str, str] = field(default_factory=dict[str, str])  # why a search gave up a job, by id
    _told: set[str] = field(default_factory=set[str])
    _stopped: bool = False  # no further job begins

    def run(self) -> None:
        """Until nothing is left to do. Raises `Interrupted` if a signal ended it."""
        request, source = self.sweep.request, self.sweep.source
        is_search = self.sweep.plan.space is not None  # it was told already that they failed
        failed = {id for id, entry in self.entries.items() if entry.failed and not is_search}
        request.ask = self._stop
        try:
            self._prune(source.look(self.entries))
            while self._start(failed) or self._handles or self._others():
                until = time.monotonic() + LOOK_SECONDS
                while not (self._note_ended() or self._has_news()) and time.monotonic() < until:
                    time.sleep(POLL_SECONDS)
                before, self.entries = self.entries, self.sweep.folder.entries(source.jobs, self.entries)
                self._prune(source.look(self.entries))
                asked = self._stopping.keys() & self._handles.keys()  # shown when they are recorded as pruned
                self.watch({**self.entries, **{id: before[id] for id in asked}})
        finally:
            request.ask = None
            for _, handle in self._handles.values():
                handle.kill()
        if request.received is not None:
            raise Interrupted(request.received)

    def _start(self, failed: set[str]) -> bool:
        """Begin what there is room for; whether any job waits for its turn.

        A job whose result is known makes room for the next, where the engine says so, and draws its pictures.
        """
        engine = self.sweep.engine
        busy = [id for id in self._handles if not (engine.overlaps and self.entries[id].is_over)]
        room = min(engine.at_once - len(busy), 2 * engine.at_once - len(self._handles))
        waiting = [job for job in self.sweep.source.jobs if not self._stopped and self._waits(job, failed)]
        free = (job for job in waiting if not RunFolder(self.entries[job.id].folder).is_locked())
        chosen = list(islice(free, max(0, room)))
        while len(chosen) < room and not self._stopped and (more := self._more()):
            waiting += more
            chosen += more[: room - len(chosen)]
        handles = engine.start([self._task(job, job.id in failed) for job in chosen])
        self._handles |= {job.id: (job, handle) for job, handle in zip(chosen, handles, strict=True)}
        for handle in handles:
            if self.sweep.request.received is not None:  # it came while they were started
                handle.stop(self.sweep.request.received)
        return bool(waiting)

    def _more(self) -> Sequence[Job]:
        """Further jobs; the manifest has them before they begin."""
        more = self.sweep.source.more(self.entries)
        if more:
            jobs = self.sweep.source.jobs
            self.sweep.folder.write_manifest(self.sweep.by, jobs, command_typed())
            self.entries = self.sweep.folder.entries(jobs, self.entries)
        return more

    def _prune(self, reasons: Mapping[str, str]) -> None:
        """Ask jobs to save and end; of those that had ended before this command it is said here."""
        self._stopping |= reasons
        for id in reasons.keys() & self._handles.keys():
            self._handles[id][1].stop(signal.SIGTERM)
        for job in self.sweep.source.jobs if reasons else ():
            if job.id in reasons.keys() - self._handles.keys():
                self._record_pruned(job, self.entries[job.id])

    def _task(self, job: Job, again: bool) -> Task:
        path, env, engine = self.entries[job.id].folder.absolute(), self.sweep.plan.env, self.sweep.engine
        return Task(path, job, engine.threads, engine.gpus, again, env, tuple(sys.argv))

    def _waits(self, job: Job, failed: set[str]) -> bool:
        """Whether it is to begin or to go on; one that failed before this command is run once more."""
        entry, tries = self.entries[job.id], self._tries[job.id]
        if job.id in self._handles or job.id in self._stopping:
            return False
        if entry.failed:
            return job.config.sweep.retry == "failed" and job.id in failed and not tries
        return entry.status in ("pending", "interrupted") and tries < TRIES

    def _others(self) -> bool:
        """Whether another command runs jobs of ours: theirs may come back to us."""
        running = [one for one in self.entries.values() if one.status == "running" and not self._stopped]
        for entry in running:
            if entry.id not in self._told:
                process = entry.result["process"]
                who = f"process {process['pid']} on {process['host']}"
                self.sweep.say(f"{entry.id} is run by another sweep ({who}): waiting for it")
        self._told |= {entry.id for entry in running}
        return bool(running)

    def _has_news(self) -> bool:
        """Whether a job's result is there that the last look has not seen."""
        if not self.sweep.engine.overlaps:
            return False
        begun = [entry for id in self._handles if not (entry := self.entries[id]).is_over]
        return any(_has_completed(entry.folder / "result.json") for entry in begun)

    def _note_ended(self) -> bool:
        """Take note of the jobs whose processes have ended; whether there are any."""
        ended = [(job, how) for job, one in self._handles.values() if (how := one.ended()) is not None]
        for job, how in ended:
            del self._handles[job.id]
            self._note(job, how)
        return bool(ended)

    def _note(self, job: Job, how: str) -> None:
        entry = read(job, self.entries[job.id].folder)
        if RunFolder(entry.folder).is_locked() or (not how and entry.status == "pending"):
            return  # another command has it
        self._tries[job.id] += 1
        if job.id in self._stopping:
            return self._record_pruned(job, entry)
        if how and (entry.status == "pending" or (entry.error or "").startswith(DIED)):
            self._record_death(job, entry, how)
        if entry.failed and job.config.sweep.on_failure == "stop":
            self._stopped = True

    def _record_death(self, job: Job, entry: Entry, how: str) -> None:
        signum = self.sweep.request.received
        if signum is not None and not entry.folder.exists():
            return  # it had not begun
        error = f"{DIED}: {how}" if signum is None else f"stopped by {signal.Signals(signum).name}"
        self._record(job, entry, "interrupted", error)

    def _record_pruned(self, job: Job, entry: Entry) -> None:
        if entry.status == "interrupted":  # it may have completed before it was asked
            self._record(job, entry, "pruned", self._stopping[job.id])

    def _record(self, job: Job, entry: Entry, status: str, error: str) -> None:
        try:
            entry.folder.mkdir(parents=True, exist_ok=True)
            record_failure(opened(entry.folder), job.config, job.overrides, status, error)
        except WriteError as unwritten:
            self.sweep.say(f"{job.name}: {error}; {unwritten}")

    def _stop(self, signum: int) -> None:
        self._stopped = True
        for _, handle in self._handles.values():
            handle.stop(signum)


def _has_completed(result: Path) -> bool:
    """By a look at its text, which costs less than to read it; not yet, where it cannot be read."""
    try:
        return b'"status": "completed"' in result.read_bytes()
    except OSError:
        return False
