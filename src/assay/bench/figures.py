"""Figures as PNG files: lines with their points, marks as dashed verticals."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas

from assay.bench.report import Figure

SHAPES = "osD^vP*X<>"


def draw(figure: Figure, path: Path) -> None:
    """Write the figure; without pyplot, so that nothing is shown and no state is left behind."""
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
        shape = SHAPES[i % len(SHAPES)] if len(x) <= 50 else ""
        axes.plot(x, y, marker=shape, markersize=4, linewidth=1.3, label=series.name)
    for name, place in figure.marks.items():
        axes.axvline(place, linestyle="--", linewidth=0.8, color="0.4")
        axes.annotate(
            name, (place, 0.02), xycoords=("data", "axes fraction"), rotation=90, fontsize=7, color="0.3"
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
