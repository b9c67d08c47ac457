"""What is written of a leaderboard: tables for people, CSV and JSON for programs, and `report.html`.

The page opens offline and holds all it shows.
"""

import csv
import io
import json
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from assay.config.redact import redact_text
from assay.report import Figure, Report, Series, Table, as_text, markdown, svg
from assay.report import page as html_page
from assay.run.report import Curve, environment_of, read_curves
from assay.sweep.grid import label, quoted
from assay.sweep.job import Entry
from assay.sweep.leaderboard import Leaderboard, Spread

MOST_GROUPS = 10  # drawn, the best ones: more lines cannot be read
MOST_BARS = 60
MOST_KEYS = 6


def _with_interval(name: str, spread: Spread | None) -> str:
    """`97.31% ± 0.12`: the mean and its 95 % interval's half width."""
    if spread is None or spread.half_width is None:
        return as_text(name, spread and spread.mean)
    return f"{as_text(name, spread.mean)} ± {as_text(name, spread.half_width).rstrip('%')}"


def jobs_of(board: Leaderboard) -> list[dict[str, Any]]:
    """Each job's values by column; None where there is none."""
    last = [] if board.metric.startswith("test/") else [f"last {board.metric}"]
    metrics = dict.fromkeys((board.metric, *last, *board.metrics))
    return [
        {
            "rank": None if one.metric(board.metric) is None else at,
            "id": one.id,
            **{key: one.value(key) for key in board.keys},
            "status": one.status,
            **{name: one.metric(name) for name in metrics},
            **{name: one.result.get(name) if one.is_over else None for name in ("epochs", "steps")},
            "fit_seconds": one.result["seconds"].get("fit") if one.seconds else None,
            "total_seconds": one.seconds,
            "samples_per_second": one.result.get("samples_per_second") if one.seconds else None,
            "reason": "; ".join((one.error or "").splitlines()) or None,
        }
        for at, one in enumerate(board.entries, start=1)
    ]


def groups_of(board: Leaderboard) -> list[dict[str, Any]]:
    return [
        {
            "id": group.id,
            **{key: group.entries[0].value(key) for key in board.group_keys},
            "jobs": [one.id for one in group.entries],
            "completed": len(group.completed),
            "metrics": {name: asdict(spread) for name, spread in group.spreads.items()},
            "seconds": group.seconds,
            "note": group.note,
            "comparison": asdict(group.comparison) if group.comparison else None,
        }
        for group in board.groups
    ]


def jobs_table(board: Leaderboard, most: int | None = None) -> Table:
    """The best first, failures last."""
    jobs = jobs_of(board)[:most]
    metrics = [one for one in (board.metric, f"last {board.metric}") if one in jobs[0]]
    names = ["rank", *board.keys, *dict.fromkeys([*metrics, *({board.test_metric} & jobs[0].keys())])]
    names += ["epochs", "total_seconds", "status", "reason"]
    red = ["red" if one.failed else "" for one in board.entries]
    return Table(
        "Jobs",
        tuple({"rank": "", "total_seconds": "seconds"}.get(name, name) for name in names),
        tuple(tuple(as_text(name, job[name]) for name in names) for job in jobs),
        styles=tuple("bold" if job["rank"] == 1 else red[at] for at, job in enumerate(jobs)),
    )


def groups_table(board: Leaderboard) -> Table:
    """The best first, with mean and interval over seeds."""
    metric, rows = board.metric, list[dict[str, str]]()
    for group in board.groups:
        spread, n, done = group.spreads.get(metric), len(group.entries), len(group.completed)
        cells = {key: group.entries[0].value(key) for key in board.group_keys}
        cells["n"] = str(spread.n if spread else 0) + (f" of {n}" if done < n else "")
        cells[metric] = _with_interval(metric, spread)
        cells["sd"] = as_text(metric, spread and spread.sd).rstrip("%")
        cells[board.test_metric] = _with_interval(metric, group.spreads.get(board.test_metric))
        rows.append(cells | {"seconds": as_text("seconds", group.seconds), "": group.note})
    title = "By config, over seeds (mean ± 95 % interval)"
    styles = tuple("bold" if group.note == "best" else "" for group in board.groups)
    return Table(title, tuple(rows[0]), tuple(tuple(row.values()) for row in rows), styles=styles)


