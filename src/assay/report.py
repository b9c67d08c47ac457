"""What there is to say of a record, as data: lines, tables, figures; and how to save them.

A bench and a sweep build these values from what they have on disk. Nothing here measures or decides; torch is
not needed, and matplotlib is imported only when a figure is drawn.
"""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MARKERS = "osD^vP*X<>"
MOST_MARKED = 50  # points of a line that get a marker each


@dataclass(frozen=True)
class Table:
    """Cells as text; `screen` is False for a table that stands in `table.md` alone.

    `spare` are the columns that a narrow screen does without, the least important first.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    screen: bool = True
    styles: tuple[str, ...] = ()  # of the rows, as rich names them
    spare: tuple[str, ...] = ()

    @property
    def empty_columns(self) -> list[str]:
        return [name for i, name in enumerate(self.columns) if not any(row[i] for row in self.rows)]

    def without(self, *columns: str) -> Table:
        kept = [i for i, name in enumerate(self.columns) if name not in columns]
        rows = tuple(tuple(row[i] for i in kept) for row in self.rows)
        return replace(self, columns=tuple(self.columns[i] for i in kept), rows=rows)


Points = tuple[tuple[float | str, float], ...]


@dataclass(frozen=True)
class Series:
    """One line of a figure, as (x, y) points; or the mean of `parts`, drawn thin with their range shaded."""

    name: str
    points: Points
    parts: tuple[Points, ...] = ()
    joined: bool = True  # by a line


@dataclass(frozen=True)
class Figure:
    """Lines over a common axis, with `marks` as vertical lines; or `bars`, a number a name, `rest` on top."""

    name: str  # of the file
    title: str
    x: str
    y: str
    series: tuple[Series, ...] = ()
    bars: Mapping[str, float] = field(default_factory=dict[str, float])
    rest: Mapping[str, float] = field(default_factory=dict[str, float])
    marks: Mapping[str, float] = field(default_factory=dict[str, float])
    logarithmic: bool = True
    log_x: bool = False  # only the axis along the bottom
    from_zero: bool = True  # where the axis is not logarithmic


@dataclass(frozen=True)
class Report:
    """`lines` are what a person reads first, `summary` holds the derived numbers for programs."""

    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict[str, Any])
    failures: tuple[str, ...] = ()  # claims that were checked and do not hold


def save(report: Report, folder: Path, heading: str) -> None:
    """Write `table.md` and `figures/*.png` into the folder."""
    (folder / "table.md").write_text(markdown(report, heading), encoding="utf-8")
    (folder / "figures").mkdir(exist_ok=True)
    for figure in report.figures:
        draw(figure, folder / "figures" / f"{figure.name}.png")


def markdown(report: Report, heading: str) -> str:
    """All tables and lines as one page."""
    parts = [f"# {heading}", "\n".join(f"- {line}" for line in report.lines)]
    parts += [f"**FAILED** {failure}" for failure in report.failures]
    parts += [f"## {table.title}\n\n{markdown_table(table)}" for table in report.tables if table.rows]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """The table without its empty columns, in Markdown; what a person typed is no markup in it."""
    table = table.without(*table.empty_columns)
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[html.escape(cell, quote=False).replace("|", "\\|") for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def draw(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; without pyplot, so that no state is left behind."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = _canvas([figure], (8, max(5.0, 0.22 * len(figure.bars) + 1)))
    FigureCanvasAgg(canvas)
    canvas.savefig(path, dpi=120)


def svg(figures: Sequence[Figure]) -> str:
    """The figures side by side as an `<svg>` element; the same ones give the same text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    style: Any = {"svg.hashsalt": figures[0].name, "svg.fonttype": "none", "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        canvas = _canvas(figures, (10, max(3.8, 0.24 * len(figures[0].bars) + 0.8)))
        if len(figures) <= 2 and not figures[0].bars:  # to compute margins takes longer than to draw
            canvas.set_layout_engine(None)
            canvas.subplots_adjust(left=0.08, right=0.98, bottom=0.14, top=0.95, wspace=0.2)
        FigureCanvasSVG(canvas).print_svg(text, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def page(template: str, **values: Any) -> str:
    """An HTML page that opens offline, by a template under `src/assay`; all but `Markup` is escaped."""
    return _templates().get_template(template).render(values)


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    folder = FileSystemLoader(Path(__file__).parent)
    return Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True)


def _canvas(figures: Sequence[Figure], inches: tuple[float, float]) -> Canvas:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=inches, layout="constrained")
    for axes, figure in zip(canvas.subplots(1, len(figures), squeeze=False)[0], figures, strict=True):
        if figure.bars:
            _draw_bars(figure, axes)
        else:
            _draw_lines(figure, axes)
    return canvas


