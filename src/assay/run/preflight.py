"""What can be known to go wrong is found before anything is written: no run may fail on it after an hour."""

import os
import shutil
import tempfile
from pathlib import Path

import torch
from torch import nn

from assay.errors import UserError
from assay.run.parts import Parts

# last and best, the one before each, and the one that is being written
CHECKPOINTS = 5
OVERHEAD = 64 * 1024  # bytes of a checkpoint beside its tensors: generators, counters, sidecar
ROW = 1_000  # bytes of a row of metrics.csv with its points in TensorBoard's file
PICTURES = 2 * 1024**2  # bytes: figures as PNG and in TensorBoard's file, config, log
PROBE = 64  # numbers


def preflight(folder: Path, parts: Parts, log_every_n_steps: int) -> None:
    """Raises `UserError` unless files can be written under `folder`, there or not yet, and there is room.

    Leaves nothing behind. Device and data have been checked by what built `parts`.
    """
    there = _writable(folder)
    needed = bytes_needed(parts, log_every_n_steps)
    free = shutil.disk_usage(there).free
    if free + _held(folder) < needed:
        raise UserError(
            f"output_dir: the disk of {folder} has {_size(free)} free, this run needs up to {_size(needed)}\n"
            f"({CHECKPOINTS} checkpoints of {_size(checkpoint_bytes(parts))} at worst, and the logs)\n"
            "make room, or set output_dir to a folder on another disk"
        )


def _held(folder: Path) -> int:
    """What the files of a run that is resumed take already; names of one file count once."""
    if not (folder / "result.json").exists():
        return 0
    files = {(found := path.stat()).st_ino: found.st_size for path in folder.rglob("*") if path.is_file()}
    return sum(files.values())


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
    rows = parts.total_steps // log_every_n_steps + parts.max_epochs + 1
    return CHECKPOINTS * checkpoint_bytes(parts) + rows * ROW + PICTURES


def checkpoint_bytes(parts: Parts) -> int:
    """Weights, buffers and what the optimizer keeps for each weight."""
    network = parts.classifier.model
    weights = sum(one.numel() * one.element_size() for one in network.parameters() if one.requires_grad)
    fixed = sum(one.numel() * one.element_size() for one in network.parameters() if not one.requires_grad)
    buffers = sum(one.numel() * one.element_size() for one in network.buffers())
    return int(weights * (1 + kept_per_weight(parts))) + fixed + buffers + OVERHEAD


def kept_per_weight(parts: Parts) -> float:
    """Numbers that the optimizer keeps for one weight: 2 for Adam, 1 for SGD with momentum; tried out."""
    with torch.random.fork_rng(devices=[]):
        probe = nn.Parameter(torch.zeros(PROBE))
        probe.grad = torch.zeros(PROBE)
        optimizer = parts.classifier.make_optimizer([probe])
        optimizer.step()
        kept = [value for value in optimizer.state[probe].values() if isinstance(value, torch.Tensor)]
    return sum(tensor.numel() for tensor in kept if tensor.numel() >= PROBE) / PROBE


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.1f} MiB"
