"""`-m`: a sweep that can be run again to finish, and always leaves a leaderboard.

Overrides -> jobs -> pool -> folders -> leaderboard. Nothing is written before all jobs are validated.
"""

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.console import Console

from assay.config.load import load
from assay.config.messages import Problem
from assay.config.schema import SweepConfig
from assay.errors import Interrupted, RunFailed, UserError
from assay.run.provenance import git_state
from assay.run.signals import STOP, StopRequest, stop_requests
from assay.sweep.clusters import engine_of
from assay.sweep.console import View, conclude, console_of_sweep, list_jobs, say, say_code_changed, show
from assay.sweep.job import Job, JobState, Plan, SweepFolder, plan, refuse_any
from assay.sweep.leaderboard import Leaderboard, entries_of, leaderboard
from assay.sweep.pool import Engine, problems_of, process
from assay.sweep.report import files, render
from assay.sweep.supervisor import Supervisor
from assay.sweep.worker import Task
from assay.training.atomic import write_durably

COMPONENTS = ("data", "model", "optimizer", "scheduler", "logger", "callbacks")


def sweep(overrides: Sequence[str]) -> None:
    """All of a sweep, from the overrides as typed.

    Raises `UserError` before anything is written, `RunFailed` if a job did not complete, `Interrupted`.
    """
    wanted = plan(overrides)
    jobs, config, console = wanted.jobs, wanted.jobs[0].config.sweep, console_of_sweep()
    folder = SweepFolder.named(jobs[0].config.output_dir, wanted.name)
    engine = engine_of(wanted.launcher, jobs, folder)
    _refuse_other_grid(folder, jobs)
    states = folder.states(jobs)
    failure: RunFailed | Interrupted | None = None
    with stop_requests() as request:
        is_done = folder.manifest and all(_is_settled(state, config) for state in states.values())
        if config.dry_run or not is_done:
            refuse_any(_problems(jobs, engine), [job.overrides for job in jobs])
            if config.dry_run:
                return list_jobs(jobs, states, folder, console)
            failure = _run(wanted, folder, engine, request, states, console)
        else:
            derive(folder.path, config.metric, config.direction)
        conclude(folder, board := _board(folder, config), console)
    if failure is not None:
        raise failure
    _refuse_incomplete(board, jobs)


def _refuse_other_grid(folder: SweepFolder, jobs: Sequence[Job]) -> None:
    """A sweep may grow by new jobs; one that would lose some is another sweep. Raises `UserError`."""
    here, manifest = {job.id for job in jobs}, folder.manifest
    lost = [job for job in manifest.get("jobs", []) if job["id"] not in here]
    if lost:
        raise UserError(
            f"sweep.name={folder.path.name} has another grid: {len(lost)} of its "
            f"{len(manifest['jobs'])} jobs are not in this one, "
            f"such as {' '.join(lost[0]['overrides']) or lost[0]['id']}\n"
            f"  it was made by: {manifest['command']}\n"
            "  a sweep may grow; for another one choose another name"
        )


def _is_settled(state: JobState, config: SweepConfig) -> bool:
    """Whether there is nothing to do for the job."""
    return state.status == "completed" or (config.retry == "none" and state.ended)


def _problems(jobs: Sequence[Job], engine: Engine) -> list[list[Problem]]:
    """Of each job what is wrong with its components; those that are alike are looked at once."""
    keys = [json.dumps([getattr(job.config, name) for name in COMPONENTS]) for job in jobs]
    distinct = {key: job.config for key, job in zip(keys, jobs, strict=True)}
    with_files = not (engine.elsewhere or jobs[0].config.sweep.dry_run)
    problems = dict(zip(distinct, problems_of(list(distinct.values()), with_files), strict=True))
    return [problems[key] for key in keys]


def _run(
    wanted: Plan,
    folder: SweepFolder,
    engine: Engine,
    request: StopRequest,
    states: Mapping[str, JobState],
    console: Console,
) -> RunFailed | Interrupted | None:
    """Run what is left; what ended it before its end."""
    jobs, config = wanted.jobs, wanted.jobs[0].config.sweep
    folder.make()
    with folder.locked():
        _refuse_other_grid(folder, jobs)  # another command may have begun one of this name
        folder.write_manifest(jobs, _command())
        _write_files(folder, _board(folder, config))
    _introduce(folder, states, engine, config, console)
    view = View(console, jobs, states, engine.at_once)
    derivation = Derivation(folder, config)

    def task_of(job: Job, again: bool) -> Task:
        lean = replace(job.config, sweep=replace(job.config.sweep, params={}))
        path = folder.job(job).absolute()
        return Task(
            path, lean, job.overrides, engine.threads, engine.gpus, again, wanted.env, tuple(sys.argv)
        )

    def watch(states: Mapping[str, JobState]) -> None:
        derivation.update(view.update(states))

    try:
        with view:
            tell = partial(say, console)
            Supervisor(folder, jobs, engine, request, task_of, watch, tell).run(states)
    except (RunFailed, Interrupted) as error:
        return error
    finally:
        derivation.finish()
    return None


