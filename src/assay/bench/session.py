"""One bench while it runs: its devices, its time, and what it has measured so far."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

from assay.bench.device import Device, usable_threads
from assay.bench.measure import Interrupted, Job, Rule, measure
from assay.bench.measurement import Measurement, Record


@final
class Session:
    """Collects measurements; what Ctrl-C leaves behind is still a record."""

    def __init__(
        self,
        devices: Sequence[Device],
        absent: Mapping[str, str],
        seconds: float,
        seed: int,
        tell: Callable[[str, float], None] = lambda text, left: None,
        clock: Callable[[], float] = time.perf_counter,
        rule: Rule | None = None,
    ) -> None:
        self.devices = list(devices)
        self.absent = dict(absent)
        self.seed = seed
        self.facts: dict[str, Any] = {}
        self._clock = clock
        self._rule = rule
        self._deadline = clock() + seconds
        self._tell = tell
        self._measurements: list[Measurement] = []

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return max(0.0, self._deadline - self._clock())

    def measure(self, jobs: Sequence[Job], seconds: float | None = None, rule: Rule | None = None) -> None:
        """Time the jobs side by side, within so many seconds or all that are left."""
        end = self._deadline if seconds is None else min(self._clock() + seconds, self._deadline)
        try:
            self._measurements += measure(
                jobs, end, self.seed, rule or self._rule, lambda text: self.tell(text)
            )
        except Interrupted as interrupted:
            self._measurements += interrupted.measurements
            raise

    def add(self, measurement: Measurement) -> None:
        self._measurements.append(measurement)

    def tell(self, text: str) -> None:
        """Say what is being done now."""
        self._tell(text, self.left)

    def cpu_threads(self, wanted: str | int | Sequence[int]) -> list[int]:
        """The thread counts that `threads` asks for; `auto` is one and every core."""
        if isinstance(wanted, str):
            return usable_threads()
        return [wanted] if isinstance(wanted, int) else list(wanted)

    @property
    def record(self) -> Record:
        return Record(
            measurements=tuple(self._measurements),
            facts=self.facts,
            absent=self.absent,
            titles={device.name: device.title for device in self.devices},
        )
