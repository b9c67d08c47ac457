"""All that follows from the folders of a sweep's jobs: leaderboard files, TensorBoard's view, report."""

import os
from collections.abc import Sequence
from pathlib import Path

from assay.config.schema import SweepConfig
from assay.config.judged import judged
from assay.sweep.collect import entries_of
from assay.sweep.folder import SweepFolder
from assay.sweep.leaderboard import Leaderboard, leaderboard
from assay.sweep.screen import console_of_sweep
from assay.sweep.table import files, show
from assay.training.atomic import write_durably


def derive(sweep: SweepFolder, metric: str, direction: str) -> Leaderboard:
    """Make it again from the folders alone; what has not changed is left as it is."""
    if not os.access(sweep.path, os.W_OK):  # another user's, or on a medium that is read only
        return leaderboard(entries_of([sweep.path]), metric, direction)
    with sweep.locked():
        board = leaderboard(entries_of([sweep.path]), metric, direction)
        texts = files(board)
        if all(_text(sweep.path / name) == text for name, text in texts.items()):
            return board
        # matplotlib and TensorBoard, only where there is news
        from assay.sweep.report import write_report
        from assay.sweep.tensorboard import write_views

        write_views(board, sweep.path)
        write_report(board, sweep.path, sweep.manifest["command"])
        for name, text in texts.items():  # last: what is interrupted before them is made again
            write_durably(sweep.path / name, text.encode())
    return board


def _text(file: Path) -> str | None:
    return file.read_text(encoding="utf-8") if file.is_file() else None


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