def _introduce(
    folder: SweepFolder, states: Mapping[str, JobState], engine: Engine, config: SweepConfig, console: Console
) -> None:
    every = list(states.values())
    done = sum(state.status == "completed" for state in every)
    failed = sum(state.ended for state in every) - done
    said = f"jobs    {len(every)}" + (f", {done} of them done" if done else "")
    if failed and config.retry == "none":
        said += f", {failed} failed and left so (sweep.retry=none)"
    say(console, f"sweep   {folder.path}")
    at_once = "one at a time" if engine.at_once == 1 else f"{engine.at_once} at once"
    say(console, f"{said}; {at_once}, {engine.name}")
    say_code_changed(every, git_state(), console)


def _refuse_incomplete(board: Leaderboard, jobs: Sequence[Job]) -> None:
    """Raises `RunFailed` if any of these jobs is not done; another command may have let the sweep grow."""
    mine = {job.id for job in jobs}
    bad = sum(row.entry.id in mine and row.entry.status != "completed" for row in board.rows)
    if bad:
        raise RunFailed(f"{bad} of {len(jobs)} jobs did not complete")


def _command() -> str:
    """What was typed: typed again it finishes the sweep."""
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python", "train.py"] if program.endswith(".py") else [program]), *sys.argv[1:]])


@dataclass
class Derivation:
    """Makes again what follows from the folders, as jobs end, in a process of the pool.

    At most once a second, and in no more than a fifth of the time.
    """

    folder: SweepFolder
    config: SweepConfig
    _process: BaseProcess | None = None
    _news: bool = False
    _began: float = 0.0
    _next: float = 0.0

    def update(self, news: bool) -> None:
        self._news |= news
        now = time.monotonic()
        if self._process is not None and not self._process.is_alive():
            self._process = None
            self._next = self._began + max(1.0, 5 * (now - self._began))
        if self._news and self._process is None and now >= self._next:
            self._news, self._began, self._process = False, now, self._start()

    def finish(self) -> None:
        for started in (self._process, self._start()):
            if started is not None:
                started.join()

    def _start(self) -> BaseProcess:
        log = self.folder.path / "log.txt"
        arguments = (self.folder.path.absolute(), self.config.metric, self.config.direction)
        return process(log, derive_in_process, *arguments)


def derive_in_process(path: Path, metric: str, direction: str) -> None:
    for signum in STOP:  # those of the sweep, which waits for this process, are no reason to stop
        signal.signal(signum, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    derive(path, metric, direction)


def derive(path: Path, metric: str, direction: str) -> None:
    """Make leaderboard, TensorBoard's view and report again from the folders; what is as it was stays."""
    folder = SweepFolder(path)
    if not os.access(path, os.W_OK):  # another user's, or on a medium that is read only
        return
    with folder.locked():
        board = leaderboard(entries_of([path]), metric, direction)
        if all(_text(path / name) == text for name, text in files(board).items()):
            return
        # matplotlib and TensorBoard, only where there is news
        from assay.sweep.views import write_views

        write_views(board, path)
        page = render(board, path.name, folder.manifest["command"])
        write_durably(path / "report.html", page.encode())
        _write_files(folder, board)  # last: what is interrupted before them is made again


def _board(folder: SweepFolder, config: SweepConfig) -> Leaderboard:
    return leaderboard(entries_of([folder.path]), config.metric, config.direction)


def _write_files(folder: SweepFolder, board: Leaderboard) -> None:
    for name, text in files(board).items():
        write_durably(folder.path / name, text.encode())


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


def print_leaderboard(folders: Sequence[str], overrides: Sequence[str]) -> None:
    """`leaderboard=<folders>`: the table of one or several sweeps; nothing is written. Raises `UserError`.

    Sorted as the first sweep was, unless the overrides say otherwise.
    """
    paths = [Path(folder) for folder in folders]
    by = SweepFolder(paths[0]).manifest.get("sorted", {})
    config = load("train", [*(f"sweep.{key}={value}" for key, value in by.items()), *overrides]).config.sweep
    show(leaderboard(entries_of(paths), config.metric, config.direction), console_of_sweep())
