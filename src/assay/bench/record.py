"""What was measured: tasks in words with their raw times, and the file that keeps them.

`result.json` is the record; everything else that a bench says is derived from it.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from statistics import median
from typing import Any, Literal

from pydantic import TypeAdapter

from assay.bench import statistics
from assay.bench.statistics import Interval, Ratio

TOLERANCE = 1.05  # a card can pass its data sheet a little
UNREAD_CLOCK = 1.3  # and so much where its clock could not be read: no card boosts further
CLOCKS_APART = 0.10  # wall clock against events, relative
CLOCKS_FLOOR_S = 100e-6  # starting and waiting cost this much: no disagreement
CLOCK_DROP = 0.05
BUSY = 0.15  # share of the CPU that other programs take, from which on a time is not to be relied on
Status = Literal["ok", "invalid", "skipped"]


@dataclass(frozen=True)
class Task:
    """One row: what is done where, in words and numbers, and how much work one call is."""

    what: str  # "matmul", "host copy", ...
    by: str  # "torch", "numpy", "fused", ...: the form that is timed
    device: str  # "cpu", "cuda:0"
    precision: str = "float32"
    threads: int | None = None  # of the CPU; None on another device
    size: int | None = None
    flop: float | None = None  # of one call
    moved: float | None = None  # bytes that one call reads and writes
    samples: int | None = None  # data samples that one call handles

    @property
    def key(self) -> str:
        """What makes two rows of different results the same row."""
        threads = f"{self.threads} threads" if self.threads else None
        parts = (self.what, self.size, self.precision, self.device, self.by, threads)
        return " ".join(str(part) for part in parts if part is not None)


@dataclass(frozen=True)
class Limit:
    """The largest rate that the device has for the task, in FLOP/s or bytes/s, and who says so."""

    rate: float
    unit: Literal["FLOP/s", "B/s"]
    source: str
    bound: bool = True  # whether a faster result must be wrong
    clock_mhz: float | None = None  # at which the rate holds; a higher clock that is read raises it


@dataclass(frozen=True)
class Check:
    """A result against float64: the relative error and the largest one that is right."""

    error: float | None  # None where the result has NaN or infinite values: JSON has neither
    limit: float
    suspicion: str = ""  # what a wrong result looks like

    @classmethod
    def of(cls, error: float, limit: float, suspicion: str = "") -> "Check":
        return cls(error if math.isfinite(error) else None, limit, suspicion)

    @property
    def right(self) -> bool:
        return self.error is not None and self.error <= self.limit

    def __str__(self) -> str:
        return "not finite" if self.error is None else f"{self.error:.1e}"


@dataclass(frozen=True)
class Reading:
    """What the device's sensors said after one time; None where they could not be read."""

    clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle: tuple[str, ...] = ()
    others_s: float = 0.0  # CPU seconds that other programs took since the reading before,
    cpu_s: float = 0.0  # of so many that there were


