"""What was measured: a task in words, and its raw times. Everything else is derived from these two."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from pydantic import TypeAdapter

from assay.bench import statistics
from assay.bench.statistics import Interval

Status = Literal["ok", "invalid", "skipped"]


@dataclass(frozen=True)
class Task:
    """One row: what is done where, in words and numbers, and how much work one call is."""

    what: str  # "matmul", "copy", ...
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
        """The words that make two rows of different results the same row."""
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
    """What the device's sensors said; None where they could not be read."""

    clock_mhz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    throttle: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """The raw times of a task, in seconds a call."""

    task: Task
    status: Status = "ok"
    reason: str = ""
    cold_s: float | None = None  # the first call of all
    wall_s: tuple[float, ...] = ()  # between two synchronizations
    event_s: tuple[float, ...] = ()  # the device's own clock, where it has one
    calls: int = 1  # in each time
    peak_bytes: int | None = None
    check: Check | None = None
    limit: Limit | None = None
    readings: tuple[Reading, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def times(self) -> tuple[float, ...]:
        return self.event_s or self.wall_s

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def median_s(self) -> float:
        return statistics.median(self.times)

    @property
    def iqr_s(self) -> float:
        return statistics.iqr(self.times)

    @property
    def interval_s(self) -> Interval | None:
        return statistics.median_interval(self.times)

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
    def of_limit(self) -> float | None:
        """The rate as a share of the device's largest; None where that is unknown."""
        if self.limit is None or not self.times:
            return None
        work = self.task.flop if self.limit.unit == "FLOP/s" else self.task.moved
        return work / self.median_s / self.limit.rate if work else None

    @property
    def samples_per_second(self) -> float | None:
        return self.task.samples / self.median_s if self.task.samples and self.times else None


@dataclass(frozen=True)
class Record:
    """All that a bench found; its report is a function of this alone."""

    measurements: tuple[Measurement, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    absent: Mapping[str, str] = field(default_factory=dict[str, str])  # device: why it is not here
    titles: Mapping[str, str] = field(default_factory=dict[str, str])  # device: what it calls itself

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
        derived |= {
            "median_s": measurement.median_s,
            "iqr_s": measurement.iqr_s,
            "interval_s": measurement.interval_s,
            "outliers": measurement.outliers,
            "tflops": measurement.tflops,
            "of_limit": measurement.of_limit,
            "bytes_per_second": measurement.bytes_per_second,
            "samples_per_second": measurement.samples_per_second,
        }
    return asdict(measurement) | {"derived": derived}


def from_json(raw: Mapping[str, Any]) -> Measurement:
    """The measurement whose raw fields `to_json` wrote; derived ones are derived again.

    Raises `pydantic.ValidationError`, a `ValueError`.
    """
    given = {key: value for key, value in raw.items() if key != "derived"}
    return TypeAdapter(Measurement).validate_python(given)
