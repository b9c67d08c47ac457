"""What is written of a leaderboard: its cells as text, CSV, Markdown, JSON, and `report.html`.

The page opens offline and holds all it shows.
"""

import csv
import html
import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from assay.config.redact import redact_text
from assay.sweep.grid import quoted
from assay.sweep.leaderboard import METRICS, Entry, Group, Leaderboard, Row, Spread


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
    from assay.sweep.views import svg_figures  # matplotlib, which takes a second

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return templates.get_template("report.html.j2").render(
        name=name,
        command=redact_text(command),
        board=board,
        groups=[group_cells(board, group) for group in board.groups],
        rows=[(row_cells(board, row), row.entry, reproduce(row.entry)) for row in board.rows],
        figures={title: Markup(svg) for title, svg in svg_figures(board).items()},
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
