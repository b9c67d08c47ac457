"""All that follows from the folders of a sweep's jobs: leaderboard files, TensorBoard's view, report."""

from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from assay.config.frame import SweepConfig
from assay.config.judged import judged
from assay.sweep.collect import entries_of
from assay.sweep.folder import SweepFolder
from assay.sweep.leaderboard import Leaderboard, leaderboard
from assay.sweep.screen import console_of_sweep
from assay.sweep.table import show, write


def derive(sweep: SweepFolder, metric: str, direction: str) -> Leaderboard:
    """Make it again from the folders alone; what has not changed is left as it is."""
    board = leaderboard(entries_of([sweep.path]), metric, direction)
    (sweep.path / "locks").mkdir(exist_ok=True)
    with FileLock(sweep.path / "locks" / "derived.lock"):
        if write(board, sweep.path) or not (sweep.path / "report.html").is_file():
            from assay.sweep.report import (
                write_report,  # matplotlib and tensorboard, only where there is news
            )
            from assay.sweep.tensorboard import write_views

            write_views(board, sweep.path)
            write_report(board, sweep.path, sweep.manifest["command"])
    return board


def print_again(folders: Sequence[str], words: Sequence[str]) -> int:
    """`leaderboard=<folders>`: the table of one or several sweeps; nothing is written. Raises `UserError`.

    Sorted as the first sweep was, unless the words say otherwise.
    """
    paths = [Path(folder) for folder in folders]
    of_sweep = [
        f"sweep.{key}={value}" for key, value in SweepFolder(paths[0]).manifest.get("sorted", {}).items()
    ]
    sweep: SweepConfig = judged("train", [*of_sweep, *words], slots=False).config.sweep
    show(leaderboard(entries_of(paths), sweep.metric, sweep.direction), console_of_sweep())
    return 0
