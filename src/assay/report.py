"""What there is to say of a record, as data: lines, tables, figures; and how to show and save them.

A bench and a sweep build these values from what they have on disk. Nothing here measures or decides; torch is
not needed, and matplotlib is imported only when a figure is drawn.
"""

from __future__ import annotations

import html
import io
import re
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table as Grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MARKERS = "osD^vP*X<>"
MOST_MARKED = 50  # points of a line that get a marker each
WIDTH = 160  # of what is not a terminal
NARROWEST = 24  # a last column of prose gets so much before other columns are left out
SHORTEST = 10  # what is left of a name that is cut
BLANKS = 3  # between two columns
NUMBER = re.compile(r"[-+]?\d[\d.,]*\S{0,4}(\s|$)")  # with its unit, if it has one; not a date or an id


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


def show(report: Report, console: Console) -> None:
    """Print the tables that belong on the screen, then the lines."""
    for table in report.tables:
        if table.screen and table.rows:
            console.print(grid(table, console.width))
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


def grid(table: Table, width: int) -> Grid:
    """The table as rich prints it in so many columns of a screen; numbers stand to the right.

    Empty columns are left out, and spare ones where there is no room for them. What is too wide then wraps at
    its blanks, the last column first; a name that is too long even so loses its middle, a number nothing.
    """
    table, widths = _fitted(table, width)
    result = Grid(
        title=escape(table.title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    for i, name in enumerate(table.columns):
        justify = "right" if _is_numeric(table, i) else "left"
        heading = name if cell_len(name) <= widths[i] or " " in name else name.rpartition(".")[2]  # of a key
        result.add_column(escape(cut(heading, widths[i])), justify=justify, width=widths[i])
    for row, style in zip(table.rows, table.styles or ("",) * len(table.rows), strict=True):
        result.add_row(*(escape(cut(cell, widths[i])) for i, cell in enumerate(row)), style=style)
    return result


def _fitted(table: Table, width: int) -> tuple[Table, list[int]]:
    """The table with the columns that there is room for, and how wide each of them is."""
    fitted, spare = table.without(*_empty_columns(table)), list(table.spare)
    while True:
        cells = [(name, *(row[i] for row in fitted.rows)) for i, name in enumerate(fitted.columns)]
        widths, room = [max(map(cell_len, column)) for column in cells], width - BLANKS * len(cells) + 1
        if not (spare and widths) or sum(widths) - max(0, widths[-1] - NARROWEST) <= room:
            break
        fitted = fitted.without(spare.pop(0))
    if not cells:
        return fitted, []
    words, last = [_longest_word(column) for column in cells], len(cells) - 1
    prose = [*words[:-1], max(words[-1], NARROWEST)]
    names = [
        max(_longest_word(cells[i][1:]), SHORTEST // 2) if _is_numeric(fitted, i) else min(word, SHORTEST)
        for i, word in enumerate(words)
    ]
    for least, columns in ((prose, [last]), (words, range(last + 1)), (names, range(last + 1))):
        while sum(widths) > room and (slack := [i for i in columns if widths[i] > least[i]]):
            widths[max(slack, key=widths.__getitem__)] -= 1
    return fitted, widths


def _longest_word(cells: Sequence[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column].removeprefix("about ") for row in table.rows]
    return all(cell in ("", "-") or NUMBER.match(cell) for cell in cells)


def cut(text: str, width: int) -> str:
    """The text with its longest words shortened in their middles to the width."""

    def word(word: str) -> str:
        kept = width - 1
        return f"{word[: kept - kept // 2]}…{word[len(word) - kept // 2 :]}" if len(word) > width else word

    return " ".join(map(word, text.split(" ")))


def on_a_line(parts: Sequence[tuple[int, str]], width: int, between: str = "  ") -> list[str]:
    """Each part's text if there is room for it, those of the least rank first, else nothing."""
    kept, left = [""] * len(parts), width + len(between)
    for i in sorted(range(len(parts)), key=lambda i: parts[i][0]):
        text = parts[i][1]
        if text and cell_len(text) + len(between) <= left:
            kept[i], left = text, left - cell_len(text) - len(between)
    return kept


def screen() -> Console:
    """Standard output with a terminal's own width; in a file, wide enough for a table."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


@contextmanager
def waiting(text: str) -> Generator[None]:
    """Say on a terminal what takes its time inside the block; it leaves nothing behind."""
    console, both = Console(stderr=True), sys.stdout.isatty()  # what else is printed goes above it
    with Live(Spinner("dots", text), console=console, transient=True, redirect_stdout=both):
        yield


def markdown(report: Report, heading: str) -> str:
    """All tables and lines as one page."""
    parts = [f"# {heading}", "\n".join(f"- {line}" for line in report.lines)]
    parts += [f"**FAILED** {failure}" for failure in report.failures]
    parts += [f"## {table.title}\n\n{markdown_table(table)}" for table in report.tables if table.rows]
    return "\n\n".join(part for part in parts if part) + "\n"


def markdown_table(table: Table) -> str:
    """The table without its empty columns, in Markdown; what a person typed is no markup in it."""
    table = table.without(*_empty_columns(table))
    lines = [list(table.columns), ["---"] * len(table.columns)]
    lines += [[html.escape(cell, quote=False).replace("|", "\\|") for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _empty_columns(table: Table) -> list[str]:
    return [name for i, name in enumerate(table.columns) if not any(row[i] for row in table.rows)]


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
        FigureCanvasSVG(canvas).print_svg(text, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


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
        return "" if value is None else str(value)
    if name.endswith("accuracy"):
        return f"{value:.2%}"
    return f"{value:.1f}" if name.endswith("seconds") else f"{value:.4f}"


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