def _draw_bars(figure: Figure, axes: Axes) -> None:
    names = list(figure.bars)[::-1]
    lengths = [figure.bars[name] for name in names]
    axes.barh(names, lengths, height=0.6)
    if figure.rest:
        axes.barh(names, [figure.rest[name] for name in names], left=lengths, height=0.6, color="0.8")
    axes.set(title=figure.title, xlabel=figure.y, xscale="log" if figure.logarithmic else "linear")
    axes.tick_params(axis="y", labelsize=7)
    axes.grid(alpha=0.3, axis="x", which="both", linewidth=0.4)


def _draw_lines(figure: Figure, axes: Axes) -> None:
    for i, series in enumerate(figure.series):
        _draw_series(series, i, axes)
    for name, x in figure.marks.items():
        axes.axvline(x, linestyle="--", linewidth=0.8, color="0.4")
        axes.annotate(
            name, (x, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7, color="0.3"
        )
    if figure.logarithmic:
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
    elif figure.log_x:
        axes.set_xscale("log")
    if figure.from_zero and not figure.logarithmic:
        axes.set_ylim(bottom=0)
    axes.set(title=figure.title, xlabel=figure.x, ylabel=figure.y)
    axes.grid(alpha=0.3, which="both", linewidth=0.4)
    if any(series.name for series in figure.series):
        axes.legend(fontsize=8)


def _draw_series(series: Series, at: int, axes: Axes) -> None:
    x, y = zip(*series.points, strict=True) if series.points else ((), ())
    marker = MARKERS[at % len(MARKERS)] if len(x) <= MOST_MARKED or not series.joined else ""
    line, color = "-" if series.joined else "none", f"C{at}"
    axes.plot(
        x, y, marker=marker, markersize=4, linewidth=1.3, linestyle=line, color=color, label=series.name
    )
    for part in series.parts:
        axes.plot(*zip(*part, strict=True), color=color, linewidth=0.6, alpha=0.5)
    if series.parts:
        values = [[dict(part)[place] for part in series.parts] for place in x]
        axes.fill_between(x, [*map(min, values)], [*map(max, values)], color=color, alpha=0.15, linewidth=0)


def as_text(name: str, value: Any) -> str:
    """The value of a metric: accuracies in percent, seconds with one decimal, others with four."""
    if not isinstance(value, float):
        return "" if value is None else shortened(str(value))
    if name.endswith("accuracy"):
        return f"{value:.2%}"
    if name.endswith("seconds"):
        return f"{value:.1f}"
    return f"{value:.4f}" if not value or abs(value) >= 0.001 else f"{value:.3g}"


def shortened(text: str) -> str:
    """A number with many digits with six of them, as a search draws it; any other text as it is."""
    try:
        return f"{float(text):.6g}" if "." in text and len(text) > 8 else text
    except ValueError:
        return text


def seconds(value: float) -> str:
    """Three significant digits with the unit that suits."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if value >= scale:
            return f"{digits(value / scale)} {unit}"
    return f"{digits(value / 1e-9)} ns"


def duration(value: float) -> str:
    """Seconds as a person says them: `9.5 s`, `75 s`, `12 min`, `3 h`, `8 d`."""
    for unit, scale, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if value < scale * most:
            return f"{digits(value / scale, 2)} {unit}"
    return f"{value / 86_400:,.0f} d"


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
