"""What there is under `output_dir`: the list of runs and sweeps, and the best run of a sweep.

All of it is read from the folders; torch is not needed.
"""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from assay.config.explain import key_of
from assay.config.messages import nearest
from assay.errors import UserError
from assay.report import Table, as_text, duration
from assay.run.folder import RunFolder
from assay.sweep.job import Entry, Manifest, SweepFolder
from assay.sweep.leaderboard import entries_of
from assay.terminal import cut, grid

MOST_ROWS, LONGEST = 40, 34  # rows, and characters of a name, on a terminal
UNLIMITED = 10_000  # characters of a line in a pipe
COLUMNS = ("name", "best", "metric", "status", "age", "took", "changed")
SPARE = ("took", "metric", "changed", "age")


@dataclass(frozen=True)
class Row:
    """A run or a sweep as the list shows it."""

    name: str
    status: str
    began: float  # a moment, in seconds since 1970; of a sweep when its last job began
    changed: str = ""  # from the defaults, as typed
    metric: str = ""
    value: float | None = None
    seconds: float | None = None  # that it took, a sweep's jobs together

    def cells(self, longest: int) -> tuple[str, ...]:
        """In the order of `COLUMNS`, with so much of the name."""
        metric, age = self.metric if self.value is not None else "", max(0.0, time.time() - self.began)
        best, took = as_text(metric, self.value), duration(self.seconds) if self.seconds else ""
        return cut(self.name, longest), best, metric, self.status, duration(age), took, self.changed


def print_runs(output_dir: Path, words: Sequence[str]) -> None:
    """`python train.py runs [word ...]`: all that has each of the words, the newest first.

    A terminal gets what it has room for, a pipe all of it: one line each.
    """
    every = [_run(path) for path in _folders(output_dir / "runs")]
    every += [_sweep(path) for path in _folders(output_dir / "sweeps")]
    shown = [row for row in every if all(word in f"{row.name} {row.changed} {row.status}" for word in words)]
    if not every:
        print(f"no runs in {output_dir} yet; to make one: python train.py")
    elif not shown:
        print(f"none of the {len(every)} in {output_dir} has {' and '.join(words)}")
    else:
        shown.sort(key=lambda row: row.began, reverse=True)
        _show(shown, sys.stdout.isatty())


def _show(rows: Sequence[Row], on_terminal: bool) -> None:
    console = Console(width=None if on_terminal else UNLIMITED, highlight=False)
    longest, most = (LONGEST, MOST_ROWS) if on_terminal else (UNLIMITED, len(rows))
    cells = tuple(row.cells(longest) for row in rows[:most])
    console.print(grid(Table("", COLUMNS, cells, spare=SPARE), console.width), crop=False)
    if len(rows) > most:
        print(f"... and {len(rows) - most} older ones: name a word that they have, or `runs | less`")
    if any(len(row.name) > longest for row in rows[:most]):
        print("whole names: runs | cat")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("[!.]*") if path.is_dir())


def _run(path: Path) -> Row:
    try:
        folder = RunFolder.open(path)
    except UserError:
        return Row(path.name, "damaged", path.stat().st_mtime)
    result, moment = folder.result, _moment(folder.result, path)
    if not result:  # it was killed in its first moment
        return Row(path.name, folder.status, moment)
    metrics, metric = result["metrics"], str(result.get("metric") or "val/accuracy")
    metric = metric if metric in metrics else f"test/{metric.partition('/')[2]}"
    changed, seconds = " ".join(_described(result)), result["seconds"]["total"]
    return Row(path.name, folder.status, moment, changed, metric, metrics.get(metric), seconds)


def _described(result: Mapping[str, Any]) -> list[str]:
    """What was changed; of a run without training also of which run its weights are."""
    changed, ckpt = _changed(result["overrides"]), Path(result["checkpoint"] or "")
    stages = next((word.partition("=")[2] for word in changed if key_of(word) == "stages"), "fit")
    if "fit" in stages:
        return changed
    of = ckpt.parents[1] if ckpt.parent.name == "checkpoints" else ckpt
    return [f"{stages.strip('[]')} of {of.name}", *_changed(changed, but=("stages", "ckpt"))]


def _sweep(path: Path) -> Row:
    try:
        manifest = SweepFolder(path).manifest
        typed = shlex.split(manifest.command) if manifest else []
    except (UserError, ValueError):
        manifest, typed = None, []
    if manifest is None:
        return Row(path.name, "damaged", path.stat().st_mtime)
    jobs = list(SweepFolder(path).entries(manifest.jobs).values())
    metric, count = manifest.by.metric, Counter(job.status for job in jobs)
    others = [f"{count[status]} {status}" for status in count if status != "completed"]
    status = ", ".join([f"{count['completed']}/{len(jobs)} completed", *others])
    changed = _changed(word for word in typed if "=" in word)
    moment = max((_moment(job.result, path) for job in jobs if job.result), default=path.stat().st_mtime)
    best, seconds = _best(jobs, manifest), sum(job.seconds or 0.0 for job in jobs)
    return Row(path.name, status, moment, " ".join(changed), metric, best and best.metric(metric), seconds)


def _changed(overrides: Iterable[str], but: Sequence[str] = ("output_dir", "resume")) -> list[str]:
    return [word for word in overrides if key_of(word) not in but]


def _moment(result: Mapping[str, Any], path: Path) -> float:
    """When a run last began, by its result, else by its folder."""
    try:
        return datetime.fromisoformat(result["started"]).timestamp()
    except (KeyError, TypeError, ValueError):
        return path.stat().st_mtime


def _best(jobs: Sequence[Entry], manifest: Manifest) -> Entry | None:
    """The job that the leaderboard has first; None where none has completed."""
    metric, best = manifest.by.metric, max if manifest.by.direction == "max" else min
    measured = [job for job in jobs if job.metric(metric) is not None]
    return best(measured, key=lambda job: job.metric(metric) or 0.0, default=None)


def best_of(sweep: str, output_dir: Path) -> Path:
    """The folder of a sweep's best run; `sweep` is a name or a folder. Raises `UserError`."""
    sweeps = output_dir / "sweeps"
    path = next((path for path in (sweeps / sweep, Path(sweep)) if (path / "sweep.json").is_file()), None)
    if path is None:
        near = nearest(sweep, [one.name for one in _folders(sweeps)])
        notes = [f"\n  did you mean {' or '.join(f'ckpt=best:{one}' for one in near)}?"] if near else []
        raise UserError("".join([f"ckpt=best:{sweep}: there is no such sweep in {sweeps}", *notes]))
    manifest = SweepFolder(path).manifest
    assert manifest is not None  # its file is there
    best = _best(entries_of([path]), manifest)
    if best is None:
        raise UserError(f"ckpt=best:{sweep}: none of its jobs has completed\n  finish it: {manifest.command}")
    return best.folder
