"""From the validated config to the objects of a run, each built once."""

import random
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import Logger
from rich.console import Console
from torch import nn

from assay.config.components import build, resolve_target, signature
from assay.config.schema import Component, TrainConfig
from assay.data.module import DataModule
from assay.data.source import Source
from assay.run.device import Device, choose_threads
from assay.run.folder import RunFolder
from assay.run.forward import check_directions, forward
from assay.run.process import usable_cores
from assay.run.resume import ResumePoint
from assay.run.signals import StopRequest
from assay.training.learner import Learner
from assay.training.tasks import Task


@dataclass(frozen=True)
class Parts:
    """A run's network, data and callbacks, and what the run must know of them."""

    data: DataModule
    learner: Learner
    callbacks: list[Callback]
    threads: int
    data_sha256: str | None
    shapes: Mapping[str, tuple[int, ...]]  # of each layer's output for one sample


@dataclass(frozen=True)
class Run:
    """All that the stages of one run work with, once its folder is there."""

    config: TrainConfig
    overrides: Sequence[str]
    folder: RunFolder
    device: Device
    parts: Parts
    point: ResumePoint | None
    console: Console
    request: StopRequest


def seed_everything(seed: int) -> None:
    """Python, NumPy, torch and CUDA; 0 is a seed like any other."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def build_parts(
    config: TrainConfig,
    device: Device,
    rank: int = 0,
    threads: int | None = None,
    cores: int | None = None,
) -> Parts:
    """Network, optimizer, schedule, callbacks and data of one process, before anything is written.

    `threads` are those of an earlier part of the run: another number would change the last bits. `cores` is
    how many the run may use among others. Raises `UserError` for values that a constructor refuses; what
    else their code raises passes.
    """
    source = cast(Source, build(config.data, "data", seed=config.seed))
    digest = source.prepare()
    data = DataModule(source, config.seed, config.trainer)
    seed_everything(config.seed)
    task = cast(Task, build(config.task, "task"))
    check_directions(task)
    shapes: dict[str, Any] = {"in_shape": source.in_shape, "out_shape": task.out_shape(source)}
    if source.num_classes is not None:
        shapes["num_classes"] = source.num_classes
    network = cast(nn.Module, build(config.model, "model", **shapes))
    optimizer: Any = build(config.optimizer, "optimizer", params=network.parameters())
    steps = data.total_steps
    scheduler: Any = build(config.scheduler, "scheduler", optimizer=optimizer, total_steps=steps)
    clip = config.trainer.gradient_clip_val, config.trainer.gradient_clip_algorithm
    learner = Learner(network, task, optimizer, scheduler, *clip)
    nodes = config.callbacks or {}
    callbacks = [_callback(node, f"callbacks.{name}", task) for name, node in nodes.items()]
    seen = forward(learner, data, typed=[key for key in shapes if config.model.get(key) is not None])
    if threads is None:
        # one core is left to all else: a thread that has to share its own keeps all others waiting
        own = cores or max(1, (usable_cores() - 1) // device.per_node)
        threads = choose_threads(config.device, source.batch_size * seen.flop, own)
    torch.set_num_threads(threads)
    seed_everything(config.seed + rank)  # whatever building drew; processes must not share dropout masks
    return Parts(data, learner, callbacks, threads, digest, seen.shapes)


def _callback(node: Component, key: str, task: Task) -> Callback:
    """One that must monitor something, and is not told what, follows the task."""
    needs = signature(resolve_target(node["_target_"]))[1] - node.keys()
    best = {"monitor": task.metric, "mode": task.direction} if "monitor" in needs else {}
    return cast(Callback, build(node, key, **best))


def build_loggers(config: TrainConfig, folder: Path) -> list[Logger]:
    nodes = config.logger or {}
    return [cast(Logger, build(node, f"logger.{name}", save_dir=str(folder))) for name, node in nodes.items()]


def check_loggers(config: TrainConfig) -> None:
    """Raises `UserError` for a logger whose package is not installed, before a run folder is made."""
    with tempfile.TemporaryDirectory() as folder:
        build_loggers(config, Path(folder))


def make_trainer(run: Run, **settings: Any) -> Trainer:
    """A Trainer without what Assay does itself: progress, model summary, checkpoints, sanity check."""
    # on a machine of a cluster: Assay takes SLURM's processes as they are, and a run needs none
    warnings.filterwarnings("ignore", "The `srun` command is available")
    return Trainer(
        accelerator=run.device.accelerator,
        precision=cast(Any, run.device.precision),
        deterministic=run.device.deterministic,
        default_root_dir=run.folder.path,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        **settings,
    )
