"""What a checkpoint must hold beside weights and optimizer so that a resumed run goes on to the same bits.

Everything is plain data (tensors, numbers, strings, lists), so that it loads with `weights_only=True`.
"""

import random
from typing import Any

import numpy as np
import torch


def rng_state() -> dict[str, Any]:
    """The state of every global random generator: Python's, NumPy's, torch's and that of each CUDA device."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(keys).astype(np.int64)),
            position,
            has_gauss,
            cached,
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_rng_state(state: dict[str, Any]) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def at_epoch_start(loops: dict[str, Any], epoch: int, steps: int) -> None:
    """Rewrite Lightning's loop counters as those of an epoch about to begin, `epoch` finished ones before it.

    Lightning's own restart guesses from its counters at which hook the checkpoint was written, and a guess
    depends on whether validation had run. Here the position inside the epoch is the data module's business.
    """
    fit = loops["fit_loop"]
    for progress in (fit["epoch_progress"]["total"], fit["epoch_progress"]["current"]):
        progress.update(ready=epoch, started=epoch, processed=epoch, completed=epoch)
    for name in ("epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"):
        for progress in (fit[name]["total"], fit[name]["current"]):
            progress.update(ready=0, started=0, processed=0, completed=0)
        fit[name]["is_last_batch"] = False
    counters = fit["epoch_loop.manual_optimization.optim_step_progress"]["total"]
    counters.update(ready=steps, completed=steps)
    fit["epoch_loop.state_dict"] = {"_batches_that_stepped": steps}
