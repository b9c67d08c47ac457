"""What is written of a leaderboard: its cells as text, CSV, Markdown, JSON, and `report.html`.

The page opens offline and holds all it shows. matplotlib takes a second to import: only where it draws.
"""

from __future__ import annotations

import csv
import html
import io
import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from assay.config.redact import redact_text
from assay.sweep.grid import quoted
from assay.sweep.leaderboard import METRICS, Entry, Group, Leaderboard, Row, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_GROUPS = 10  # drawn, the best ones: more lines cannot be read
MOST_BARS = 60
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
Points = Mapping[int, float]  # by step


def number(value: float | None, metric: str) -> str:
    """Accuracies in percent, losses with four decimals."""
    if value is None:
        return ""
    return f"{value:.2%}" if metric.endswith("accuracy") else f"{value:.4f}"


def with_spread(spread: Spread | None, metric: str) -> str:
    """`97.31% ± 0.12`: the mean and its 95 % interval's half width."""
    if spread is None or spread.half_width is None:
        return number(spread.mean if spread else None, metric)
    scale, digits = (100, 2) if metric.endswith("accuracy") else (1, 4)
    return f"{number(spread.mean, metric)} ± {spread.half_width * scale:.{digits}f}"


def deviation(spread: Spread | None, metric: str) -> str:
    if spread is None or spread.sd is None:
        return ""
    return f"{spread.sd * 100:.2f}" if metric.endswith("accuracy") else f"{spread.sd:.4f}"


def _columns(board: Leaderboard, others: Sequence[str]) -> list[str]:
    """The metric that is sorted by, of the best epoch and of the last one, then others."""
    last = [] if board.metric.startswith("test/") else [f"last {board.metric}"]
    return [*dict.fromkeys((board.metric, *last, *others))]


def row_cells(board: Leaderboard, row: Row) -> dict[str, str]:
    """A job by column."""
    one, seconds = row.entry, row.entry.result.get("seconds", {}).get("total")
    done, reason = one.status == "completed", (one.reason or "").partition("\n")[0]
    return {
        "": str(row.rank or ""),
        **{key: one.value(key) for key in board.keys},
        **{name: number(one.metric(name), name) for name in _columns(board, ["test/accuracy"])},
        "epochs": str(one.result.get("epochs", "")) if done else "",
        "seconds": f"{seconds:.1f}" if done and seconds is not None else "",
        "status": f"{one.status}: {reason}" if reason else one.status,
    }


def group_cells(board: Leaderboard, group: Group) -> dict[str, str]:
    """A group of seeds by column."""
    spread = group.spreads.get(board.metric)
    n = str(spread.n if spread else 0)
    return {
        **{key: group.entries[0].value(key) for key in board.group_keys},
        "n": n if group.completed == len(group.entries) else f"{n} of {len(group.entries)}",
        board.metric: with_spread(spread, board.metric),
        "sd": deviation(spread, board.metric),
        "test/accuracy": with_spread(group.spreads.get("test/accuracy"), "test/accuracy"),
        "seconds": "" if group.seconds is None else f"{group.seconds:.1f}",
        "": group.note,
    }


def row_values(board: Leaderboard, row: Row) -> dict[str, Any]:
    """A job's raw values by column; None where there is none."""
    one = row.entry
    result = one.result if one.status == "completed" else {}
    return {
        "rank": row.rank,
        "id": one.id,
        **{key: one.value(key) for key in board.keys},
        "status": one.status,
        **{name: one.metric(name) for name in _columns(board, METRICS)},
        "epochs": result.get("epochs"),
        "steps": result.get("steps"),
        "fit_seconds": result.get("seconds", {}).get("fit"),
        "total_seconds": result.get("seconds", {}).get("total"),
        "samples_per_second": result.get("samples_per_second"),
        "reason": "; ".join((one.reason or "").splitlines()) or None,
    }


