"""One save with a fault in it, as a call for the zygote."""

from pathlib import Path
from typing import Any

import torch

from assay.training.checkpoint import copy_checkpoint, save_checkpoint
from tests.reliability.faults import Operations

WELL, SAID, CLEAN = 0, 3, 4  # how a save ends: well in spite of a fault, with an error, with no fault


def content(step: int) -> dict[str, Any]:
    """What a checkpoint of a step holds; its tensor gives every step another hash."""
    return {"state_dict": {"weight": torch.full((5_000,), float(step))}, "global_step": step}


def save(folder: str, step: int, fault_at: int = 0, how: str = "fail") -> int:
    """Save the step as last and best; how it ended."""
    last = Path(folder) / "last.ckpt"
    operations = Operations(Path(folder), fault_at, how)
    operations.install()
    try:
        save_checkpoint(content(step), last)
        copy_checkpoint(last, last.with_name("best.ckpt"))
    except OSError:
        return SAID
    finally:
        operations.uninstall()
    return WELL if operations.struck else CLEAN
