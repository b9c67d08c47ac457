"""What there is to say of a record, as data: lines, tables, figures; and how to show and save them.

A bench and a sweep build these values from what they have on disk. Nothing here measures or decides; torch is
not needed, and matplotlib is imported only when a figure is drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "osD^vP*X<>"
MOST_MARKED = 50  # points of a line that get a marker each


@dataclass(frozen=True)
class Table:
    """Cells as text; `screen` is False for a table that stands in `table.md` alone."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    screen: bool = True


@dataclass(frozen=True)
class Series:
    """One line of a figure, as (x, y) points."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Figure:
    """Lines over a common axis, with `marks` as vertical lines; or `bars`, one number a name."""

    name: str  # of the file
    title: str
    x: str
    y: str
    series: tuple[Series, ...] = ()
    bars: Mapping[str, float] = field(default_factory=dict[str, float])
    marks: Mapping[str, float] = field(default_factory=dict[str, float])
    logarithmic: bool = True


@dataclass(frozen=True)
class Report:
    """`lines` are what a person reads first, `summary` holds the derived numbers for programs."""

    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    failures: tuple[str, ...] = ()  # claims that were checked and do not hold


def show(report: Report, console: Console) -> None:
    """Print the tables that belong on the screen, then the lines."""
    for table in report.tables:
        if table.screen and table.rows:
            console.print(grid(table))
    for line in report.lines:
        console.print(line, markup=False, highlight=False)
    for failure in report.failures:
        console.print(f"[bold red]FAILED[/] {escape(failure)}", highlight=False)


def save(report: Report, folder: Path, heading: str) -> None:
    """Write `table.md` and `figures/*.png` into the folder."""
    (folder / "table.md").write_text(markdown(report, heading), encoding="utf-8")
    (folder / "figures").mkdir(exist_ok=True)
    for figure in report.figures:
        draw(figure, folder / "figures" / f"{figure.name}.png")


def grid(table: Table) -> Grid:
    """The table as rich prints it, without its empty columns; numbers stand to the right."""
    shown = _filled_columns(table)
    result = Grid(title=escape(table.title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i in shown:
        numeric = all(not row[i] or row[i].removeprefix("about ")[0] in "0123456789-+" for row in table.rows)
        result.add_column(escape(table.columns[i]), justify="right" if numeric else "left")
    for row in table.rows:
        result.add_row(*(escape(row[i]) for i in shown))
    return result


def markdown(report: Report, heading: str) -> str:
    """All tables and lines as one page."""
    parts = [f"# {heading}", "\n".join(f"- {line}" for line in report.lines)]
    parts += [f"**FAILED** {failure}" for failure in report.failures]
    parts += [f"## {table.title}\n\n{markdown_table(table)}" for table in report.tables if table.rows]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """The table without its empty columns, in Markdown."""
    shown = _filled_columns(table)
    lines = [[table.columns[i] for i in shown], ["---"] * len(shown)]
    lines += [[row[i].replace("|", "\\|") for i in shown] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _filled_columns(table: Table) -> list[int]:
    return [i for i in range(len(table.columns)) if any(row[i] for row in table.rows)]


def draw(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; without pyplot, so that no state is left behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(8, max(5.0, 0.22 * len(figure.bars) + 1)), layout="constrained")
    FigureCanvasAgg(canvas)
    axes = canvas.add_subplot()
    if figure.bars:
        _draw_bars(figure, axes)
    else:
        _draw_lines(figure, axes)
    canvas.savefig(path, dpi=120)


def _draw_bars(figure: Figure, axes: Axes) -> None:
    names = list(figure.bars)[::-1]
    axes.barh(names, [figure.bars[name] for name in names], height=0.6)
    axes.set(title=figure.title, xlabel=figure.y, xscale="log" if figure.logarithmic else "linear")
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(alpha=0.3, axis="x", which="both", linewidth=0.4)


def _draw_lines(figure: Figure, axes: Axes) -> None:
    for i, series in enumerate(figure.series):
        x, y = zip(*series.points, strict=True) if series.points else ((), ())
        marker = MARKERS[i % len(MARKERS)] if len(x) <= MOST_MARKED else ""
        axes.plot(x, y, marker=marker, markersize=4, linewidth=1.3, label=series.name)
    for name, x in figure.marks.items():
        axes.axvline(x, linestyle="--", linewidth=0.8, color="0.4")
        axes.annotate(
            name, (x, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7, color="0.3"
        )
    if figure.logarithmic:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set(title=figure.title, xlabel=figure.x, ylabel=figure.y)
    axes.grid(alpha=0.3, which="both", linewidth=0.4)
    if figure.series:
        axes.legend(fontsize=8)


def seconds(value: float) -> str:
    """Three significant digits with the unit that suits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{digits(value / scale)} {unit}"
    return f"{digits(value / 1e-9)} ns"


def digits(value: float, count: int = 3) -> str:
    """So many significant digits, never in powers of ten for ordinary numbers."""
    if value == 0:
        return "0"
    text = f"{value:.{count}g}"
    return f"{float(text):,.0f}" if "e+" in text else text


def in_bytes(count: float) -> str:
    """A number of bytes, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