def group_values(board: Leaderboard, group: Group) -> dict[str, Any]:
    return {
        "id": group.id,
        **{key: group.entries[0].value(key) for key in board.group_keys},
        "jobs": [one.id for one in group.entries],
        "completed": group.completed,
        "metrics": {name: asdict(spread) for name, spread in group.spreads.items()},
        "seconds": group.seconds,
        "note": group.note,
        "comparison": asdict(group.comparison) if group.comparison else None,
    }


def files(board: Leaderboard) -> dict[str, str]:
    """`leaderboard.csv`, `.md` and `.json`, as texts; CSV and JSON with full precision."""
    rows = [row_values(board, row) for row in board.rows]
    groups = [group_values(board, group) for group in board.groups]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    whole = {"metric": board.metric, "direction": board.direction, "rows": rows, "groups": groups}
    return {
        "leaderboard.csv": text.getvalue(),
        "leaderboard.md": as_markdown(board),
        "leaderboard.json": json.dumps(whole, indent=2),
    }


def as_markdown(board: Leaderboard) -> str:
    groups = _markdown([group_cells(board, group) for group in board.groups])
    rows = _markdown([row_cells(board, row) for row in board.rows])
    how = f"`{board.metric}`, {board.direction}; means over seeds with the half width of their 95 % interval"
    return f"# Leaderboard\n\n{how}\n\n{groups}\n\n{rows}\n"


def _markdown(rows: Sequence[Mapping[str, str]]) -> str:
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(map(_escaped, line))} |" for line in lines)


def _escaped(cell: str) -> str:
    return html.escape(cell, quote=False).replace("|", "\\|").replace("\n", " ")


def render(board: Leaderboard, name: str, command: str) -> str:
    """The page as text. All that is a user's is escaped; our own figures alone are not."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    drawn = {
        "Curves": curves(board),
        f"Keys against {board.metric}": keys_against_metric(board),
        "Times": times(board),
    }
    return templates.get_template("report.html.j2").render(
        name=name,
        command=redact_text(command),
        board=board,
        groups=[group_cells(board, group) for group in board.groups],
        rows=[(row_cells(board, row), row.entry, reproduce(row.entry)) for row in board.rows],
        figures={title: Markup(svg(figure, title)) for title, figure in drawn.items() if figure},
        environment=environment(board),
    )


def reproduce(entry: Entry) -> str:
    """The command that runs this job alone, by the config in its folder, and compares."""
    return shlex.join(["python", "train.py", f"reproduce={quoted(entry.folder)}"])


def environment(board: Leaderboard) -> dict[str, str]:
    """What the jobs ran on and with; several values where they differ."""
    seen: dict[str, dict[str, None]] = {}
    for row in board.rows:
        for key, value in _environment(row.entry.result).items():
            seen.setdefault(key, {})[value] = None
    return {key: "; ".join(values) for key, values in seen.items()}


def _environment(result: Mapping[str, Any]) -> dict[str, str]:
    said: dict[str, str] = {}
    if device := result.get("device"):
        said["device"] = f"{device['accelerator']}: {device['name']}, {device['threads']} CPU threads, "
        said["device"] += str(device["precision"])
    if data := result.get("data"):
        said["data"] = f"{data['name']} (SHA-256 {str(data['sha256'])[:12]})"
    if git := result.get("git"):
        said["code"] = code_of(git)
    if process := result.get("process"):
        said["host"] = process["host"]
    return said | {name: str(version) for name, version in result.get("versions", {}).items()}


def code_of(git: Mapping[str, Any]) -> str:
    """A commit, and whether the code differed from it."""
    changed = f" with changes {git.get('diff') or ''}".rstrip() if git.get("dirty") else ""
    return f"{str(git['sha'])[:12]}{changed}"


def number_in(text: str) -> float | None:
    """The number that a text is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def read_curves(entry: Entry) -> dict[str, Points]:
    """The curves of a job, from its `metrics.csv`."""
    file = Path(entry.folder) / "metrics.csv"
    if not file.is_file():
        return {}
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: {int(row["step"]): float(row[name]) for row in rows if row.get(name)} for name in CURVES}


