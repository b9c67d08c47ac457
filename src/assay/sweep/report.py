"""`report.html`: a sweep on one page that opens offline and holds all it shows."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from assay.config.redact import redact_text
from assay.sweep import figures
from assay.sweep.leaderboard import Entry, Leaderboard
from assay.sweep.table import group_cells, group_header, row_cells, row_header
from assay.training.atomic import write_durably

TEMPLATES = Path(__file__).parent


def write_report(board: Leaderboard, root: Path, command: str) -> None:
    """The page, from the leaderboard and the folders of its jobs."""
    write_durably(root / "report.html", render(board, root.name, command).encode())


def render(board: Leaderboard, name: str, command: str) -> str:
    """The page as text. All that is a user's is escaped; our own figures alone are not."""
    templates = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    drawn = {
        "Curves": figures.curves(board),
        f"Keys against {board.metric}": figures.keys_against_metric(board),
        "Times": figures.times(board),
    }
    return templates.get_template("report.html.j2").render(
        name=name,
        command=redact_text(command),
        board=board,
        groups=[group_cells(board, group) for group in board.groups],
        group_header=group_header(board),
        rows=[(row_cells(board, row), row.entry, reproduce(row.entry)) for row in board.rows],
        row_header=row_header(board),
        figures={
            title: Markup(figures.svg(figure, title)) for title, figure in drawn.items() if figure is not None
        },
        environment=environment(board),
    )


def reproduce(entry: Entry) -> str:
    """The command that runs this job alone, by the config in its folder, and compares."""
    return shlex.join(["python", "train.py", f"reproduce={entry.folder}"])


def environment(board: Leaderboard) -> dict[str, str]:
    """What the jobs ran on and with; several values where they differ."""
    results = [row.entry.result for row in board.rows if row.entry.result]
    seen: dict[str, dict[str, None]] = {}
    for result in results:
        for key, value in _facts(result).items():
            seen.setdefault(key, {})[value] = None
    return {key: "; ".join(values) for key, values in seen.items()}


def _facts(result: Mapping[str, Any]) -> dict[str, str]:
    device, git, data = result.get("device"), result.get("git"), result.get("data")
    facts: dict[str, str] = {}
    if device:
        facts["device"] = f"{device['accelerator']}: {device['name']}, {device['threads']} CPU threads, "
        facts["device"] += str(device["precision"])
    if data:
        facts["data"] = f"{data['name']} (SHA-256 {str(data['sha256'])[:12]})"
    if git:
        changed = f" with changes {git.get('diff') or ''}".rstrip() if git["dirty"] else ""
        facts["code"] = f"{git['sha'][:12]}{changed}"
    if "process" in result:
        facts["host"] = result["process"]["host"]
    return facts | {name: str(version) for name, version in result.get("versions", {}).items()}
