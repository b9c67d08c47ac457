"""What a person sees of a sweep: the dry run, a live block, a line for each job's end, the leaderboard."""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from assay.sweep.grid import swept, swept_keys
from assay.sweep.job import Job, JobState, SweepFolder
from assay.sweep.leaderboard import Entry, Leaderboard, direction_of
from assay.sweep.report import code_of, group_cells, number, row_cells

WIDTH = 160  # of what is not a terminal
MOST_LINES = 12  # of the live block: the running jobs, then the latest to end
MOST_ROWS = 60  # of the leaderboard; the files have them all


def console_of_sweep() -> Console:
    """A terminal's own width; in a file, wide enough for a table."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, soft_wrap=False)


def say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, soft_wrap=True)


def grid_of(title: str | None, rows: Sequence[Mapping[str, str]], styles: Sequence[str | None] = ()) -> Table:
    """Rows of the same columns, numbers to the right; no heading is broken inside a word."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(rows[0] if rows else (), start=1):
        right = "/" in name or name in ("n", "sd", "epochs", "seconds")
        table.add_column(
            escape(name), justify="right" if right else "left", no_wrap=name != "" or at < len(rows[0])
        )
    for at, row in enumerate(rows):
        table.add_row(*map(escape, row.values()), style=styles[at] if styles else None)
    return table


