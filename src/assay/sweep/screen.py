"""What a sweep says before and after its jobs."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assay.sweep.folder import Job, JobState, SweepFolder
from assay.sweep.jobs import key_of, swept_keys, value_of
from assay.sweep.leaderboard import Entry, Leaderboard
from assay.sweep.supervise import Outcome
from assay.sweep.table import key_value, show

WIDTH = 160  # of what is not a terminal


def console_of_sweep() -> Console:
    """A terminal's own width; in a file, wide enough for a table."""
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def list_jobs(
    jobs: Sequence[Job], states: Mapping[str, JobState], sweep: SweepFolder | None, console: Console
) -> None:
    """The dry run: ids, changed keys, state."""
    keys = swept_keys([job.words for job in jobs])
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "id", *keys, "state"):
        grid.add_column(escape(name))
    for at, job in enumerate(jobs, start=1):
        typed = {key_of(word): value_of(word) for word in job.words}
        grid.add_row(str(at), job.id, *(escape(typed.get(key, "")) for key in keys), states[job.id].status)
    console.print(grid)
    where = str(sweep.path) if sweep else "a new folder"
    counted = "1 job" if len(jobs) == 1 else f"{len(jobs)} jobs"
    console.print(f"{counted} in {where}; nothing was run", highlight=False, soft_wrap=True)


def say_code_changed(states: Iterable[JobState], now: Mapping[str, Any] | None, console: Console) -> None:
    """Jobs that are kept were made by other code than the ones to come."""
    before = [state.result.get("git") for state in states if state.status == "completed"]
    other = [git for git in before if git is not None and now is not None and dict(git) != dict(now)]
    if other:
        then = ", ".join(sorted({_code(git) for git in other}))
        console.print(
            f"note    {len(other)} of the jobs that are done were made by other code: {then}; now it is "
            f"{_code(now or {})}",
            highlight=False,
            soft_wrap=True,
        )


def _code(git: Mapping[str, Any]) -> str:
    changed = f" with changes {git.get('diff') or ''}".rstrip() if git.get("dirty") else ""
    return f"{str(git['sha'])[:8]}{changed}"


def conclude(sweep: SweepFolder, board: Leaderboard, outcome: Outcome, console: Console) -> None:
    """The leaderboard, all failures, where everything is, and what finishes the sweep."""
    show(board, console)
    if board.failures:
        console.print(f"[red]{len(board.failures)} did not complete[/red]", highlight=False)
    for entry in board.failures:
        console.print(f"  {escape(_failure(board, entry))}", highlight=False, soft_wrap=True)
    if outcome.launcher_error is not None:
        console.print(
            f"the launcher failed: {escape(outcome.launcher_error)}", highlight=False, soft_wrap=True
        )
    said = {
        "files": f"{sweep.path}/leaderboard.csv, .md, .json, report.html",
        "curves": f"tensorboard --logdir {shlex.quote(str(sweep.path))}",
    }
    if any(row.entry.status != "completed" for row in board.rows):
        said["finish"] = sweep.manifest["command"]
    for what, text in said.items():
        console.print(f"{what:<8}{text}", highlight=False, markup=False, soft_wrap=True)


def _failure(board: Leaderboard, entry: Entry) -> str:
    changed = " ".join(f"{key}={key_value(entry, key)}" for key in board.keys)
    reason = (entry.reason or "").partition("\n")[0]
    return f"{entry.id}  {changed}  {entry.status}: {reason}\n    {entry.folder}/log.txt"
