"""`-m`: a sweep that can be run again to finish, and always leaves a leaderboard.

Overrides -> jobs -> pool -> folders -> leaderboard. Nothing is written before all jobs are validated.
"""

import multiprocessing
import os
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path

from assay.config.load import load
from assay.config.saved import Find
from assay.config.schema import inside
from assay.errors import Interrupted, RunFailed, UserError
from assay.report import Figure
from assay.run.signals import stop_requests
from assay.sweep.clusters import engine_of
from assay.sweep.console import View, conclude, introduce, list_jobs, show
from assay.sweep.job import Direction, Entry, Job, SweepFolder, command_typed
from assay.sweep.leaderboard import Leaderboard, entries_of, leaderboard
from assay.sweep.plan import Plan, plan, ranking, refuse_any
from assay.sweep.pool import Grid, Source, Sweep, process, start_here, start_server, validated
from assay.sweep.report import files, page
from assay.sweep.supervisor import Supervisor
from assay.terminal import screen, waiting
from assay.training.atomic import write_durably


def sweep(overrides: Sequence[str], find: Find) -> None:
    """All of a sweep, from the overrides as typed; `find` knows the run that a `ckpt` means.

    Raises `UserError` before anything is written, `RunFailed` if a job did not complete, `Interrupted`.
    """
    with waiting("composing the jobs"):
        wanted = plan(overrides, find)
    config, output_dir = wanted.config, Path(wanted.jobs[0].config.output_dir)
    folder = SweepFolder(inside(output_dir / "sweeps", wanted.name, "sweep.name"))
    engine, source = engine_of(wanted, folder), _source(wanted, folder)
    _refuse_other(folder, wanted, source.jobs)
    entries = folder.entries(source.jobs)
    manifest = folder.manifest
    is_new = manifest is None
    is_done = source.is_over and all(
        one.is_over or (wanted.leaves_failed and one.failed) for one in entries.values()
    )
    failure: RunFailed | Interrupted | None = None
    with stop_requests() as request:
        directions = manifest.by.directions if manifest else {}
        if config.dry_run or is_new or not is_done:
            with waiting("checking the jobs: torch and Lightning take some seconds", spinning=False):
                if engine.start is start_here and not config.dry_run:
                    start_server(wanted.jobs[0].config)
                problems, directions = validated(wanted.jobs, not (engine.elsewhere or config.dry_run))
            searched = wanted.space.axes if wanted.space else None
            refuse_any(problems, [job.overrides for job in wanted.jobs], searched)
        by = ranking(wanted.jobs[0].config, directions, manifest.by if manifest else None)
        mine = Sweep(wanted, source, folder, engine, request, screen(), by)
        if config.dry_run:
            return list_jobs(mine, list(entries.values()))
        if is_new or not is_done:
            failure = _run(mine)
        else:
            derive(folder.path, by.metric, by.direction)
        board = leaderboard(entries_of([folder.path]), by.metric, by.direction)
        conclude(mine, board)
    if failure is not None:
        raise failure
    ids = {job.id for job in source.jobs}  # another command may have let the sweep grow
    bad = sum(one.id in ids and not one.is_over for one in board.entries)
    if bad:
        raise RunFailed(f"{bad} of {len(ids)} jobs did not complete")


def _source(plan: Plan, folder: SweepFolder) -> Source:
    if plan.space is None:
        return Grid(plan.jobs)
    from assay.sweep.search import Search  # Optuna: of an extra, and half a second

    return Search(plan, folder)


def _refuse_other(folder: SweepFolder, plan: Plan, jobs: Sequence[Job]) -> None:
    """A sweep may grow by new jobs; one that would lose some is another sweep. Raises `UserError`."""
    here, manifest = {job.id for job in jobs}, folder.manifest
    lost = [job for job in manifest.jobs if job.id not in here] if manifest else []
    if manifest and lost:
        kind = "grid" if plan.space is None else "search"
        raise UserError(
            f"sweep.name={folder.path.name} has another {kind}: {len(lost)} of its {len(manifest.jobs)} jobs "
            f"are not in this one, such as {' '.join(lost[0].overrides) or lost[0].id}\n"
            f"  it was made by: {manifest.command}\n"
            "  a sweep may grow; for another one choose another name"
        )


def _run(sweep: Sweep) -> RunFailed | Interrupted | None:
    """Run what is left; what ended it before its end."""
    folder, source, by = sweep.folder, sweep.source, sweep.by
    with ExitStack() as stack:
        with folder.locked():
            stack.enter_context(source.begun(by))
            _refuse_other(folder, sweep.plan, source.jobs)  # another command may have begun one of this name
            folder.write_manifest(by, source.jobs, command_typed())
            if source.jobs:  # of a search there are none yet
                _write(folder, leaderboard(entries_of([folder.path]), by.metric, by.direction))
        entries = folder.entries(source.jobs)
        introduce(sweep, list(entries.values()))
        return _supervise(sweep, entries)


def _supervise(sweep: Sweep, entries: Mapping[str, Entry]) -> RunFailed | Interrupted | None:
    folder, by = sweep.folder, sweep.by
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


def keep_derived(path: Path, metric: str, direction: Direction, sweep: Connection) -> None:
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


def derive(path: Path, metric: str, direction: Direction) -> None:
    """Make leaderboard, TensorBoard's view and report again from the folders; what is as it was stays."""
    folder = SweepFolder(path)
    if not os.access(path, os.W_OK):  # another user's, or on a medium that is read only
        return
    with folder.locked():
        board, manifest = leaderboard(entries_of([path]), metric, direction), folder.manifest
        if not board.entries or all(_text(path / name) == text for name, text in files(board).items()):
            return
        from assay.sweep.views import write_views  # torch, only where there is news

        write_views(board, path)
        search: Mapping[str, Sequence[Figure]] = {}
        if (path / "study.log").exists():
            from assay.sweep.study import figures_of  # Optuna, which who has begun a search has

            search = figures_of(path, metric)
        html = page(board, path.name, manifest.command if manifest else "", search)
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
    assert manifest is not None  # or `entries_of` had refused it
    by = ranking(load("train", overrides).config, manifest.by.directions, manifest.by)
    show(leaderboard(entries, by.metric, by.direction), screen())