def band(curves: Sequence[Points]) -> dict[int, tuple[float, float, float]]:
    """Mean, least and most at each step that all the curves have."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    at = {step: [curve[step] for curve in curves] for step in steps}
    return {step: (statistics.fmean(values), min(values), max(values)) for step, values in at.items()}


def svg(figure: Figure, salt: str) -> str:
    """The figure as an `<svg>` element; the same figure gives the same text."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def curves(board: Leaderboard) -> Figure:
    """Each job as a thin line, the mean of its group as a thick one, between least and most."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.8), layout="constrained")
    groups = [group for group in board.groups if group.completed][:MOST_GROUPS]
    done = [[one for one in group.entries if one.status == "completed"] for group in groups]
    points = [[read_curves(one) for one in entries] for entries in done]
    for axes, name in zip(figure.subplots(1, 2), ("val/loss", "val/accuracy"), strict=True):
        for at, (entries, jobs) in enumerate(zip(done, points, strict=True)):
            label = ", ".join(f"{key}={entries[0].value(key)}" for key in board.group_keys) or "all jobs"
            _draw(axes, [job[name] for job in jobs if job.get(name)], f"C{at}", label)
        axes.set(xlabel="step", ylabel=name)
        axes.grid(alpha=0.3)
    if groups:
        figure.axes[0].legend(fontsize=8)
    return figure


def _draw(axes: Axes, jobs: Sequence[Points], color: str, label: str) -> None:
    for job in jobs:
        axes.plot(list(job), list(job.values()), color=color, linewidth=0.6, alpha=0.5)
    if bands := band(jobs):
        mean, low, high = zip(*bands.values(), strict=True)
        axes.plot(list(bands), mean, "o-", color=color, linewidth=2, markersize=4, label=label)
        axes.fill_between(list(bands), low, high, color=color, alpha=0.15, linewidth=0)


def keys_against_metric(board: Leaderboard) -> Figure | None:
    """One panel a key: its values along the bottom, each job's metric above; None where there is none."""
    keys = board.keys[:6]
    entries = [row.entry for row in board.rows]
    measured = [(one, value) for one in entries if (value := one.metric(board.metric)) is not None]
    if not keys or not measured:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(keys), sharey=True, squeeze=False)[0], keys, strict=True):
        texts = [one.value(key) for one, _ in measured]
        numbers = [number for text in texts if (number := number_in(text)) is not None]
        is_numeric = len(numbers) == len(texts)
        if is_numeric and min(numbers) > 0 and len(set(numbers)) > 2:
            axes.set_xscale("log")
        axes.plot(numbers if is_numeric else texts, [value for _, value in measured], "o", alpha=0.6)
        axes.set_xlabel(key)
        axes.margins(x=0.2)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(board.metric)
    return figure


def times(board: Leaderboard) -> Figure | None:
    """Seconds of each completed job: fitting, and all the rest; None where none completed."""
    done = [row.entry for row in board.rows if row.entry.status == "completed"][:MOST_BARS][::-1]
    if not done:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.8 + 0.24 * len(done)), layout="constrained")
    axes = figure.subplots()
    names = [" ".join(one.value(key) for key in board.keys) or one.id for one in done]
    fit = [one.result["seconds"]["fit"] or 0.0 for one in done]
    rest = [one.result["seconds"]["total"] - seconds for one, seconds in zip(done, fit, strict=True)]
    axes.barh(range(len(done)), fit, label="fitting")
    axes.barh(range(len(done)), rest, left=fit, color="0.8", label="starting, testing, figures")
    axes.set_yticks(range(len(done)), names, fontsize=8)
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8)
    return figure
