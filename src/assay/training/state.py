"""What a checkpoint must hold beside weights and optimizer so that a resumed run goes on to the same bits.

Everything is plain data (tensors, numbers, strings, lists), so that it loads with `weights_only=True`.
"""

import logging
import random
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

log = logging.getLogger(__name__)


def rng_state() -> dict[str, Any]:
    """The state of every global random generator: Python's, NumPy's, torch's and that of each GPU."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    internal = torch.from_numpy(np.asarray(keys).astype(np.int64))
    return {
        "python": random.getstate(),
        "numpy": [str(name), internal, position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "mps": torch.mps.get_rng_state() if torch.backends.mps.is_available() else None,
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Set what `rng_state` gave; a GPU generator that has no counterpart here is left out with a warning."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
    elif state["cuda"]:
        log.warning(
            "the run was saved with %d GPUs, here are %d: what is random on a GPU goes on differently",
            len(state["cuda"]),
            torch.cuda.device_count(),
        )
    if state["mps"] is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def rng_of_all(world_size: int) -> list[dict[str, Any]]:
    """The generators of every process, by rank: their dropout masks differ. All processes must call this."""
    if world_size == 1:
        return [rng_state()]
    states: list[Any] = [None] * world_size
    dist.all_gather_object(states, rng_state())
    return states


def rng_of_this(states: list[dict[str, Any]], rank: int, world_size: int) -> dict[str, Any] | None:
    """This process's generators; none, with a warning, where the number of processes has changed."""
    if len(states) == world_size:
        return states[rank]
    log.warning(
        "the run was saved by %d processes and goes on with %d: not to the same bits", len(states), world_size
    )
    return None


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


def epoch_and_batch(epochs: int, step: int, num_batches: int, total_steps: int) -> tuple[int, int]:
    """Where training goes on: finished epochs, and batches done of the next one.

    `max_steps` may have ended the last of the `epochs` early: a run that is made longer goes on inside it.
    """
    batches = step - epochs * num_batches
    if batches >= 0:
        return epochs, batches
    return (epochs - 1, batches + num_batches) if step < total_steps else (epochs, 0)


def follow_new_length(state: dict[str, Any], optimizer: Optimizer, scheduler: LRScheduler | None) -> None:
    """Give the state of a run that is made longer the learning rate that the new, longer schedule has here.

    `optimizer` and `scheduler` are new. What a schedule keeps of its old length, as OneCycleLR its
    `total_steps`, is not taken over.
    """
    if scheduler is None:
        return
    optimizer.step()  # without gradients it does nothing; torch warns of a schedule that steps before it
    for _ in range(state["global_step"]):
        scheduler.step()
    state["lr_schedulers"] = [scheduler.state_dict()]
    state["optimizer_states"][0]["param_groups"] = optimizer.state_dict()["param_groups"]
