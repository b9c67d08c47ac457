"""Runs what is left of a sweep until nothing is, whatever the jobs do to the process that runs them.

One round hands all waiting jobs to the launcher. A job whose process died without a word takes its neighbours
with it, so those that were running then are tried once more, each alone: only the one at fault dies again.
Jobs that another sweep in the same folder holds are left to it and waited for.
"""

import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from assay.config.redact import redact
from assay.run.folder import RunFolder, provenance
from assay.config.load import plain
from assay.sweep.folder import Job, JobState, SweepFolder
from assay.sweep.grid import quoted
from assay.sweep.launch import Child, Launch, Order
from assay.sweep.live import View
from assay.sweep.work import Worker

LOOK_SECONDS = 0.3
TRIES = 2  # of a job in one command: it may have died of its neighbour


@dataclass
class Outcome:
    """How the jobs of a command went, as far as their folders do not tell."""

    signum: int | None = None  # the signal that ended it
    launcher_error: str | None = None


@dataclass
class Supervisor:
    """The sweep's own process: it looks, and starts and stops the child that works."""

    sweep: SweepFolder
    jobs: Sequence[Job]
    worker: Worker
    launch: Launch
    view: View
    retry: bool  # failed jobs
    tries: dict[str, int] = field(default_factory=dict[str, int])
    outcome: Outcome = field(default_factory=Outcome)
    _child: Child | None = None
    _told_of: set[str] = field(default_factory=set[str])
    _completed: dict[str, JobState] = field(default_factory=dict[str, JobState])

    def states(self) -> dict[str, JobState]:
        """Of all jobs; what has completed is not read again, or a thousand jobs would cost a core's fifth."""
        states = {job.id: self._completed.get(job.id) or self.sweep.state(job.id) for job in self.jobs}
        self._completed |= {id: state for id, state in states.items() if state.status == "completed"}
        return states

    def run(self, judged: Child) -> Outcome:
        """With the child that has judged the jobs, until nothing is left to do or a signal ends it."""
        states = self.states()
        self.view.start(states)
        spare: Child | None = judged
        with self._signals():
            try:
                while (batch := self._next(states)) and self.outcome.signum is None:
                    self._child = spare or Child(self.launch, [])
                    spare = None
                    states = self._round(self._child, batch)
                    if self.outcome.launcher_error is not None:
                        break
                    states = self._wait_for_others(states)
            finally:
                if spare is not None:
                    spare.dismiss()
                self.view.stop()
        return self.outcome

    def _next(self, states: Mapping[str, JobState]) -> list[Job]:
        """The jobs of the next round: all that wait, else one of those that died here, alone."""
        if self.sweep.is_stopped(self.worker.session):
            return []
        left = [job for job in self.jobs if self.tries.get(job.id, 0) < TRIES and self._wanted(job, states)]
        fresh = [job for job in left if not (states[job.id].died and self.tries.get(job.id))]
        return fresh or left[:1]

    def _wanted(self, job: Job, states: Mapping[str, JobState]) -> bool:
        status = states[job.id].status
        if status in ("failed", "diverged"):  # those that failed before; who fails now has had its turn
            return self.retry and job.id in self.worker.again and not self.tries.get(job.id)
        return status in ("pending", "interrupted")

    def _round(self, child: Child, batch: Sequence[Job]) -> dict[str, JobState]:
        if not child.judged:  # a further one has nothing to judge
            child.verdict()
        child.run(Order(self.worker, [[*job.words, f"hydra.job.name={quoted(job.id)}"] for job in batch]))
        while child.process.is_alive():
            child.process.join(LOOK_SECONDS)
            self.view.update(self.states())
        error = child.error()
        child.kill()  # what it left behind
        moved = self._record_deaths(batch, child.process.exitcode)
        states = self.states()
        self.view.update(states)
        elsewhere = any(states[job.id].status in ("running", "completed") for job in batch)
        if not (moved or elsewhere) and self.outcome.signum is None:
            ended = f"it ended with code {child.process.exitcode} and no job begun (see {self._log})"
            self.outcome.launcher_error = error or ended
        return states

    @property
    def _log(self) -> str:
        return str(self.sweep.path / "log.txt")

    def _record_deaths(self, batch: Sequence[Job], exitcode: int | None) -> bool:
        """Write down what died without a word; whether any job of the batch was begun at all."""
        begun = False
        for job in batch:
            state = self.sweep.state(job.id)
            if state.holder.get("session") != self.worker.session:
                continue
            begun = True
            self.tries[job.id] = self.tries.get(job.id, 0) + 1
            if state.died:
                write_death(self.sweep, job, state, exitcode)
        return begun

    def _wait_for_others(self, states: dict[str, JobState]) -> dict[str, JobState]:
        """While only jobs of another sweep are running, look on; theirs may come back to us."""
        while self.outcome.signum is None and not self._next(states):
            running = {id: state for id, state in states.items() if state.status == "running"}
            if not running:
                break
            for id, state in running.items():
                if id not in self._told_of:
                    self._told_of.add(id)
                    who = f"process {state.holder['pid']} on {state.holder['host']}"
                    self.view.console.print(
                        f"{id} is run by another sweep ({who}): waiting for it", highlight=False
                    )
            time.sleep(LOOK_SECONDS)
            states = self.states()
            self.view.update(states)
        return states

    @contextmanager
    def _signals(self) -> Any:
        before = {signum: signal.signal(signum, self._stop) for signum in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        """The first signal lets the running jobs save; a second one ends them at once."""
        first = self.outcome.signum is None
        self.outcome.signum = signum
        if self.worker.engine.is_local:  # jobs in a cluster's queue are left to it
            self.sweep.stop(self.worker.session)
        if self._child is None:
            return
        if first and self.worker.engine.is_local:
            self.sweep.signal_running([job.id for job in self.jobs], self.worker.session, signum)
        else:
            self._child.kill()


def write_death(sweep: SweepFolder, job: Job, state: JobState, exitcode: int | None) -> None:
    """Say in the job's folder that its process is gone, so that nobody has to find out again."""
    path = sweep.job(job.id)
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.result = dict(state.result)
    by = f", killed by {signal.Signals(-exitcode).name}" if exitcode is not None and exitcode < 0 else ""
    if not folder.result:
        folder.write_config(plain(job.config), list(job.words))
        seconds = {"total": 0.0, "fit": None, "test": None, "epochs": []}
        folder.result = {"metrics": {}, "epochs": 0, "steps": 0, "seconds": seconds, "config_id": job.id}
        folder.result |= {"seed": job.config.seed, "overrides": redact(job.words), **provenance()}
        folder.result |= {"process": dict(state.holder)}
    folder.update(status="interrupted", error=f"{state.error}{by}")
