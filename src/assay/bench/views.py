"""Measurements as rows, as a table by size, as curves over the size; and two records side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from assay.bench.record import Measurement, Record
from assay.bench.statistics import Ratio, Verdict, verdict
from assay.report import Figure, Report, Series, Table, digits, seconds

Cell = Callable[[Measurement], str]


def rate(m: Measurement) -> str:
    """The rate that suits the task: arithmetic, samples or bytes a second."""
    if flop := m.per_second("flop"):
        return flops(flop)
    if samples := m.per_second("samples"):
        return f"{samples:,.0f} samples/s"
    moved = m.per_second("moved")
    return f"{digits(moved / 1e9)} GB/s" if moved else ""


def flops(rate: float) -> str:
    return f"{digits(rate / 1e12)} TFLOP/s" if rate >= 1e12 else f"{digits(rate / 1e9)} GFLOP/s"


def share(m: Measurement) -> str:
    """The rate as a share of the device's peak; "about" where that peak is an estimate."""
    if m.of_limit is None or m.limit is None:
        return ""
    return f"{'' if m.limit.bound else 'about '}{100 * m.of_limit:.0f} %"


def spread(m: Measurement) -> str:
    """The interval of the median as a percentage around it."""
    ends = m.interval_s
    return " .. ".join(f"{100 * (end / m.median_s - 1):+.1f}" for end in ends) + " %" if ends else "none"


def rows(title: str, measurements: Sequence[Measurement], extra: Mapping[str, Cell] | None = None) -> Table:
    """One line a measurement; what is wrong has no time, and the reason among the notes."""
    columns: dict[str, Cell] = {
        "what": lambda m: m.task.what if m.task.size is None else f"{m.task.what} {m.task.size}",
        "device": lambda m: m.task.device,
        "threads": lambda m: str(m.task.threads or ""),
        "precision": lambda m: m.task.precision,
        "by": lambda m: m.task.by,
    }
    timed: dict[str, Cell] = {"time": lambda m: seconds(m.median_s), "95 % interval": spread, "rate": rate}
    timed |= dict(extra or {})
    lines = [
        (
            *(cell(m) for cell in columns.values()),
            *(cell(m) if m.ok else "" for cell in timed.values()),
            "; ".join(m.warnings) if m.ok else f"{m.status} ({m.reason})",
        )
        for m in measurements
    ]
    return Table(title, (*columns, *timed, "notes"), tuple(lines))


def all_rows(record: Record) -> Table:
    """Every measurement, for `table.md`."""
    table = rows("all rows", record.measurements, {"error": lambda m: str(m.check or "")})
    return Table(table.title, table.columns, table.rows, screen=False)


def labels(measurements: Sequence[Measurement]) -> list[str]:
    """For each measurement, the parts of its task, size apart, that tell it from the others."""
    tasks = [m.task for m in measurements]
    parts = [(t.what, t.device, f"{t.threads}t" if t.threads else "", t.by, t.precision) for t in tasks]
    differing = [i for i in range(5) if len({part[i] for part in parts}) > 1]
    return [" ".join(part[i] for i in differing if part[i]) or part[3] for part in parts]


def pivot(title: str, measurements: Sequence[Measurement], cell: Cell, axis: str = "n") -> Table:
    """One line a size, one column a form."""
    by_size: dict[int, dict[str, str]] = {m.task.size or 0: {} for m in measurements}
    names = labels(measurements)
    for m, name in zip(measurements, names, strict=True):
        by_size[m.task.size or 0][name] = cell(m) if m.ok else "-"
    columns = list(dict.fromkeys(names))
    lines = [(str(size), *(row.get(c, "-") for c in columns)) for size, row in sorted(by_size.items())]
    return Table(title, (axis, *columns), tuple(lines))


def curves(
    name: str,
    title: str,
    x: str,
    y: str,
    measurements: Sequence[Measurement],
    value: Callable[[Measurement], float],
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """One line a form, over the size."""
    points: dict[str, list[tuple[float, float]]] = {}
    for m, label in zip(measurements, labels(measurements), strict=True):
        if m.ok:
            points.setdefault(label, []).append((float(m.task.size or 0), value(m)))
    series = tuple(Series(label, tuple(sorted(pairs))) for label, pairs in points.items())
    return Figure(name, title, x, y, series, marks=marks or {})


def time_of(m: Measurement) -> float:
    return m.median_s


def fastest(measurements: Sequence[Measurement]) -> dict[int, float]:
    """The least time of each size."""
    ordered = sorted(measurements, key=time_of, reverse=True)
    return {m.task.size or 0: m.median_s for m in ordered}


Crossings = Mapping[str, Mapping[str, int | None]]  # GPU: way to place the data: smallest size that wins


def crossing(ways: Mapping[str, int | None]) -> str:
    """ "in place: from 1024; moved every call: at no size"."""
    return "; ".join(f"{way}: {f'from {size}' if size else 'at no size'}" for way, size in ways.items())


def crossing_marks(crossings: Crossings) -> dict[str, float]:
    """Where a figure marks them."""
    return {f"{gpu}: {way}": float(n) for gpu, ways in crossings.items() for way, n in ways.items() if n}


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
    second = {m.task.key: m for m in after if m.ok}
    compared: list[Row] = []
    for old in before:
        if old.ok and (new := second.get(old.task.key)):
            ratio = new.against(old)
            compared.append(Row(old.task.key, old.median_s, new.median_s, ratio, verdict(ratio)))
    return compared


def comparison(compared: Sequence[Row], old: Record, new: Record) -> Report:
    """The rows as a table, and what else was not alike."""
    cells = tuple(
        (row.key, seconds(row.before_s), seconds(row.after_s), str(row.ratio), row.verdict)
        for row in compared
    )
    columns = ("row", "before", "after", "after/before (95 % interval)", "verdict")
    both = (*old.measurements, *new.measurements)
    lines: list[str] = []
    for name in ("devices", "versions", "blas"):  # a reader must know this before blaming the code
        one, other = old.environment.get(name), new.environment.get(name)
        if one != other:
            lines.append(f"{name} differ: {one} and {other}")
    if left_out := len({m.task.key for m in both}) - len(compared):
        lines.append(f"{left_out} rows are in one result only, or have no good time")
    if any(len(m.groups) == 1 for m in both):
        lines.append(
            "one process a side: what differs between processes is in no interval (processes=5 measures it)"
        )
    verdicts = [row.verdict for row in compared]
    lines.append(
        ", ".join(f"{verdicts.count(name)} {name}" for name in ("SAME", "FASTER", "SLOWER", "UNCLEAR"))
    )
    return Report(tuple(lines), (Table("after against before", columns, cells),))
