"""What a person sees while a sweep runs: a table on a terminal, a line for each job that ends elsewhere."""

import time
from collections.abc import Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from assay.sweep.folder import Job, JobState
from assay.sweep.jobs import key_of, swept_keys, value_of
from assay.sweep.leaderboard import direction_of
from assay.sweep.table import number

MOST_LINES = 12  # of the table: the running jobs, then the latest to end


class View:
    """Told the state of all jobs again and again."""

    def __init__(self, console: Console, jobs: Sequence[Job], workers: int) -> None:
        self.console = console
        self.jobs = jobs
        self.workers = workers
        self.keys = swept_keys([job.words for job in jobs])
        self.before: dict[str, str] = {}
        self._began = time.monotonic()
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    def start(self, states: Mapping[str, JobState]) -> None:
        """Begin with what was there before: it is no news."""
        self.before = {id: state.status for id, state in states.items()}
        if self._live is not None:
            self._live.start()

    def update(self, states: Mapping[str, JobState]) -> None:
        for at, job in enumerate(self.jobs, start=1):
            status = states[job.id].status
            news = status != self.before[job.id] and status not in ("running", "pending")
            self.before[job.id] = status
            if news:
                self.console.print(self._line(at, job, states[job.id]), highlight=False, soft_wrap=True)
        if self._live is not None:
            self._live.update(self._table(states), refresh=True)

    def stop(self) -> None:
        if self._live is not None:
            self._live.stop()

    def name(self, job: Job) -> str:
        """The job by what sets it apart."""
        return " ".join(word for word in job.words if key_of(word) in self.keys) or job.id

    def _line(self, at: int, job: Job, state: JobState) -> str:
        said = (state.error or "").partition("\n")[0]
        metric = job.config.sweep.metric
        value = number(state.result.get("metrics", {}).get(metric), metric)
        seconds = state.result.get("seconds", {}).get("total")
        took = f"  {seconds:.1f} s" if seconds else ""
        result = f"{metric} {value}{took}" if state.status == "completed" else said
        return escape(f"{at}/{len(self.jobs)}  {job.id}  {self.name(job)}  {state.status}  {result}".rstrip())

    def _table(self, states: Mapping[str, JobState]) -> Group:
        table = Table(box=None, pad_edge=False)
        for name in (*self.keys, "status", self.jobs[0].config.sweep.metric):
            table.add_column(escape(name))
        order = {"running": 0, "completed": 1}
        listed = [job for job in self.jobs if states[job.id].status != "pending"]
        for job in sorted(listed, key=lambda job: order.get(states[job.id].status, 1))[:MOST_LINES]:
            state, metric = states[job.id], job.config.sweep.metric
            typed = {key_of(word): value_of(word) for word in job.words}
            value = number(state.result.get("metrics", {}).get(metric), metric)
            table.add_row(*(escape(typed.get(key, "")) for key in self.keys), state.status, value)
        return Group(table, Text(self.summary(states)))

    def summary(self, states: Mapping[str, JobState]) -> str:
        """Done, running, failed, the best so far, the time left."""
        count = {
            status: sum(one.status == status for one in states.values())
            for status in ("completed", "running", "failed", "diverged", "interrupted")
        }
        said = [f"{count['completed']} of {len(self.jobs)} done"]
        said += [f"{n} {status}" for status, n in count.items() if n and status != "completed"]
        best, left = self._best(states), self._seconds_left(states)
        said += [f"best so far {best}"] if best else []
        said += [f"about {left:.0f} s left"] if left else []
        return ", ".join(said)

    def _best(self, states: Mapping[str, JobState]) -> str:
        sweep = self.jobs[0].config.sweep
        values = [
            one.result["metrics"].get(sweep.metric) for one in states.values() if one.status == "completed"
        ]
        found = [value for value in values if value is not None]
        best = max if direction_of(sweep.metric, sweep.direction) == "max" else min
        return number(best(found), sweep.metric) if found else ""

    def _seconds_left(self, states: Mapping[str, JobState]) -> float | None:
        took = [one.result["seconds"]["total"] for one in states.values() if one.status == "completed"]
        waiting = sum(one.status in ("pending", "running", "interrupted") for one in states.values())
        return sum(took) / len(took) * waiting / self.workers if took and waiting else None
