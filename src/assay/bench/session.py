"""One bench while it runs: its devices, its time, and the record that it fills."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from assay.bench.device import Device, usable_threads
from assay.bench.measure import Job, Rule, measure
from assay.bench.record import Record

SAVE_EVERY_S = 2.0  # while rounds go on: writing the record must not become part of what is measured


@dataclass
class Session:
    """Measures into the record, and has it saved as it grows, so that whatever ends the bench, it is kept."""

    devices: Sequence[Device]
    record: Record
    seconds: float  # for all that is measured
    seed: int
    save: Callable[[Record], None] = lambda record: None
    show: Callable[[str], None] = lambda text: None
    rule: Rule | None = None

    def __post_init__(self) -> None:
        self.details = self.record.details
        self._deadline = time.perf_counter() + self.seconds
        self._saved = 0.0

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._deadline - time.perf_counter())

    def tell(self, text: str) -> None:
        """Say what is done next; what is measured so far is saved now and then."""
        self.show(f"at most {self.left:.0f} s left  {text}")
        if self.record.measurements and time.perf_counter() > self._saved + SAVE_EVERY_S:
            self.save(self.record)
            self._saved = time.perf_counter()

    def measure(self, jobs: Sequence[Job], seconds: float, rule: Rule | None = None) -> None:
        """Time the jobs side by side, within so many seconds of those that are left."""
        end, rows = min(self._deadline, time.perf_counter() + seconds), self.record.measurements
        try:
            measure(jobs, end, self.seed, rule or self.rule, self.tell, rows)
        finally:  # also at Ctrl-C, and where a bug ends the bench
            if rows:
                self.save(self.record)

    def measure_each(
        self, groups: Iterable[Callable[[], Sequence[Job]]], rule: Rule | None = None, share: float = 1.0
    ) -> None:
        """Group after group, each made when its turn comes; all within that share of the time left."""
        waiting, spared = list(groups), (1 - share) * self.left
        while waiting:
            jobs = waiting.pop(0)
            self.measure(jobs(), max(0.0, self.left - spared) / (len(waiting) + 1), rule)

    def cpu_threads(self, wanted: str | int | Sequence[int]) -> list[int]:
        """The thread counts that `threads` asks for; `auto` is one and every core."""
        if isinstance(wanted, str):
            return usable_threads()
        return [wanted] if isinstance(wanted, int) else list(wanted)

    def places(self, counts: Sequence[int]) -> list[tuple[Device, int | None]]:
        """Every device, the CPU once with each thread count."""
        return [(d, count) for d in self.devices for count in (counts if d.name == "cpu" else [None])]
