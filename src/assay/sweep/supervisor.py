"""Hands the jobs of a sweep to an engine until nothing is left to do.

What a job came to is read from its folder; only for a process that died without a word is it written there,
by `record_failure`. Jobs that another command has are left to it and waited for.
"""

import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from assay.errors import Interrupted
from assay.run.folder import record_failure
from assay.run.signals import StopRequest
from assay.sweep.job import DIED, Job, JobState, SweepFolder, is_held, opened, state_of
from assay.sweep.pool import Engine, Handle
from assay.sweep.worker import Task
from assay.training.atomic import WriteError

LOOK_SECONDS = 0.3  # between two looks at the folders, if no process ends before
POLL_SECONDS = 0.02
TRIES = 2  # of a job whose process dies: what killed it may not have been its own fault


@dataclass
class Supervisor:
    """One command's part of a sweep."""

    sweep: SweepFolder
    jobs: Sequence[Job]
    engine: Engine
    request: StopRequest
    task_of: Callable[[Job, bool], Task]  # the bool: whether it begins anew
    watch: Callable[[Mapping[str, JobState]], None]
    tell: Callable[[str], None]
    _handles: dict[str, Handle] = field(default_factory=dict[str, Handle])
    _tries: Counter[str] = field(default_factory=Counter[str])
    _told: set[str] = field(default_factory=set[str])
    _stopped: bool = False  # no further job begins

    def run(self, states: Mapping[str, JobState]) -> None:
        """Until nothing is left to do. Raises `Interrupted` if a signal ended it."""
        failed = {id for id, state in states.items() if state.status in ("failed", "diverged")}
        self.request.ask = self._stop
        try:
            while self._start(states, failed) or self._handles or self._others(states):
                until = time.monotonic() + LOOK_SECONDS
                while not self._settle() and time.monotonic() < until:
                    time.sleep(POLL_SECONDS)
                states = self.sweep.states(self.jobs, states)
                self.watch(states)
        finally:
            self.request.ask = None
            for handle in self._handles.values():
                handle.kill()
        if self.request.received is not None:
            raise Interrupted(self.request.received)

    def _start(self, states: Mapping[str, JobState], failed: set[str]) -> bool:
        """Begin what there is room for; whether any job waits for its turn."""
        waiting = [job for job in self.jobs if not self._stopped and self._waits(job, states, failed)]
        room = max(0, self.engine.at_once - len(self._handles))
        free = (job for job in waiting if not is_held(self.sweep.job(job)))
        chosen = list(islice(free, room))
        handles = self.engine.start([self.task_of(job, job.id in failed) for job in chosen])
        self._handles |= zip([job.id for job in chosen], handles, strict=True)
        if self.request.received is not None:  # it came while they were started
            self._stop(self.request.received, handles)
        return bool(waiting)

    def _waits(self, job: Job, states: Mapping[str, JobState], failed: set[str]) -> bool:
        """Whether it is to begin or to go on; one that failed before this command is run once more."""
        if job.id in self._handles:
            return False
        if states[job.id].status in ("failed", "diverged"):
            return job.config.sweep.retry == "failed" and job.id in failed and not self._tries[job.id]
        return states[job.id].status in ("pending", "interrupted") and self._tries[job.id] < TRIES

    def _others(self, states: Mapping[str, JobState]) -> bool:
        """Whether another command runs jobs of ours: theirs may come back to us."""
        running = {} if self._stopped else {id: one for id, one in states.items() if one.status == "running"}
        for id in running.keys() - self._told:
            process = running[id].result["process"]
            who = f"process {process['pid']} on {process['host']}"
            self.tell(f"{id} is run by another sweep ({who}): waiting for it")
        self._told |= running.keys()
        return bool(running)

    def _settle(self) -> bool:
        """Take note of the jobs whose processes have ended; whether there are any."""
        ended = {id: how for id, handle in self._handles.items() if (how := handle.ended()) is not None}
        for job in self.jobs if ended else ():
            if job.id in ended:
                del self._handles[job.id]
                self._note(job, self.sweep.job(job), ended[job.id])
        return bool(ended)

    def _note(self, job: Job, path: Path, how: str) -> None:
        state = state_of(opened(path))
        if is_held(path) or (not how and state.status == "pending"):
            return  # another command has it
        self._tries[job.id] += 1
        if how and (state.status == "pending" or (state.error or "").startswith(DIED)):
            self._record_death(job, path, how)
        if state.status in ("failed", "diverged") and job.config.sweep.on_failure == "stop":
            self._stopped = True

    def _record_death(self, job: Job, path: Path, how: str) -> None:
        signum = self.request.received
        if signum is not None and not path.exists():
            return  # it had not begun
        error = f"{DIED}: {how}" if signum is None else f"stopped by {signal.Signals(signum).name}"
        try:
            path.mkdir(parents=True, exist_ok=True)
            record_failure(opened(path), job.config, job.overrides, "interrupted", error)
        except WriteError as unwritten:
            self.tell(f"{job.name}: {error}; {unwritten}")

    def _stop(self, signum: int, handles: Sequence[Handle] | None = None) -> None:
        self._stopped = True
        for handle in list(self._handles.values()) if handles is None else handles:
            handle.stop(signum)
