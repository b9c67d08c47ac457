"""What was measured; `result.json` keeps it, and everything else that a bench says is derived from it."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import TypeAdapter

from assay.bench import statistics
from assay.bench.statistics import Interval, Ratio
from assay.errors import UserError
from assay.training.atomic import write_durably

TOLERANCE = 1.05  # a card can pass its data sheet a little
UNREAD_CLOCK = 1.3  # and so much where its clock could not be read: no card boosts further
CLOCKS_APART = 0.10  # wall clock against events, relative
CLOCKS_FLOOR_S = 100e-6  # starting and waiting cost this much: no disagreement
CLOCK_DROP = 0.05
BUSY = 0.15  # share of the CPU that other programs take, from which on a time is not to be relied on


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


@dataclass
class Measurement:
    """The raw times of a task, in seconds a call; they are added while the task is timed."""

    task: Task
    status: Literal["ok", "invalid", "skipped"] = "ok"  # ok: there is at least one time
    reason: str = ""
    cold_s: float | None = None  # the first call of all
    wall_s: list[float] = field(default_factory=list[float])  # between two synchronizations
    event_s: list[float] = field(default_factory=list[float])  # the device's own clock, where it has one
    parts_s: dict[str, list[float]] = field(default_factory=dict[str, list[float]])  # by the call's own clock
    per_process: list[int] = field(default_factory=list[int])  # times of each process; empty: one gave all
    calls: int = 1  # in each time
    check: Check | None = None
    limit: Limit | None = None
    readings: list[Reading] = field(default_factory=list[Reading])

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    @property
    def times(self) -> list[float]:
        return self.event_s or self.wall_s

    @property
    def groups(self) -> list[list[float]]:
        """The times of each process that gave any."""
        times = self.times
        ends = [0, *accumulate(self.per_process or [len(times)])]
        return [times[start:end] for start, end in pairwise(ends) if start < end]

    @property
    def median_s(self) -> float:
        return statistics.group_median(self.groups)

    @property
    def interval_s(self) -> Interval | None:
        return statistics.group_interval(self.groups)

    def per_second(self, work: Literal["flop", "moved", "samples"]) -> float:
        """So much of that work a second; 0 for a task without it, or without times."""
        return (getattr(self.task, work) or 0.0) / self.median_s if self.times else 0.0

    @property
    def of_limit(self) -> float | None:
        """The rate as a share of the device's largest, which a higher clock than the limit's raises.

        A lower one does not lower it: the clock is read after the work, when it may have fallen already.
        """
        if self.limit is None:
            return None
        rate = self.per_second("flop" if self.limit.unit == "FLOP/s" else "moved")
        raised = max(1.0, max(self._clocks, default=0.0) / (self.limit.clock_mhz or math.inf))
        return rate / self.limit.rate / raised if rate else None

    @property
    def _clocks(self) -> list[float]:
        return [reading.clock_mhz for reading in self.readings if reading.clock_mhz]

    def against(self, other: "Measurement") -> Ratio:
        """This one's time over the other's."""
        return statistics.ratio(self.groups, other.groups)

    def judge(self) -> None:
        """Accept the times, or refuse them as faster than the device can be."""
        self.status, self.reason = "ok", ""
        limit, share = self.limit, self.of_limit
        if limit is None or share is None or not limit.bound:
            return
        if share > (UNREAD_CLOCK if limit.clock_mhz and not self._clocks else TOLERANCE):
            rate = self.per_second("flop" if limit.unit == "FLOP/s" else "moved") / 1e12
            rates = f"{rate:.4g} T{limit.unit}, its peak is {rate / share:.4g} T{limit.unit}"
            self.status = "invalid"
            self.reason = f"faster than the device can be: {rates}; was it synchronized?"

    @property
    def outliers(self) -> list[int]:
        return statistics.outliers(self.times)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is odd about the times."""
        told: list[str] = []
        if not self.times:
            return ()
        if self.event_s:
            wall, event = median(self.wall_s), median(self.event_s)
            apart = abs(wall - event)
            if apart > CLOCKS_APART * wall and apart * self.calls > CLOCKS_FLOOR_S:
                told.append(f"clocks disagree: wall {wall:.3g} s, events {event:.3g} s a call")
        if reasons := sorted({reason for reading in self.readings for reason in reading.throttle}):
            told.append(f"throttled: {', '.join(reasons)}")
        clocks = self._clocks
        if clocks and min(clocks) < (1 - CLOCK_DROP) * max(clocks):
            told.append(f"clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz")
        there = sum(reading.cpu_s for reading in self.readings)
        if there and (busy := sum(reading.others_s for reading in self.readings) / there) > BUSY:
            told.append(f"under load: others used {100 * busy:.0f} % of the CPU")
        if reason := statistics.too_few(self.groups):
            told.append(reason)
        elif far := self.outliers:
            told.append(f"{len(far)} of {len(self.times)} are outliers")
        return tuple(told)


@dataclass
class Record:
    """All that a bench measured; its report is a function of this alone."""

    measurements: list[Measurement] = field(default_factory=list[Measurement])
    details: dict[str, Any] = field(default_factory=dict[str, Any])  # of this bench: what no row can say
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bench: str = ""
    status: Literal["running", "completed", "interrupted", "failed"] = "running"
    error: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    overrides: tuple[str, ...] = ()

    @property
    def gpus(self) -> list[str]:
        return [name for name in self.environment.get("devices", {}) if name != "cpu"]

    @property
    def absences(self) -> list[str]:
        """A line for each kind of device that is not here, with the reason."""
        absent = self.environment.get("absent", {}).items()
        return [f"no {'GPU' if kind == 'cuda' else kind}: {reason}" for kind, reason in absent]

    def all(self, **labels: object) -> list[Measurement]:
        """The measurements whose task has these labels."""
        wanted = labels.items()
        return [m for m in self.measurements if all(getattr(m.task, key) == value for key, value in wanted)]

    def ok(self, **labels: object) -> list[Measurement]:
        return [m for m in self.all(**labels) if m.ok]


def save(record: Record, folder: Path, **more: Any) -> None:
    """Replace the folder's `result.json` whole; the folder is made with it."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = asdict(record) | more
    for raw, measurement in zip(plain["measurements"], record.measurements, strict=True):
        raw["derived"] = _derived(measurement)
    write_durably(folder / "result.json", json.dumps(plain, indent=1, allow_nan=False).encode())


def _derived(m: Measurement) -> dict[str, Any]:
    """What other readers of `result.json` want; it is not read back."""
    numbers = {"median_s": m.median_s, "interval_s": m.interval_s, "of_limit": m.of_limit} if m.times else {}
    return {"key": m.task.key, "warnings": m.warnings, **numbers}


def load(name: str | Path, key: str) -> Record:
    """The record in a folder or file that `key` names. Raises `UserError` where there is none."""
    path = Path(name)
    path = path / "result.json" if path.is_dir() else path
    needed = "\n  a result.json of a bench or its folder is needed"
    try:
        record = TypeAdapter(Record).validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{key}: {name} cannot be read: {error.strerror}{needed}") from None
    except ValueError:
        record = Record()
    if not record.bench:
        raise UserError(f"{key}: {name} is no result of a bench{needed}")
    return record
