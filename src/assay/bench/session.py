"""One bench while it runs: its devices, its time, and the record that it fills."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, final

from assay.bench.device import Device, usable_threads
from assay.bench.measure import Job, Rule, measure
from assay.bench.record import Measurement, Record, merged

SAVE_EVERY_S = 2.0  # while rounds go on: writing the record must not become part of what is measured


@final
class Session:
    """Measures, and hands the record to `save` as it grows, so that whatever ends the bench, it is kept."""

    def __init__(
        self,
        devices: Sequence[Device],
        record: Record,
        seconds: float,
        seed: int,
        save: Callable[[Record], None] = lambda record: None,
        tell: Callable[[str, float], None] = lambda text, left: None,
        rule: Rule | None = None,
    ) -> None:
        self.devices = devices
        self.seed = seed
        self.details: dict[str, Any] = dict(record.details)
        self._start = record  # with the rows of the processes before this one
        self._rows: list[Measurement] = []
        self._save = save
        self._saved = 0.0
        self._tell = tell
        self._rule = rule
        self._deadline = time.perf_counter() + seconds

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._deadline - time.perf_counter())

    @property
    def record(self) -> Record:
        return self._with(self._rows)

    def _with(self, rows: Sequence[Measurement]) -> Record:
        measurements = merged(self._start.measurements, rows)
        return replace(self._start, measurements=measurements, details=self.details)

    def measure(self, jobs: Sequence[Job], seconds: float | None = None, rule: Rule | None = None) -> None:
        """Time the jobs side by side, within so many seconds or all that are left."""
        end = self._deadline if seconds is None else min(time.perf_counter() + seconds, self._deadline)

        latest: list[Measurement] = []

        def keep(rows: list[Measurement]) -> None:
            nonlocal latest
            latest = rows
            if time.perf_counter() > self._saved + SAVE_EVERY_S:
                self._save(self._with([*self._rows, *rows]))
                self._saved = time.perf_counter()

        try:
            latest = measure(jobs, end, self.seed, rule or self._rule, self.tell, keep)
        finally:  # also at Ctrl-C, and where a bug ends the bench
            self._rows += latest
            self._save(self.record)

    def measure_each(self, groups: Iterable[Callable[[], Sequence[Job]]], rule: Rule | None = None) -> None:
        """Group after group, each made when its turn comes and within its share of the time left."""
        waiting = list(groups)
        while waiting:
            jobs = waiting.pop(0)
            self.measure(jobs(), self.left / (len(waiting) + 1), rule)

    def tell(self, text: str) -> None:
        """Say what is being done now."""
        self._tell(text, self.left)

    def cpu_threads(self, wanted: str | int | Sequence[int]) -> list[int]:
        """The thread counts that `threads` asks for; `auto` is one and every core."""
        if isinstance(wanted, str):
            return usable_threads()
        return [wanted] if isinstance(wanted, int) else list(wanted)