def without(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> list[dict[str, str]]:
    return [{name: cell for name, cell in row.items() if not name.startswith(tuple(columns))} for row in rows]


def list_jobs(
    jobs: Sequence[Job], states: Mapping[str, JobState], sweep: SweepFolder, console: Console
) -> None:
    """The dry run: ids, changed keys, state."""
    keys = swept_keys([job.overrides for job in jobs])
    rows = [
        {
            "": str(at),
            "id": job.id,
            **{key: swept(job.overrides, keys).get(key, "") for key in keys},
            "state": states[job.id].status,
        }
        for at, job in enumerate(jobs, start=1)
    ]
    console.print(grid_of(None, rows))
    where = str(sweep.path) if sweep.path.exists() else f"a new folder, {sweep.path}"
    say(console, f"{'1 job' if len(jobs) == 1 else f'{len(jobs)} jobs'} in {where}; nothing was run")


class View:
    """Told the states of all jobs again and again."""

    def __init__(
        self, console: Console, jobs: Sequence[Job], states: Mapping[str, JobState], workers: int
    ) -> None:
        self.console, self.jobs, self.workers = console, jobs, workers
        self.sweep = jobs[0].config.sweep
        self.keys = swept_keys([job.overrides for job in jobs])
        self.before = {id: state.status for id, state in states.items()}  # what was there is no news
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def update(self, states: Mapping[str, JobState]) -> bool:
        """Show them; whether any job has ended since."""
        news = [
            (at, job)
            for at, job in enumerate(self.jobs, start=1)
            if states[job.id].status not in ("running", "pending", self.before[job.id])
        ]
        for at, job in news:
            say(self.console, self._line(at, job, states[job.id]))
        self.before = {id: state.status for id, state in states.items()}
        if self.live is not None:
            self.live.update(self._block(states), refresh=True)
        return bool(news)

    def __enter__(self) -> None:
        if self.live is not None:
            self.live.start()

    def __exit__(self, *raised: object) -> None:
        if self.live is not None:
            self.live.stop()

    def _line(self, at: int, job: Job, state: JobState) -> str:
        own = " ".join(f"{key}={value}" for key, value in swept(job.overrides, self.keys).items())
        seconds = state.result.get("seconds", {}).get("total")
        value = number(state.result.get("metrics", {}).get(self.sweep.metric), self.sweep.metric)
        said = f"{self.sweep.metric} {value}" + (f"  {seconds:.1f} s" if seconds else "")
        if state.status != "completed":
            said = (state.error or "").partition("\n")[0]
        return f"{at}/{len(self.jobs)}  {job.id}  {own}  {state.status}  {said}".rstrip()

    def _block(self, states: Mapping[str, JobState]) -> Group:
        begun = [job for job in self.jobs if states[job.id].status != "pending"]
        ended = [job for job in begun if states[job.id].status != "running"]
        shown = [job for job in begun if states[job.id].status == "running"] + ended[::-1]
        rows = [
            {
                **{key: swept(job.overrides, self.keys).get(key, "") for key in self.keys},
                self.sweep.metric: number(
                    states[job.id].result.get("metrics", {}).get(self.sweep.metric), self.sweep.metric
                ),
                "status": states[job.id].status,
            }
            for job in shown[:MOST_LINES]
        ]
        return Group(grid_of(None, rows), Text(self.summary(states)))

    def summary(self, states: Mapping[str, JobState]) -> str:
        """Done, running, failed, the best so far, the time left."""
        every = [state.status for state in states.values()]
        said = [f"{every.count('completed')} of {len(self.jobs)} done"]
        for status in ("running", "failed", "diverged", "interrupted"):
            said += [f"{every.count(status)} {status}"] if status in every else []
        done = [state.result for state in states.values() if state.status == "completed"]
        values = [
            result["metrics"][self.sweep.metric] for result in done if self.sweep.metric in result["metrics"]
        ]
        if values:
            best = max if direction_of(self.sweep.metric, self.sweep.direction) == "max" else min
            said.append(f"best so far {number(best(values), self.sweep.metric)}")
        waiting = sum(every.count(status) for status in ("pending", "running", "interrupted"))
        if done and waiting:
            each = sum(result["seconds"]["total"] for result in done) / len(done)
            said.append(f"about {each * waiting / self.workers:.0f} s left")
        return ", ".join(said)


def show(board: Leaderboard, console: Console) -> None:
    """Groups where some have several seeds, then jobs; the best in bold, failures last."""
    if any(len(group.entries) > 1 for group in board.groups):
        styles = ["bold" if group.note == "best" else None for group in board.groups]
        groups = [group_cells(board, group) for group in board.groups]
        console.print(grid_of("By config, over seeds (mean ± 95 % interval)", groups, styles))
        compared = sum(group.comparison is not None for group in board.groups)
        if compared > 1:
            say(console, f"p values are corrected for {compared} comparisons (Holm)")
    entries = board.rows[:MOST_ROWS]
    failed = ("failed", "diverged")
    styles = ["bold" if row.rank == 1 else "red" if row.entry.status in failed else None for row in entries]
    rows = [row_cells(board, row) | {"status": row.entry.status} for row in entries]
    for dropped in ([], ["last "], ["last ", "epochs", "seconds"]):  # where the terminal is narrow
        table = grid_of("Jobs", without(rows, dropped) if dropped else rows, styles)
        if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
            break
    console.print(table)
    if len(board.rows) > MOST_ROWS:
        say(console, f"... and {len(board.rows) - MOST_ROWS} more, in leaderboard.csv")


def say_code_changed(states: Iterable[JobState], now: Mapping[str, Any] | None, console: Console) -> None:
    """Jobs that are kept were made by other code than the ones to come."""
    made_by = [state.result.get("git") for state in states if state.status == "completed"]
    other = [git for git in made_by if git is not None and now is not None and git != now]
    if other:
        then = ", ".join(sorted({code_of(git) for git in other}))
        said = f"note    {len(other)} of the jobs that are done were made by other code: {then}"
        say(console, f"{said}; now it is {code_of(now or {})}")


def conclude(sweep: SweepFolder, board: Leaderboard, console: Console) -> None:
    """The leaderboard, all failures, where everything is, and what finishes the sweep."""
    show(board, console)
    if board.failures:
        say(console, f"{len(board.failures)} did not complete", "red")
    for entry in board.failures:
        say(console, _failure(board, entry))
    say(console, f"files   {sweep.path}/leaderboard.csv, .md, .json, report.html")
    say(console, f"curves  tensorboard --logdir {shlex.quote(str(sweep.path))}")
    if any(row.entry.status != "completed" for row in board.rows):
        say(console, f"finish  {sweep.manifest['command']}")


def _failure(board: Leaderboard, entry: Entry) -> str:
    own = " ".join(f"{key}={entry.value(key)}" for key in board.keys)
    reason = (entry.reason or "").partition("\n")[0]
    return f"  {entry.id}  {own}  {entry.status}: {reason}\n    {entry.folder}/log.txt"
