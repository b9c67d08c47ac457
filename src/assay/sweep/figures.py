"""Pictures of a sweep as SVG, from the folders of its jobs: curves, keys against the metric, times."""

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from assay.sweep.leaderboard import Entry, Leaderboard
from assay.sweep.table import key_value
from assay.sweep.tensorboard import Points, band, read_curves

MOST_GROUPS = 10  # drawn, the best ones: more lines cannot be told apart
SHOWN = ("val/loss", "val/accuracy")


def svg(figure: Figure, salt: str) -> str:
    """The figure as an `<svg>` element; the same figure gives the same text."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def curves(board: Leaderboard) -> Figure:
    """Each job as a thin line, the mean of its group as a thick one, between least and most."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    groups = [group for group in board.groups if group.completed][:MOST_GROUPS]
    for axes, name in zip(figure.subplots(1, len(SHOWN)), SHOWN, strict=True):
        for at, group in enumerate(groups):
            done = [read_curves(one).get(name, {}) for one in group.entries if one.status == "completed"]
            _draw(axes, done, f"C{at}", _label(board, group.entries[0]))
        axes.set(xlabel="step", ylabel=name)
        axes.grid(alpha=0.3)
    if groups:
        figure.axes[0].legend(fontsize=8)
    return figure


def _draw(axes: Axes, jobs: Sequence[Points], color: str, label: str) -> None:
    found = [job for job in jobs if job]
    for job in found:
        axes.plot(list(job), list(job.values()), color=color, linewidth=0.6, alpha=0.5)
    bands = band(found)
    if bands:
        mean, low, high = zip(*bands.values(), strict=True)
        axes.plot(list(bands), mean, "o-", color=color, linewidth=2, markersize=4, label=label)
        axes.fill_between(list(bands), low, high, color=color, alpha=0.15, linewidth=0)


def _label(board: Leaderboard, entry: Entry) -> str:
    return ", ".join(f"{key}={key_value(entry, key)}" for key in board.group_keys) or "all jobs"


def keys_against_metric(board: Leaderboard) -> Figure | None:
    """One panel a key: its values along the bottom, each job's metric above; None where there is none."""
    keys = board.keys[:6]
    done = [row.entry for row in board.rows if row.entry.metric(board.metric) is not None]
    if not keys or not done:
        return None
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(keys), sharey=True, squeeze=False)[0], keys, strict=True):
        points = [(key_value(entry, key), entry.metric(board.metric) or 0.0) for entry in done]
        numbers = [_number(value) for value, _ in points]
        if all(number is not None and number > 0 for number in numbers) and len(set(numbers)) > 2:
            axes.set_xscale("log")
        known = [number for number in numbers if number is not None]
        along: list[float] | list[str] = (
            known if len(known) == len(points) else [value for value, _ in points]
        )
        axes.plot(along, [value for _, value in points], "o", color="C0", alpha=0.6)
        axes.set_xlabel(key)
        axes.margins(x=0.2)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(board.metric)
    return figure


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def times(board: Leaderboard) -> Figure | None:
    """Seconds of each completed job: fitting, and all the rest; None where none completed."""
    done = [row.entry for row in board.rows if row.entry.status == "completed"][::-1]
    if not done:
        return None
    figure = Figure(figsize=(10, 0.8 + 0.24 * len(done)), layout="constrained")
    axes = figure.subplots()
    names = [" ".join(key_value(one, key) for key in board.keys) or one.id for one in done]
    fit = [one.result["seconds"]["fit"] or 0.0 for one in done]
    rest = [one.result["seconds"]["total"] - seconds for one, seconds in zip(done, fit, strict=True)]
    places = list(range(len(done)))
    axes.barh(places, fit, label="fitting")
    axes.barh(places, rest, left=fit, color="0.8", label="starting, testing, figures")
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8)
    return figure
