"""What was measured: tasks in words with their raw times, and the file that keeps them.

`result.json` is the record; everything else that a bench says is derived from it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from assay.bench import statistics
from assay.bench.statistics import Interval, Ratio
from assay.errors import UserError
from assay.training.atomic import write_durably

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


def merged(before: Sequence[Measurement], after: Sequence[Measurement]) -> tuple[Measurement, ...]:
    """The rows of earlier processes and of one more; of a row that only some could time, those times."""
    rows = {m.task.key: m for m in before}
    for m in after:
        rows[m.task.key] = _joined(rows[m.task.key], m) if m.task.key in rows else m
    return tuple(rows.values())


def _joined(one: Measurement, other: Measurement) -> Measurement:
    if one.status == "invalid" or not other.times:
        return one
    if other.status == "invalid" or not one.times:
        return other
    return replace(
        one,
        wall_s=one.wall_s + other.wall_s,
        event_s=one.event_s + other.event_s,
        parts_s={name: times + other.parts_s[name] for name, times in one.parts_s.items()},
        per_process=tuple(len(times) for times in (*one.groups, *other.groups)),
        readings=one.readings + other.readings,
        warnings=tuple(dict.fromkeys(one.warnings + other.warnings)),
    )


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


def save(record: Record, folder: Path, **more: Any) -> None:
    """Replace the folder's `result.json` whole; the folder is made with it."""
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in vars(record).items() if name != "measurements"}
    rows = [to_json(m) for m in record.measurements]
    text = json.dumps(plain | more | {"measurements": rows}, indent=1, allow_nan=False)
    write_durably(folder / "result.json", text.encode())


def load(name: str | Path, key: str) -> Record:
    """The record in a folder or file that `key` names. Raises `UserError` where there is none."""
    path = Path(name)
    path = path / "result.json" if path.is_dir() else path
    needed = "\n  a result.json of a bench or its folder is needed"
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        rows = tuple(from_json(row) for row in raw["measurements"])
        given = {name: raw[name] for name in vars(Record()) if name in raw}
        return TypeAdapter(Record).validate_python(given | {"measurements": rows})
    except OSError as error:
        raise UserError(f"{key}: {name} cannot be read: {error.strerror}{needed}") from None
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{key}: {name} is no result of a bench{needed}") from None
