"""What a person sees of a sweep: the dry run, a live block, a line for each job's end, the leaderboard."""

import shlex
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from assay.report import Table, as_text
from assay.run.provenance import git_state
from assay.sweep.grid import label
from assay.sweep.job import Entry
from assay.sweep.leaderboard import Leaderboard
from assay.sweep.pool import Sweep
from assay.sweep.report import code_of, groups_table, jobs_table
from assay.terminal import grid, on_a_line

MOST_LINES = 12  # of the live block: the running jobs, then the latest to end
MOST_ROWS = 60  # of the leaderboard; the files have them all


def list_jobs(sweep: Sweep, entries: Sequence[Entry]) -> None:
    """The dry run: ids, changed keys, state."""
    keys, path = sweep.plan.keys, sweep.folder.path
    rows = [(str(at), one.id, *map(one.value, keys), one.status) for at, one in enumerate(entries, start=1)]
    if rows:
        table = Table("", ("", "id", *keys, "state"), tuple(rows))
        sweep.console.print(grid(table, sweep.console.width))
    where = str(path) if path.exists() else f"a new folder, {path}"
    said = "1 job" if len(entries) == 1 else f"{len(entries)} jobs"
    if sweep.plan.space is not None:
        said = f"a search of {sweep.plan.count} jobs, {len(entries)} of them drawn"
    for note in sweep.source.notes:
        sweep.say(note)
    sweep.say(f"{said} in {where}; nothing was run")


class View:
    """Told what the folders of all jobs say, again and again."""

    def __init__(self, sweep: Sweep, entries: Mapping[str, Entry]) -> None:
        self.sweep, self.metric = sweep, sweep.by.metric
        self.keys = sweep.plan.keys
        self.before = entries  # what was there is no news
        self.live = Live(console=sweep.console, auto_refresh=False, transient=True)

    def update(self, entries: Mapping[str, Entry]) -> None:
        """Say which jobs have ended since; on a terminal, show the others beneath."""
        every = list(entries.values())
        for at, entry in enumerate(every, start=1):
            before = self.before[entry.id].status if entry.id in self.before else "pending"
            if entry.status not in ("running", "pending", before):
                self.sweep.say(self._line(f"{at}/{self.sweep.plan.count}", entry))
        self.before = entries
        if self.live.is_started:
            table = grid(self._table(every), self.sweep.console.width)
            self.live.update(Group(table, Text(self.summary(every))), refresh=True)

    def __enter__(self) -> "View":
        if self.sweep.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.live.stop()

    def _measured(self, entry: Entry) -> str:
        return as_text(self.metric, entry.result.get("metrics", {}).get(self.metric))

    def _line(self, at: str, entry: Entry) -> str:
        what, console = label(entry.overrides, self.keys), self.sweep.console
        if not entry.seconds:
            return f"{at}  {entry.id}  {what}  {entry.status}  {entry.reason}".rstrip()
        parts = [(0, at), (4, entry.id), (1, what), (3, entry.status)]
        parts += [(2, f"{self.metric} {self._measured(entry)}"), (5, f"{entry.seconds:.1f} s")]
        shown = on_a_line(parts, console.width) if console.is_terminal else [text for _, text in parts]
        return "  ".join(filter(None, shown))

    def _table(self, entries: Sequence[Entry]) -> Table:
        begun = [one for one in entries if one.status != "pending"][::-1]
        shown = sorted(begun, key=lambda one: one.status != "running")[:MOST_LINES]
        rows = [(*map(one.value, self.keys), self._measured(one), one.status) for one in shown]
        return Table("", (*self.keys, self.metric, "status"), tuple(rows))

    def summary(self, entries: Sequence[Entry]) -> str:
        """Done, running, failed, the best so far, the time left."""
        count = Counter(one.status for one in entries)
        said = [f"{count['completed']} of {self.sweep.plan.count} done"]
        other = ("running", "pruned", "failed", "diverged", "interrupted")
        said += [f"{count[one]} {one}" for one in other if count[one]]
        values = [value for one in entries if (value := one.metric(self.metric)) is not None]
        if values:
            best = max if self.sweep.by.direction == "max" else min
            said.append(f"best so far {as_text(self.metric, best(values))}")
        took = [one.seconds for one in entries if one.seconds is not None]
        waiting = self.sweep.plan.count - count["completed"] - sum(count[one] for one in other[1:4])
        if took and waiting:
            said.append(f"about {statistics.fmean(took) * waiting / self.sweep.engine.at_once:.0f} s left")
        return ", ".join(said)


