"""The leaderboard on the screen and in files: CSV, Markdown, JSON."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from assay.sweep.leaderboard import METRICS, Entry, Group, Leaderboard, Row, mark
from assay.sweep.statistics import Spread

MOST_ROWS = 60  # on the screen; the files have them all


def number(value: float | None, metric: str) -> str:
    """Accuracies in percent, losses with four decimals."""
    if value is None:
        return ""
    return f"{value:.2%}" if metric.endswith("accuracy") else f"{value:.4f}"


def with_spread(found: Spread | None, metric: str) -> str:
    """`97.31 % ± 0.12`: the mean and its 95 % interval's half width."""
    if found is None:
        return ""
    if found.half_width is None:
        return number(found.mean, metric)
    scale, digits = (100, 2) if metric.endswith("accuracy") else (1, 4)
    return f"{number(found.mean, metric)} ± {found.half_width * scale:.{digits}f}"


def deviation(found: Spread | None, metric: str) -> str:
    if found is None or found.sd is None:
        return ""
    return f"{found.sd * 100:.2f}" if metric.endswith("accuracy") else f"{found.sd:.4f}"


def key_value(entry: Entry, key: str) -> str:
    return entry.sweep if key == "sweep" else entry.value(key)


def _metrics(board: Leaderboard, beside: Sequence[str] = ("test/accuracy",)) -> list[str]:
    """The columns of a job's metrics: what is sorted by, of the best epoch and the last one, then others."""
    last = [] if board.metric.startswith("test/") else [f"last {board.metric}"]
    return [*dict.fromkeys((board.metric, *last, *beside))]


def _measured(entry: Entry, column: str) -> float | None:
    name = column.removeprefix("last ")
    return entry.metric(name) if name == column else entry.last(name)


def header(board: Leaderboard) -> list[str]:
    """The columns of a job's row."""
    return [
        *("rank", "id", *board.keys, "status", *_metrics(board, METRICS)),
        *("epochs", "steps", "fit_seconds", "total_seconds", "samples_per_second", "reason"),
    ]


def cells(board: Leaderboard, row: Row) -> list[Any]:
    """A row's values, one for each column of `header`; None where there is none."""
    one = row.entry
    done = one.status == "completed"
    seconds = one.result.get("seconds", {}) if done else {}
    return [
        *(row.rank, one.id, *(key_value(one, key) for key in board.keys), one.status),
        *(_measured(one, name) for name in _metrics(board, METRICS)),
        *((one.result.get("epochs"), one.result.get("steps")) if done else (None, None)),
        *(seconds.get("fit"), seconds.get("total")),
        one.result.get("samples_per_second") if done else None,
        "; ".join((one.reason or "").splitlines()) or None,
    ]


def as_csv(board: Leaderboard) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header(board))
    writer.writerows(["" if cell is None else cell for cell in cells(board, row)] for row in board.rows)
    return text.getvalue()


def as_json(board: Leaderboard) -> str:
    """Rows and groups with full precision."""
    names = header(board)
    groups = [
        {
            "id": group.id,
            **{key: key_value(group.entries[0], key) for key in board.group_keys},
            "jobs": [one.id for one in group.entries],
            "completed": group.completed,
            "metrics": {name: asdict(found) for name, found in group.spreads.items()},
            "seconds": group.seconds,
            "best": group.is_best,
            "told_apart_from_best": group.is_apart,
        }
        for group in board.groups
    ]
    whole = {
        "metric": board.metric,
        "direction": board.direction,
        "rows": [dict(zip(names, cells(board, row), strict=True)) for row in board.rows],
        "groups": groups,
    }
    return json.dumps(whole, indent=2)


def group_header(board: Leaderboard) -> list[str]:
    return [*board.group_keys, "n", board.metric, "sd", *_tested(board), "seconds", ""]


def _tested(board: Leaderboard) -> list[str]:
    return [] if board.metric == "test/accuracy" else ["test/accuracy"]


def group_cells(board: Leaderboard, group: Group) -> list[str]:
    found = group.spreads.get(board.metric)
    jobs = str(found.n if found else 0)
    return [
        *(key_value(group.entries[0], key) for key in board.group_keys),
        jobs if group.completed == len(group.entries) else f"{jobs} of {len(group.entries)}",
        with_spread(found, board.metric),
        deviation(found, board.metric),
        *(with_spread(group.spreads.get(name), name) for name in _tested(board)),
        "" if group.seconds is None else f"{group.seconds:.1f}",
        mark(group),
    ]


def row_header(board: Leaderboard) -> list[str]:
    return ["", *board.keys, *_metrics(board), "epochs", "seconds", "status"]


def row_cells(board: Leaderboard, row: Row) -> list[str]:
    one, seconds = row.entry, row.entry.result.get("seconds", {}).get("total")
    done = one.status == "completed"
    reason = (one.reason or "").partition("\n")[0]
    return [
        str(row.rank or ""),
        *(key_value(one, key) for key in board.keys),
        *(number(_measured(one, name), name) for name in _metrics(board)),
        str(one.result.get("epochs", "")) if done else "",
        f"{seconds:.1f}" if done and seconds is not None else "",
        f"{one.status}: {reason}" if reason else one.status,
    ]


def as_markdown(board: Leaderboard) -> str:
    groups = _markdown(group_header(board), [group_cells(board, group) for group in board.groups])
    rows = _markdown(row_header(board), [row_cells(board, row) for row in board.rows])
    how = f"`{board.metric}`, {board.direction}; means over seeds with the half width of their 95 % interval"
    return f"# Leaderboard\n\n{how}\n\n{groups}\n\n{rows}\n"


def _markdown(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [names, ["---"] * len(names), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def show(board: Leaderboard, console: Console) -> None:
    """Groups where some have several seeds, then jobs; the best in bold, failures last."""
    if any(len(group.entries) > 1 for group in board.groups):
        grid = _grid("By config, over seeds (mean ± 95 % interval)", group_header(board))
        for group in board.groups:
            grid.add_row(*map(escape, group_cells(board, group)), style="bold" if group.is_best else None)
        console.print(grid)
    grid = _grid("Jobs", row_header(board))
    for row in board.rows[:MOST_ROWS]:
        style = "bold" if row.rank == 1 else "red" if row.entry.status in ("failed", "diverged") else None
        grid.add_row(*map(escape, row_cells(board, row)), style=style)
    console.print(grid)
    if len(board.rows) > MOST_ROWS:
        console.print(f"... and {len(board.rows) - MOST_ROWS} more, in leaderboard.csv")


def _grid(title: str, names: Sequence[str]) -> Table:
    grid = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    left = (
        "status",
        "",
        *(name for name in names if "/" not in name and name not in ("n", "epochs", "seconds", "sd")),
    )
    for name in names:
        grid.add_column(escape(name), justify="left" if name in left else "right", overflow="fold")
    return grid


def files(board: Leaderboard) -> dict[str, str]:
    """`leaderboard.csv`, `.md` and `.json`, as texts."""
    return {
        "leaderboard.csv": as_csv(board),
        "leaderboard.md": as_markdown(board),
        "leaderboard.json": as_json(board),
    }
