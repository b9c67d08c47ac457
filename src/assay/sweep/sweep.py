"""`-m`: a sweep that can be run again to finish, and always leaves a leaderboard.

Overrides -> jobs -> pool -> folders -> leaderboard. Nothing is written before all jobs are validated.
"""

import multiprocessing
import os
import shlex
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

from assay.config.load import load
from assay.config.schema import inside
from assay.errors import Interrupted, RunFailed, UserError
from assay.run.folder import RunFolder, record_failure
from assay.run.signals import stop_requests
from assay.sweep.clusters import engine_of
from assay.sweep.console import View, conclude, console_of_sweep, introduce, list_jobs, show
from assay.sweep.job import DIED, Entry, Job, SweepFolder, opened, plan, read, refuse_any
from assay.sweep.leaderboard import Leaderboard, entries_of, leaderboard
from assay.sweep.pool import Handle, Sweep, problems_of, process
from assay.sweep.report import files, page
from assay.sweep.worker import Task
from assay.training.atomic import WriteError, write_durably

LOOK_SECONDS = 0.3  # between two looks at the folders, if no process ends before
POLL_SECONDS = 0.02
TRIES = 2  # of a job whose process dies: what killed it may not have been its own fault


def sweep(overrides: Sequence[str]) -> None:
    """All of a sweep, from the overrides as typed.

    Raises `UserError` before anything is written, `RunFailed` if a job did not complete, `Interrupted`.
    """
    wanted = plan(overrides)
    jobs, config = wanted.jobs, wanted.config
    folder = SweepFolder(inside(Path(jobs[0].config.output_dir) / "sweeps", wanted.name, "sweep.name"))
    engine = engine_of(wanted, folder)
    _refuse_other_grid(folder, jobs)
    entries = folder.entries(jobs)
    leaves = config.retry == "none"  # failed jobs as they are
    is_new = folder.manifest is None
    is_done = all(one.status == "completed" or (leaves and one.failed) for one in entries.values())
    failure: RunFailed | Interrupted | None = None
    with stop_requests() as request:
        mine = Sweep(wanted, folder, engine, request, console_of_sweep())
        if config.dry_run or is_new or not is_done:
            with_files = not (engine.elsewhere or config.dry_run)
            refuse_any(problems_of(jobs, with_files), [job.overrides for job in jobs])
        if config.dry_run:
            return list_jobs(mine, list(entries.values()))
        if is_new or not is_done:
            failure = _run(mine, entries)
        else:
            derive(folder.path, config.metric, config.direction)
        board = leaderboard(entries_of([folder.path]), config.metric, config.direction)
        conclude(mine, board)
    if failure is not None:
        raise failure
    ids = {job.id for job in jobs}  # another command may have let the sweep grow
    bad = sum(one.id in ids and one.status != "completed" for one in board.entries)
    if bad:
        raise RunFailed(f"{bad} of {len(jobs)} jobs did not complete")


def _refuse_other_grid(folder: SweepFolder, jobs: Sequence[Job]) -> None:
    """A sweep may grow by new jobs; one that would lose some is another sweep. Raises `UserError`."""
    here, manifest = {job.id for job in jobs}, folder.manifest
    lost = [job for job in manifest.jobs if job.id not in here] if manifest else []
    if manifest and lost:
        raise UserError(
            f"sweep.name={folder.path.name} has another grid: {len(lost)} of its {len(manifest.jobs)} jobs "
            f"are not in this one, such as {' '.join(lost[0].overrides) or lost[0].id}\n"
            f"  it was made by: {manifest.command}\n"
            "  a sweep may grow; for another one choose another name"
        )


def _run(sweep: Sweep, entries: Mapping[str, Entry]) -> RunFailed | Interrupted | None:
    """Run what is left; what ended it before its end."""
    folder, by, program = sweep.folder, sweep.plan.config, Path(sys.argv[0]).name
    command = [*(["python", "train.py"] if program.endswith(".py") else [program]), *sys.argv[1:]]
    with folder.locked():
        _refuse_other_grid(folder, sweep.plan.jobs)  # another command may have begun one of this name
        folder.write_manifest(sweep.plan, shlex.join(command))
        _write(folder, leaderboard(entries_of([folder.path]), by.metric, by.direction))
    introduce(sweep, list(entries.values()))
    theirs, ours = multiprocessing.Pipe(duplex=False)
    what = folder.path.absolute(), by.metric, by.direction, theirs
    deriving = process(folder.path / "log.txt", keep_derived, *what)
    theirs.close()
    try:
        with View(sweep, entries) as view:
            Supervisor(sweep, entries, view.update).run()
    except (RunFailed, Interrupted) as error:
        return error
    finally:
        ours.close()
        deriving.join()
    return None