@dataclass(frozen=True)
class Measurement:
    """The raw times of a task, in seconds a call."""

    task: Task
    status: Status = "ok"
    reason: str = ""
    cold_s: float | None = None  # the first call of all
    wall_s: tuple[float, ...] = ()  # between two synchronizations
    event_s: tuple[float, ...] = ()  # the device's own clock, where it has one
    parts_s: Mapping[str, tuple[float, ...]] = field(
        default_factory=dict[str, tuple[float, ...]]
    )  # by the call
    per_process: tuple[int, ...] = ()  # how many of the times each process gave; empty: one gave all
    calls: int = 1  # in each time
    check: Check | None = None
    limit: Limit | None = None
    readings: tuple[Reading, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def times(self) -> tuple[float, ...]:
        return self.event_s or self.wall_s

    @property
    def groups(self) -> list[tuple[float, ...]]:
        """The times of each process."""
        ends = [sum(self.per_process[: i + 1]) for i in range(len(self.per_process))] or [len(self.times)]
        return [self.times[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def median_s(self) -> float:
        return statistics.group_median(self.groups)

    @property
    def interval_s(self) -> Interval | None:
        return statistics.group_interval(self.groups)

    @property
    def outliers(self) -> list[int]:
        return statistics.outliers(self.times)

    @property
    def tflops(self) -> float | None:
        return self.task.flop / self.median_s / 1e12 if self.task.flop and self.times else None

    @property
    def bytes_per_second(self) -> float | None:
        return self.task.moved / self.median_s if self.task.moved and self.times else None

    @property
    def samples_per_second(self) -> float | None:
        return self.task.samples / self.median_s if self.task.samples and self.times else None

    @property
    def largest_rate(self) -> float | None:
        """The limit's rate, raised where a higher clock was read than the one it holds at.

        A lower one does not lower it: the clock is read after the work, when it may have fallen already.
        """
        if self.limit is None:
            return None
        clocks = [reading.clock_mhz for reading in self.readings if reading.clock_mhz]
        rated = self.limit.clock_mhz
        return self.limit.rate * max(1.0, max(clocks) / rated if clocks and rated else 1.0)

    @property
    def of_limit(self) -> float | None:
        """The rate as a share of the device's largest; None where that is unknown."""
        if self.limit is None or self.largest_rate is None or not self.times:
            return None
        work = self.task.flop if self.limit.unit == "FLOP/s" else self.task.moved
        return work / self.median_s / self.largest_rate if work else None

    def against(self, other: "Measurement") -> Ratio:
        """This one's time over the other's."""
        return statistics.ratio(self.groups, other.groups)


@dataclass(frozen=True)
class Record:
    """All that a bench measured; its report is a function of this alone."""

    measurements: tuple[Measurement, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])  # of this bench: what no row can say
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bench: str = ""
    status: Literal["running", "completed", "interrupted", "failed"] = "running"
    error: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: tuple[str, ...] = ()

    @property
    def titles(self) -> Mapping[str, str]:
        """Device: what it calls itself."""
        return self.environment.get("devices", {})

    @property
    def gpus(self) -> list[str]:
        return [name for name in self.titles if name != "cpu"]

    @property
    def absences(self) -> list[str]:
        """A line for each kind of device that is not here, with the reason."""
        absent: Mapping[str, str] = self.environment.get("absent", {})
        return [f"no {'GPU' if kind == 'cuda' else kind}: {reason}" for kind, reason in absent.items()]

    def ok(self, **labels: object) -> list[Measurement]:
        """The good measurements whose task has these labels."""
        return [m for m in self.all(**labels) if m.ok]

    def all(self, **labels: object) -> list[Measurement]:
        return [
            m
            for m in self.measurements
            if all(getattr(m.task, key) == value for key, value in labels.items())
        ]


def to_json(measurement: Measurement) -> dict[str, Any]:
    """The raw fields, and the derived ones that readers of `result.json` want."""
    derived: dict[str, Any] = {"key": measurement.task.key}
    if measurement.times:
        names = (
            "median_s",
            "interval_s",
            "outliers",
            "tflops",
            "of_limit",
            "bytes_per_second",
            "samples_per_second",
        )
        derived |= {name: getattr(measurement, name) for name in names}
        derived["iqr_s"] = statistics.iqr(measurement.times)
    return asdict(measurement) | {"derived": derived}


def from_json(raw: Mapping[str, Any]) -> Measurement:
    """The measurement whose raw fields `to_json` wrote. Raises `pydantic.ValidationError`, a `ValueError`."""
    given = {key: value for key, value in raw.items() if key != "derived"}
    return TypeAdapter(Measurement).validate_python(given)


def skipped(task: Task, reason: str) -> Measurement:
    return Measurement(task, status="skipped", reason=reason)


def with_verdict(raw: Measurement) -> Measurement:
    """The measurement with its verdict: invalid where faster than the device can be, warned where odd."""
    raw = replace(raw, warnings=(*raw.warnings, *_warnings(raw)))
    share, limit, largest = raw.of_limit, raw.limit, raw.largest_rate
    if share is None or limit is None or largest is None or not limit.bound:
        return raw
    clock_read = limit.clock_mhz is None or any(reading.clock_mhz for reading in raw.readings)
    if share <= (TOLERANCE if clock_read else UNREAD_CLOCK):
        return raw
    scale, unit = (1e12, "TFLOP/s") if limit.unit == "FLOP/s" else (1e9, "GB/s")
    rates = f"{share * largest / scale:.4g} {unit}, its peak is {largest / scale:.4g} {unit}"
    reason = f"faster than the device can be: {rates}; was it synchronized?"
    return replace(raw, status="invalid", reason=reason)


def _warnings(raw: Measurement) -> list[str]:
    told: list[str] = []
    if raw.event_s:
        wall, event = median(raw.wall_s), median(raw.event_s)
        apart = abs(wall - event)
        if apart > CLOCKS_APART * wall and apart * raw.calls > CLOCKS_FLOOR_S:
            told.append(f"clocks disagree: wall {wall:.3g} s, events {event:.3g} s a call")
    reasons = sorted({reason for reading in raw.readings for reason in reading.throttle})
    if reasons:
        told.append(f"throttled: {', '.join(reasons)}")
    clocks = [reading.clock_mhz for reading in raw.readings if reading.clock_mhz]
    if raw.task.device != "cpu" and clocks and min(clocks) < (1 - CLOCK_DROP) * max(clocks):
        told.append(f"clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
    if far := raw.outliers:
        told.append(f"{len(far)} of {len(raw.times)} are outliers")
    if reason := statistics.too_few(raw.groups):
        told.append(reason)
    there = sum(reading.cpu_s for reading in raw.readings)
    if there and (busy := sum(reading.others_s for reading in raw.readings) / there) > BUSY:
        told.append(f"under load: others used {100 * busy:.0f} % of the CPU")
    return told
