"""Which checkpoint is meant, and its weights put into the network."""

import logging
from pathlib import Path

from torch import nn

from assay.errors import UserError
from assay.training.durable import load_checkpoint

log = logging.getLogger(__name__)


def checkpoint_file(ckpt: str) -> Path:
    """The checkpoint that a run folder or a file stands for: of a run its best one. Raises `UserError`."""
    path = Path(ckpt)
    if "://" in ckpt:
        raise UserError(f"ckpt: {ckpt} is an address; a checkpoint is loaded from a file here only")
    if path.is_file():
        return path
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    found = "there is no checkpoint in it" if path.is_dir() else "no such file or folder"
    raise UserError(f"ckpt: {ckpt}: {found}\ngive a run folder (outputs/runs/...) or a .ckpt file")


def load_weights(module: nn.Module, path: Path) -> None:
    """Raises `UserError` for a damaged or refused file, and where the weights do not fit the module."""
    state = load_checkpoint(path, map_location="cpu")["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise UserError("\n".join([f"ckpt: the weights of {path} do not fit this model", *lines])) from error