@dataclass
class Supervisor:
    """One command's part of a sweep."""

    sweep: Sweep
    entries: Mapping[str, Entry]  # as the folders were at the last look
    watch: Callable[[Mapping[str, Entry]], None]
    _handles: dict[str, tuple[Job, Handle]] = field(default_factory=dict[str, tuple[Job, Handle]])
    _tries: Counter[str] = field(default_factory=Counter[str])
    _told: set[str] = field(default_factory=set[str])
    _stopped: bool = False  # no further job begins

    def run(self) -> None:
        """Until nothing is left to do. Raises `Interrupted` if a signal ended it."""
        request, jobs = self.sweep.request, self.sweep.plan.jobs
        failed = {id for id, entry in self.entries.items() if entry.failed}
        request.ask = self._stop
        try:
            while self._start(failed) or self._handles or self._others():
                until = time.monotonic() + LOOK_SECONDS
                while not self._note_ended() and time.monotonic() < until:
                    time.sleep(POLL_SECONDS)
                self.entries = self.sweep.folder.entries(jobs, self.entries)
                self.watch(self.entries)
        finally:
            request.ask = None
            for _, handle in self._handles.values():
                handle.kill()
        if request.received is not None:
            raise Interrupted(request.received)

    def _start(self, failed: set[str]) -> bool:
        """Begin what there is room for; whether any job waits for its turn."""
        engine = self.sweep.engine
        waiting = [job for job in self.sweep.plan.jobs if not self._stopped and self._waits(job, failed)]
        free = (job for job in waiting if not RunFolder(self.entries[job.id].folder).is_locked())
        chosen = list(islice(free, max(0, engine.at_once - len(self._handles))))
        handles = engine.start([self._task(job, job.id in failed) for job in chosen])
        self._handles |= {job.id: (job, handle) for job, handle in zip(chosen, handles, strict=True)}
        for handle in handles:
            if self.sweep.request.received is not None:  # it came while they were started
                handle.stop(self.sweep.request.received)
        return bool(waiting)

    def _task(self, job: Job, again: bool) -> Task:
        path, env, engine = self.entries[job.id].folder.absolute(), self.sweep.plan.env, self.sweep.engine
        return Task(path, job, engine.threads, engine.gpus, again, env, tuple(sys.argv))

    def _waits(self, job: Job, failed: set[str]) -> bool:
        """Whether it is to begin or to go on; one that failed before this command is run once more."""
        entry, tries = self.entries[job.id], self._tries[job.id]
        if job.id in self._handles:
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
        if how and (entry.status == "pending" or (entry.error or "").startswith(DIED)):
            self._record_death(job, entry, how)
        if entry.failed and job.config.sweep.on_failure == "stop":
            self._stopped = True

    def _record_death(self, job: Job, entry: Entry, how: str) -> None:
        signum = self.sweep.request.received
        if signum is not None and not entry.folder.exists():
            return  # it had not begun
        error = f"{DIED}: {how}" if signum is None else f"stopped by {signal.Signals(signum).name}"
        try:
            entry.folder.mkdir(parents=True, exist_ok=True)
            record_failure(opened(entry.folder), job.config, job.overrides, "interrupted", error)
        except WriteError as unwritten:
            self.sweep.say(f"{job.name}: {error}; {unwritten}")

    def _stop(self, signum: int) -> None:
        self._stopped = True
        for _, handle in self._handles.values():
            handle.stop(signum)


def keep_derived(path: Path, metric: str, direction: str, sweep: Connection) -> None:
    """Make again what follows from the folders until the sweep's end, or death, closes the pipe.

    At most once a second, in no more than a fifth of the time, where a job's folder has changed.
    """
    pause, before = 1.0, list[int]()
    while not sweep.poll(pause):
        now = [folder.stat().st_mtime_ns for folder in sorted(path.glob("jobs/*"))]
        if now != before:
            began, before = time.monotonic(), now
            try:
                derive(path, metric, direction)
            except OSError:  # a disk that is full may have room again
                traceback.print_exc()
            pause = max(1.0, 4 * (time.monotonic() - began))
    derive(path, metric, direction)


def derive(path: Path, metric: str, direction: str) -> None:
    """Make leaderboard, TensorBoard's view and report again from the folders; what is as it was stays."""
    folder = SweepFolder(path)
    if not os.access(path, os.W_OK):  # another user's, or on a medium that is read only
        return
    with folder.locked():
        board, manifest = leaderboard(entries_of([path]), metric, direction), folder.manifest
        if all(_text(path / name) == text for name, text in files(board).items()):
            return
        from assay.sweep.views import write_views  # torch, only where there is news

        write_views(board, path)
        html = page(board, path.name, manifest.command if manifest else "")
        write_durably(path / "report.html", html.encode())
        _write(folder, board)  # last: what is interrupted before is made again


def _write(folder: SweepFolder, board: Leaderboard) -> None:
    for name, text in files(board).items():
        write_durably(folder.path / name, text.encode())


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def print_leaderboard(folders: Sequence[str], overrides: Sequence[str]) -> None:
    """`leaderboard=<folders>`: the table of one or several sweeps; nothing is written. Raises `UserError`.

    Sorted as the first sweep was, unless the overrides say otherwise.
    """
    entries, manifest = entries_of(list(map(Path, folders))), SweepFolder(Path(folders[0])).manifest
    by = [f"sweep.metric={manifest.metric}", f"sweep.direction={manifest.direction}"] if manifest else []
    config = load("train", [*by, *overrides]).config.sweep
    show(leaderboard(entries, config.metric, config.direction), console_of_sweep())
