"""What a person sees of a sweep: the dry run, a live block, a line for each job's end, the leaderboard."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from assay.report import Table, grid
from assay.run.folder import git_state
from assay.sweep.grid import label, swept_keys
from assay.sweep.job import Entry, Job, SweepFolder
from assay.sweep.leaderboard import Leaderboard, direction_of
from assay.sweep.pool import Engine
from assay.sweep.report import as_text, code_of, groups_table, jobs_table

WIDTH = 160  # of what is not a terminal
MOST_LINES = 12  # of the live block: the running jobs, then the latest to end
MOST_ROWS = 60  # of the leaderboard; the files have them all


def console_of_sweep() -> Console:
    """A terminal's own width; in a file, wide enough for a table."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, soft_wrap=False)


def say(console: Console, text: str, style: str | None = None) -> None:
    console.print(text, style=style, markup=False, soft_wrap=True)


def list_jobs(entries: Sequence[Entry], sweep: SweepFolder, console: Console) -> None:
    """The dry run: ids, changed keys, state."""
    keys = swept_keys([one.overrides for one in entries])
    rows = [(str(at), one.id, *map(one.value, keys), one.status) for at, one in enumerate(entries, start=1)]
    console.print(grid(Table("", ("", "id", *keys, "state"), tuple(rows))))
    where = str(sweep.path) if sweep.path.exists() else f"a new folder, {sweep.path}"
    say(console, f"{'1 job' if len(entries) == 1 else f'{len(entries)} jobs'} in {where}; nothing was run")


class View:
    """Told what the folders of all jobs say, again and again."""

    def __init__(
        self, console: Console, jobs: Sequence[Job], entries: Mapping[str, Entry], workers: int
    ) -> None:
        self.console, self.workers = console, workers
        self.sweep, self.metric = jobs[0].config.sweep, jobs[0].config.sweep.metric
        self.keys = swept_keys([job.overrides for job in jobs])
        self.before = entries  # what was there is no news
        self.live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def update(self, entries: Mapping[str, Entry]) -> None:
        """Say which jobs have ended since, and show the others."""
        for at, entry in enumerate(entries.values(), start=1):
            if entry.status not in ("running", "pending", self.before[entry.id].status):
                say(self.console, f"{at}/{len(entries)}  {self._line(entry)}".rstrip())
        self.before = entries
        if self.live is not None:
            block = Group(
                grid(self._table(list(entries.values()))), Text(self.summary(list(entries.values())))
            )
            self.live.update(block, refresh=True)

    def __enter__(self) -> None:
        if self.live is not None:
            self.live.start()

    def __exit__(self, *raised: object) -> None:
        if self.live is not None:
            self.live.stop()

    def _measured(self, entry: Entry) -> str:
        return as_text(self.metric, entry.result.get("metrics", {}).get(self.metric))

    def _line(self, entry: Entry) -> str:
        said = (
            f"{self.metric} {self._measured(entry)}  {entry.seconds:.1f} s" if entry.seconds else entry.reason
        )
        return f"{entry.id}  {label(entry.overrides, self.keys)}  {entry.status}  {said}"

    def _table(self, entries: Sequence[Entry]) -> Table:
        begun = [one for one in entries if one.status != "pending"][::-1]
        shown = sorted(begun, key=lambda one: one.status != "running")[:MOST_LINES]
        rows = [(*map(one.value, self.keys), self._measured(one), one.status) for one in shown]
        return Table("", (*self.keys, self.metric, "status"), tuple(rows))

    def summary(self, entries: Sequence[Entry]) -> str:
        """Done, running, failed, the best so far, the time left."""
        every = [one.status for one in entries]
        said = [f"{every.count('completed')} of {len(every)} done"]
        for status in ("running", "failed", "diverged", "interrupted"):
            said += [f"{every.count(status)} {status}"] if status in every else []
        values = [value for one in entries if (value := one.metric(self.metric)) is not None]
        if values:
            best = max if direction_of(self.metric, self.sweep.direction) == "max" else min
            said.append(f"best so far {as_text(self.metric, best(values))}")
        took = [one.seconds for one in entries if one.seconds is not None]
        waiting = sum(every.count(status) for status in ("pending", "running", "interrupted"))
        if took and waiting:
            said.append(f"about {sum(took) / len(took) * waiting / self.workers:.0f} s left")
        return ", ".join(said)


def show(board: Leaderboard, console: Console) -> None:
    """Groups where some have several seeds, then jobs; the best in bold, failures last."""
    if any(len(group.entries) > 1 for group in board.groups):
        console.print(grid(groups_table(board), no_wrap=True))
        compared = sum(group.comparison is not None for group in board.groups)
        if compared > 1:
            say(console, f"p values are corrected for {compared} comparisons (Holm)")
    jobs = jobs_table(board).without("reason")
    jobs, last = (
        replace(jobs, rows=jobs.rows[:MOST_ROWS], styles=jobs.styles[:MOST_ROWS]),
        f"last {board.metric}",
    )
    for dropped in ((), (last,), (last, "epochs", "seconds")):  # where the terminal is narrow
        table = grid(jobs.without(*dropped), no_wrap=True)
        if console.measure(table, options=console.options.update(width=1000)).maximum <= console.width:
            break
    console.print(table)
    if len(board.entries) > MOST_ROWS:
        say(console, f"... and {len(board.entries) - MOST_ROWS} more, in leaderboard.csv")


def introduce(
    sweep: SweepFolder, entries: Sequence[Entry], engine: Engine, leaves: bool, console: Console
) -> None:
    """Where it is, how much is done, how the rest is run; `leaves` is whether failed jobs are left so."""
    done = [one for one in entries if one.status == "completed"]
    failed = sum(one.failed for one in entries)
    said = f"jobs    {len(entries)}" + (f", {len(done)} of them done" if done else "")
    if failed and leaves:
        said += f", {failed} failed and left so (sweep.retry=none)"
    say(console, f"sweep   {sweep.path}")
    at_once = "one at a time" if engine.at_once == 1 else f"{engine.at_once} at once"
    say(console, f"{said}; {at_once}, {engine.name}")
    now, made_by = git_state(), [one.result.get("git") for one in done]
    other = [code_of(git) for git in made_by if git is not None and now is not None and git != now]
    if other:
        then = (
            f"{len(other)} of the jobs that are done were made by other code: {', '.join(sorted({*other}))}"
        )
        say(console, f"note    {then}; now it is {code_of(now or {})}")


def conclude(sweep: SweepFolder, board: Leaderboard, console: Console) -> None:
    """The leaderboard, all failures, where everything is, and what finishes the sweep."""
    show(board, console)
    if board.failures:
        say(console, f"{len(board.failures)} did not complete", "red")
    for one in board.failures:
        said = f"  {one.id}  {label(one.overrides, board.keys)}  {one.status}: {one.reason}"
        say(console, f"{said}\n    {one.folder}/log.txt")
    say(console, f"files   {sweep.path}/leaderboard.csv, .md, .json, report.html")
    say(console, f"curves  tensorboard --logdir {shlex.quote(str(sweep.path))}")
    if any(one.status != "completed" for one in board.entries) and sweep.manifest:
        say(console, f"finish  {sweep.manifest.command}")
