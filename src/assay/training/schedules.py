"""Schedules that know the length of the run; any `torch.optim.lr_scheduler` class works as well."""

from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR


def onecycle(
    optimizer: Optimizer,
    total_steps: int,
    warmup: Annotated[float, Field(gt=0, lt=1, description="share of the run that warms up")] = 0.25,
    div_factor: Annotated[float, Field(gt=0, description="peak over first learning rate")] = 25.0,
    final_div_factor: Annotated[float, Field(gt=0, description="first over last learning rate")] = 1e4,
) -> LRScheduler:
    """Up to the optimizer's `lr`, then down to almost nothing (Smith and Topin 2017); momentum stays."""
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=total_steps,
        pct_start=warmup,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        cycle_momentum=False,
    )


def cosine(optimizer: Optimizer, total_steps: int) -> LRScheduler:
    """From the optimizer's `lr` down to zero (Loshchilov and Hutter 2016)."""
    return CosineAnnealingLR(optimizer, T_max=total_steps)
