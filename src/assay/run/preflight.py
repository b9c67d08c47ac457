"""What can be known to go wrong is found before anything is written: no run may fail on it after an hour."""

import os
import shutil
import tempfile
from pathlib import Path

from assay.errors import UserError
from assay.run.parts import Parts

CHECKPOINTS = 5  # last and best, the one before each, and the one that is being written
OVERHEAD = 64 * 1024  # bytes of a checkpoint beside its tensors: generators, counters, config
ROW = 1_000  # bytes of a row of metrics.csv with its points in TensorBoard's file
PICTURES = 3 * 1024**2  # bytes: figures as PNG, in TensorBoard's file and in report.html; config, log
FILES = 24  # that a run makes, folders and those that are being written included


def preflight(folder: Path, parts: Parts, log_every_n_steps: int) -> None:
    """Raises `UserError` unless files can be written under `folder`, there or not yet, and there is room.

    Leaves nothing behind. Device and data have been checked by what built `parts`.
    """
    there = _writable(folder)
    if (folder / "checkpoints").is_dir():  # of a run that is resumed
        _writable(folder / "checkpoints")
    needed = bytes_needed(parts, log_every_n_steps)
    if shutil.disk_usage(there).free + _in_use(folder) < needed:
        free = _size(shutil.disk_usage(there).free)
        raise UserError(
            f"output_dir: the disk of {folder} has {free} free, this run needs up to {_size(needed)}\n"
            f"({CHECKPOINTS} checkpoints of {_size(checkpoint_bytes(parts))} at worst, and the logs)\n"
            "make room, or set output_dir to a folder on another disk"
        )
    disk = os.statvfs(there) if hasattr(os, "statvfs") else None
    if disk is not None and disk.f_files and disk.f_favail < FILES:
        raise UserError(
            f"output_dir: {folder} has room for {disk.f_favail} more files, this run needs {FILES}\n"
            "its file system has no inodes left: remove some files, or set output_dir to another disk"
        )


def _in_use(folder: Path) -> int:
    """What the files of a run that is resumed take already; names of one file count once."""
    if not (folder / "result.json").exists():
        return 0
    sizes = {(file := path.stat()).st_ino: file.st_size for path in folder.rglob("*") if path.is_file()}
    return sum(sizes.values())


def _writable(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there; a file could be written into it."""
    there = folder.absolute()
    try:
        while not there.exists():
            there = there.parent
        with tempfile.NamedTemporaryFile(dir=there, prefix=".", suffix=".tmp") as probe:
            probe.write(b"\0" * 4096)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        raise UserError(
            f"output_dir: {folder} cannot be written to: {error.strerror or error} ({there})\n"
            "set output_dir to a folder that you may write to"
        ) from error
    return there


def bytes_needed(parts: Parts, log_every_n_steps: int) -> int:
    """The most that a run's files take at any moment."""
    rows = parts.data.total_steps // log_every_n_steps + parts.data.max_epochs + 1
    return CHECKPOINTS * checkpoint_bytes(parts) + rows * ROW + PICTURES


def checkpoint_bytes(parts: Parts) -> int:
    """The weights three times, for Adam keeps two numbers for each and few optimizers more, and a margin."""
    network = parts.learner.model
    weights = sum(one.numel() * one.element_size() for one in network.parameters())
    buffers = sum(one.numel() * one.element_size() for one in network.buffers())
    return 3 * weights + buffers + OVERHEAD


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
