"""Measurements as rows, as a table by size, as curves over the size; and two records side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from assay.bench.record import Measurement, Record
from assay.bench.statistics import Ratio, Verdict, verdict
from assay.report import Figure, Report, Series, Table, digits, seconds

Cell = Callable[[Measurement], str]
time_of = attrgetter("median_s")  # the value of a curve


def rate(m: Measurement) -> str:
    """The rate that suits the task: samples, arithmetic or bytes a second."""
    if samples := m.per_second("samples"):
        return f"{samples:,.0f} samples/s"
    if flop := m.per_second("flop"):
        return flops(flop)
    return f"{digits(m.per_second('moved') / 1e9)} GB/s" if m.task.moved else ""


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


def rows(
    title: str,
    measurements: Sequence[Measurement],
    extra: Mapping[str, Cell] | None = None,
    screen: bool = True,
) -> Table:
    """One line a measurement; what is wrong has no time. On the screen the title has what all rows share."""
    timed: dict[str, Cell] = {"time": lambda m: seconds(m.median_s), "95 % interval": spread, "rate": rate}
    timed |= dict(extra or {})

    def cells(m: Measurement) -> tuple[str, ...]:
        what = m.task.what if m.task.size is None else f"{m.task.what} {m.task.size}"
        times = [cell(m) if m.ok else "" for cell in timed.values()]
        notes = "; ".join(m.warnings) if m.ok else f"{m.status} ({m.reason})"
        return what, m.task.device, str(m.task.threads or ""), m.task.precision, m.task.by, *times, notes

    columns = ("what", "device", "threads", "precision", "by", *timed, "notes")
    lines = [cells(m) for m in measurements]
    shared = [i for i in (1, 2, 3) if screen and len(lines) > 1 and len({line[i] for line in lines}) == 1]
    title = ", ".join([title, *(f"{columns[i]} {lines[0][i]}" for i in shared if lines[0][i])])
    kept = [i for i in range(len(columns)) if i not in shared]
    cut = [tuple(line[i] for i in kept) for line in (columns, *lines)]
    return Table(title, cut[0], tuple(cut[1:]), screen, spare=("rate", *(extra or {}), "95 % interval"))


def times_of(record: Record, by: str) -> Cell:
    """The time over that of the same task in another form."""

    def cell(m: Measurement) -> str:
        base = record.ok(what=m.task.what, size=m.task.size, device=m.task.device, by=by)
        return str(m.against(base[0])) if base else ""

    return cell


def labels(measurements: Sequence[Measurement]) -> list[str]:
    """For each measurement, the parts of its task, size apart, that tell it from the others."""
    tasks = [m.task for m in measurements]
    parts = [(t.what, t.device, f"{t.threads}t" if t.threads else "", t.by, t.precision) for t in tasks]
    differing = [i for i in range(5) if len({part[i] for part in parts}) > 1]
    return [" ".join(part[i] for i in differing if part[i]) or part[3] for part in parts]


def _by_form(measurements: Sequence[Measurement]) -> dict[str, dict[int, Measurement]]:
    forms: dict[str, dict[int, Measurement]] = {}
    for m, label in zip(measurements, labels(measurements), strict=True):
        forms.setdefault(label, {})[m.task.size or 0] = m
    return forms


def pivot(title: str, measurements: Sequence[Measurement], cell: Cell, axis: str = "n") -> Table:
    """One line a size, one column a form."""
    forms = _by_form(measurements)
    sizes = sorted({m.task.size or 0 for m in measurements})
    lines = [
        (str(n), *(cell(form[n]) if n in form and form[n].ok else "-" for form in forms.values()))
        for n in sizes
    ]
    return Table(title, (axis, *forms), tuple(lines))


def curves(figure: Figure, measurements: Sequence[Measurement], y: Callable[[Measurement], float]) -> Figure:
    """The figure with one line a form, over the size."""
    series = [
        Series(label, tuple((float(n), y(m)) for n, m in sorted(form.items()) if m.ok))
        for label, form in _by_form(measurements).items()
    ]
    return replace(figure, series=tuple(line for line in series if line.points))


def complete(report: Report, record: Record) -> Report:
    """The report with what every bench has: all rows in `table.md`, and a figure where there is none."""
    table = rows("all rows", record.measurements, {"error": lambda m: str(m.check or "")}, screen=False)
    good, figure = record.ok(), Figure("times", f"bench={record.bench}", "size", "seconds")
    if len({m.task.size for m in good}) > 1:
        figure = curves(figure, good, time_of)
    else:
        figure = replace(figure, bars={m.task.key: m.median_s for m in good})
    lines = report.lines
    if loaded := sum("under load" in " ".join(m.warnings) for m in good):
        lines += (f"{loaded} rows were measured under load: their times are not to be relied on",)
    figures = report.figures or ((figure,) if good else ())
    return replace(report, lines=lines, tables=(*report.tables, table), figures=figures)


def fastest(measurements: Sequence[Measurement]) -> dict[int, float]:
    """The least time of each size."""
    ordered = sorted(measurements, key=time_of, reverse=True)
    return {m.task.size or 0: m.median_s for m in ordered}


def crossing(ways: Mapping[str, int | None]) -> str:
    """ "in place: from 1024; moved every call: at no size"."""
    return "; ".join(f"{way}: {f'from {size}' if size else 'at no size'}" for way, size in ways.items())


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
    return Report(tuple(lines), (Table("after against before", columns, cells),))