def files(board: Leaderboard) -> dict[str, str]:
    """`leaderboard.csv`, `.md` and `.json`, as texts; CSV and JSON with full precision."""
    jobs, text = jobs_of(board), io.StringIO()
    writer = csv.DictWriter(text, list(jobs[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(jobs)
    whole = {"metric": board.metric, "direction": board.direction, "rows": jobs, "groups": groups_of(board)}
    how = f"`{board.metric}`, {board.direction}; means over seeds with the half width of their 95 % interval"
    report = Report(lines=(how,), tables=(groups_table(board), jobs_table(board)))
    return {
        "leaderboard.csv": text.getvalue(),
        "leaderboard.md": markdown(report, "Leaderboard"),
        "leaderboard.json": json.dumps(whole, indent=2),
    }


def page(board: Leaderboard, name: str, command: str, search: Mapping[str, Sequence[Figure]]) -> str:
    """`report.html` as text, with a search's figures. All that is a user's is escaped; figures are not."""
    jobs = jobs_table(board).without("reason")
    ids = tuple((*row, one.id) for row, one in zip(jobs.rows, board.entries, strict=True))
    failures = [(one.id, one.status, one.error or "", f"{one.folder}/log.txt") for one in board.failures]
    return html_page(
        "sweep/report.html.j2",
        name=name,
        command=redact_text(command),
        board=board,
        groups=groups_table(board),
        jobs=Table("Jobs", ("rank", *jobs.columns[1:], "id"), ids, styles=jobs.styles),
        links={one.id: link for one in board.entries if (link := _report_of(one))},
        figures={title: Markup(svg(row)) for title, row in {**search, **figures(board)}.items() if row},
        more=[
            Table("What did not complete", ("id", "status", "reason", "log"), tuple(failures)),
            Table("Run one of them again", ("id", "command"), tuple(map(_again, board.entries))),
            Table("Environment", ("", "of the jobs"), tuple(environment(board).items())),
        ],
    )


def _report_of(entry: Entry) -> str | None:
    """The address of a job's own page, seen from the sweep's; the job draws it when its result is known."""
    file = entry.folder / "report.html"
    is_there = entry.status == "completed" or file.is_file()
    return quote(file.relative_to(entry.folder.parents[1]).as_posix()) if is_there else None


def _again(entry: Entry) -> tuple[str, str]:
    """The command that runs this job alone, by the config in its folder, and compares."""
    return entry.id, shlex.join(["python", "train.py", f"reproduce={quoted(str(entry.folder))}"])


def environment(board: Leaderboard) -> dict[str, str]:
    """What the jobs ran on and with; several values where they differ."""
    seen: dict[str, dict[str, None]] = {}
    for entry in board.entries:
        for key, said in environment_of(entry.result).items():
            seen.setdefault(key, {})[said] = None
    return {key: "; ".join(values) for key, values in seen.items()}


def code_of(git: Mapping[str, Any]) -> str:
    """A commit, and whether the code differed from it."""
    changed = f" with changes {git.get('diff') or ''}".rstrip() if git.get("dirty") else ""
    return f"{str(git['sha'])[:12]}{changed}"


def mean_of(curves: Sequence[Curve]) -> dict[int, tuple[float, float, float]]:
    """Mean, least and most at each step that all the curves have."""
    steps = sorted(set.intersection(*map(set[int], curves)))
    at = {step: [curve[step] for curve in curves] for step in steps}
    return {step: (statistics.fmean(values), min(values), max(values)) for step, values in at.items()}


def numbers_in(texts: Sequence[str]) -> Sequence[float | str]:
    """The numbers that the texts are; the texts where not all of them are."""
    try:
        return [float(text) for text in texts]
    except ValueError:
        return texts


def figures(board: Leaderboard) -> dict[str, list[Figure]]:
    """Those of the page by title; several stand side by side."""
    done = [one for one in board.entries if one.seconds is not None][:MOST_BARS]
    name_of = {one.id: " ".join(map(one.value, board.keys)) or one.id for one in done}
    fit = {name_of[one.id]: one.result["seconds"]["fit"] or 0.0 for one in done}
    rest = {name_of[one.id]: (one.seconds or 0.0) - fit[name_of[one.id]] for one in done}
    what = "fitting, then all else: starting, testing, figures"
    times = Figure("times", what, "", "seconds", bars=fit, rest=rest, logarithmic=False)
    return {
        "Curves": [_curves(board, metric) for metric in board.curves[len(board.curves) // 2 :]],
        f"Keys against {board.metric}": [
            _key_against_metric(board, key) for key in board.keys[:MOST_KEYS] if done
        ],
        "Times": [times] if done else [],
    }


def _curves(board: Leaderboard, metric: str) -> Figure:
    """Each group as its mean over its jobs."""
    series: list[Series] = []
    for group in [group for group in board.groups if group.completed][:MOST_GROUPS]:
        curves = [read_curves(one.folder, [metric])[metric] for one in group.completed]
        mean = tuple((step, mean) for step, (mean, _, _) in mean_of(curves).items())
        name = label(group.entries[0].overrides, board.group_keys) or "all jobs"
        series.append(Series(name, mean, tuple(tuple(curve.items()) for curve in curves if curve)))
    return Figure("curves", "", "step", metric, tuple(series), logarithmic=False, from_zero=False)


def _key_against_metric(board: Leaderboard, key: str) -> Figure:
    """Each job that has the metric as a point."""
    jobs = [one for one in board.entries if one.metric(board.metric) is not None]
    values: Sequence[Any] = numbers_in([one.value(key) for one in jobs])
    measured = [one.metric(board.metric) or 0.0 for one in jobs]
    log_x = len(set(values)) > 2 and all(isinstance(value, float) and value > 0 for value in values)
    series = (Series("", tuple(zip(values, measured, strict=True)), joined=False),)
    return Figure("keys", "", key, board.metric, series, logarithmic=False, log_x=log_x, from_zero=False)
