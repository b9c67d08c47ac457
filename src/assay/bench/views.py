"""Measurements as rows, as a table by size, as curves over the size; and two records side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assay.bench.record import Measurement, Record
from assay.bench.statistics import Ratio, Verdict, verdict
from assay.report import Figure, Report, Series, Table, digits, seconds

Cell = Callable[[Measurement], str]


def rate(m: Measurement) -> str:
    """The rate that suits the task: arithmetic, samples or bytes a second."""
    if m.tflops is not None:
        return flops(m.tflops)
    if m.samples_per_second is not None:
        return f"{m.samples_per_second:,.0f} samples/s"
    return "" if m.bytes_per_second is None else f"{digits(m.bytes_per_second / 1e9)} GB/s"


def flops(tflops: float) -> str:
    return f"{digits(tflops)} TFLOP/s" if tflops >= 1 else f"{digits(tflops * 1e3)} GFLOP/s"


def share(m: Measurement) -> str:
    """The rate as a share of the device's peak; "about" where that peak is an estimate."""
    if m.of_limit is None or m.limit is None:
        return ""
    return f"{'' if m.limit.bound else 'about '}{100 * m.of_limit:.0f} %"


def spread(m: Measurement) -> str:
    """The interval of the median as a percentage around it."""
    if m.interval_s is None:
        return "none"
    low, high = (100 * (end / m.median_s - 1) for end in m.interval_s)
    return f"{low:+.1f} .. {high:+.1f} %"


def notes(m: Measurement) -> str:
    """Why a row has no time, or what is odd about it."""
    return "; ".join(m.warnings) if m.ok else f"{m.status} ({m.reason})"


def rows(
    title: str,
    measurements: Sequence[Measurement],
    extra: Mapping[str, Cell] | None = None,
    screen: bool = True,
) -> Table:
    """One line a measurement; what is wrong has no time. On the screen the title has what all rows share."""
    timed: dict[str, Cell] = {"time": lambda m: seconds(m.median_s), "95 % interval": spread, "rate": rate}
    cells: dict[str, Cell] = {
        "what": lambda m: m.task.what if m.task.size is None else f"{m.task.what} {m.task.size}",
        "device": lambda m: m.task.device,
        "threads": lambda m: str(m.task.threads or ""),
        "precision": lambda m: m.task.precision,
        "by": lambda m: m.task.by,
        **{name: _if_timed(cell) for name, cell in (timed | dict(extra or {})).items()},
        "notes": notes,
    }
    if screen and len(measurements) > 1:
        for name in ("device", "threads", "precision"):
            values = {cells[name](m) for m in measurements}
            if len(values) == 1:
                del cells[name]
                title += f", {name} {value}" if (value := values.pop()) else ""
    lines = tuple(tuple(cell(m) for cell in cells.values()) for m in measurements)
    return Table(title, tuple(cells), lines, screen)


def _if_timed(cell: Cell) -> Cell:
    return lambda m: cell(m) if m.ok and m.times else ""


def all_rows(record: Record) -> Table:
    """Every measurement, for `table.md`."""
    error: Cell = lambda m: str(m.check or "")  # noqa: E731 (a cell as the others)
    return rows("all rows", record.measurements, {"error": error}, screen=False)


def labels(measurements: Sequence[Measurement]) -> list[str]:
    """For each measurement, the parts of its task, size apart, that tell it from the others."""
    parts = [
        (
            m.task.what,
            m.task.device,
            f"{m.task.threads}t" if m.task.threads else "",
            m.task.by,
            m.task.precision,
        )
        for m in measurements
    ]
    differing = [i for i in range(5) if len({part[i] for part in parts}) > 1]
    return [" ".join(part[i] for i in differing if part[i]) or part[3] for part in parts]


def pivot(title: str, measurements: Sequence[Measurement], cell: Cell, axis: str = "n") -> Table:
    """One line a size, one column a form."""
    names = labels(measurements)
    columns = list(dict.fromkeys(names))
    by_size: dict[int, dict[str, str]] = {}
    for m, name in sorted(zip(measurements, names, strict=True), key=lambda pair: pair[0].task.size or 0):
        by_size.setdefault(m.task.size or 0, {})[name] = cell(m) if m.ok else "-"
    lines = tuple((f"{size}", *(row.get(c, "-") for c in columns)) for size, row in by_size.items())
    return Table(title, (axis, *columns), lines)


def curves(
    name: str,
    title: str,
    x: str,
    y: str,
    measurements: Sequence[Measurement],
    value: Callable[[Measurement], float | None],
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """One line a form, over the size."""
    points: dict[str, list[tuple[float, float]]] = {}
    for m, label in zip(measurements, labels(measurements), strict=True):
        if m.ok:
            points.setdefault(label, []).append((float(m.task.size or 0), value(m) or 0.0))
    series = tuple(Series(label, tuple(sorted(pairs))) for label, pairs in points.items())
    return Figure(name, title, x, y, series, marks=marks or {})


def time_of(m: Measurement) -> float:
    return m.median_s


def crossing(ways: Mapping[str, int | None]) -> str:
    """ "in place: from 1024; moved every call: at no size"."""
    return "; ".join(
        f"{way}: {'at no size' if size is None else f'from {size}'}" for way, size in ways.items()
    )


@dataclass(frozen=True)
class Row:
    """One row of two results."""

    key: str
    before_s: float
    after_s: float
    ratio: Ratio  # after over before
    verdict: Verdict


def compared_rows(before: Sequence[Measurement], after: Sequence[Measurement]) -> list[Row]:
    """The rows that both results have a good time for, in the order of the first."""
    second = {m.task.key: m for m in after if m.ok and m.times}
    pairs = [(m, second[m.task.key]) for m in before if m.ok and m.times and m.task.key in second]
    ratios = [new.against(old) for old, new in pairs]
    return [
        Row(old.task.key, old.median_s, new.median_s, ratio, verdict(ratio))
        for (old, new), ratio in zip(pairs, ratios, strict=True)
    ]


def comparison(compared: Sequence[Row], old: Record, new: Record) -> Report:
    """The rows as a table, and what else was not alike."""
    cells = tuple(
        (row.key, seconds(row.before_s), seconds(row.after_s), str(row.ratio), row.verdict)
        for row in compared
    )
    columns = ("row", "before", "after", "after/before (95 % interval)", "verdict")
    lines = _differences(old.environment, new.environment)
    keys = {m.task.key for m in (*old.measurements, *new.measurements)}
    if left_out := len(keys) - len(compared):
        lines.append(f"{left_out} rows are in one result only, or have no good time")
    if any(len(m.groups) == 1 for m in (*old.measurements, *new.measurements)):
        lines.append(
            "one process a side: what differs between processes is in no interval (processes=5 measures it)"
        )
    verdicts = [row.verdict for row in compared]
    counts = [f"{verdicts.count(name)} {name}" for name in ("SAME", "FASTER", "SLOWER", "UNCLEAR")]
    return Report((*lines, ", ".join(counts)), (Table("after against before", columns, cells),))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a reader must know before blaming the code for a difference."""
    pairs = {
        "CPU": (old["cpu"]["name"], new["cpu"]["name"]),
        **{name: (old[name], new[name]) for name in ("devices", "versions")},
        "BLAS": (old["blas"], new["blas"]),
    }
    return [f"{name} differ: {a} and {b}" for name, (a, b) in pairs.items() if a != b]