def show(board: Leaderboard, console: Console) -> None:
    """Groups where some have several seeds, then jobs; the best in bold, failures last."""
    if any(len(group.entries) > 1 for group in board.groups):
        spare = _but(board.metric, "seconds", board.test_metric, "sd")
        console.print(grid(replace(groups_table(board), spare=spare), console.width))
        compared = sum(group.comparison is not None for group in board.groups)
        if compared > 1:
            console.print(f"p values are corrected for {compared} comparisons (Holm)")
    spare = _but(board.metric, f"last {board.metric}", "epochs", "seconds", board.test_metric)
    jobs = replace(jobs_table(board, MOST_ROWS).without("reason"), spare=spare)
    console.print(grid(jobs, console.width))
    if len(board.entries) > MOST_ROWS:
        console.print(f"... and {len(board.entries) - MOST_ROWS} more, in leaderboard.csv")


def _but(metric: str, *columns: str) -> tuple[str, ...]:
    """The columns, without that of what the leaderboard is sorted by."""
    return tuple(name for name in columns if name != metric)


def introduce(sweep: Sweep, entries: Sequence[Entry]) -> None:
    """Where it is, how much is done, how the rest is run, and what was done by other code."""
    done = [one for one in entries if one.is_over]
    is_search = sweep.plan.space is not None
    failed = sum(one.failed for one in entries) if sweep.plan.leaves_failed else 0
    said = f"jobs    {sweep.plan.count}" + (f", {len(done)} of them done" if done else "")
    said += f", {failed} failed and left so{'' if is_search else ' (sweep.retry=none)'}" if failed else ""
    at_once = "one at a time" if sweep.engine.at_once == 1 else f"{sweep.engine.at_once} at once"
    sweep.say(f"sweep   {sweep.folder.path}\n{said}; {at_once}, {sweep.engine.name}")
    for note in sweep.source.notes:
        sweep.say(f"search  {note}")
    now, made_by = git_state(), [one.result.get("git") for one in done]
    other = [code_of(git) for git in made_by if git and now and git != now]
    if other:
        then = (
            f"{len(other)} of the jobs that are done were made by other code: {', '.join(sorted({*other}))}"
        )
        sweep.say(f"note    {then}; now it is {code_of(now or {})}")


def conclude(sweep: Sweep, board: Leaderboard) -> None:
    """The leaderboard, all failures, where everything is, and what finishes the sweep."""
    path, manifest = sweep.folder.path, sweep.folder.manifest
    show(board, sweep.console)
    for note in sweep.source.outcome:
        sweep.say(f"search  {note}")
    if board.failures:
        sweep.say(f"{len(board.failures)} did not complete", "red")
    for one in board.failures:
        why = (one.error or "").replace("\n", "\n  ")
        sweep.say(f"  {one.id}  {label(one.overrides, board.keys)}  {one.status}: {why}")
        sweep.say(f"    {one.folder}/log.txt")
    sweep.say(f"files   {path}/leaderboard.csv, .md, .json, report.html")
    sweep.say(f"curves  tensorboard --logdir {shlex.quote(str(path))}")
    left = [one for one in board.entries if not (one.is_over or (sweep.plan.leaves_failed and one.failed))]
    if manifest and (left or not sweep.source.is_over):
        sweep.say(f"finish  {manifest.command}")
