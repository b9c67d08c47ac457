"""From the validated config to the objects of a run, each built once."""

import random
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import Logger
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from assay.config.components import build
from assay.config.schema import TrainConfig
from assay.data.module import DataModule, Limits
from assay.data.source import Source
from assay.run.device import Device, choose_threads
from assay.run.place import WHOLE, Place, usable_cores
from assay.training.classifier import Classifier


@dataclass(frozen=True)
class Parts:
    """A run's network, data and callbacks, and what the run must know of them."""

    data: DataModule
    classifier: Classifier
    callbacks: list[Callback]
    max_epochs: int
    total_steps: int
    threads: int
    data_sha256: str | None


def seed_everything(seed: int) -> None:
    """Python, NumPy, torch and CUDA; 0 is a seed like any other."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def build_parts(config: TrainConfig, device: Device, rank: int = 0, place: Place = WHOLE) -> Parts:
    """Network, optimizer, schedule, callbacks and data of one process, before anything is written.

    Raises `UserError` for values that a constructor refuses; what else their code raises passes.
    """
    source = cast(Source, build(config.data, "data", seed=config.seed))
    digest = source.prepare()
    data = DataModule(source, config.seed, config.trainer.steps_per_execution, _limits(config))
    total_steps = data.total_steps(config.trainer.max_epochs)
    seed_everything(config.seed)
    shape, classes = source.in_shape, source.num_classes
    network = cast(nn.Module, build(config.model, "model", in_shape=shape, num_classes=classes))
    optimizer: Any = build(config.optimizer, "optimizer", params=network.parameters())
    scheduler: Any = None
    if config.scheduler is not None:
        scheduler = build(config.scheduler, "scheduler", optimizer=optimizer, total_steps=total_steps)
    clip = config.trainer.gradient_clip_val, config.trainer.gradient_clip_algorithm
    classifier = Classifier(network, optimizer, scheduler, *clip)
    callbacks = [
        cast(Callback, build(node, f"callbacks.{name}")) for name, node in (config.callbacks or {}).items()
    ]
    cores = place.threads or usable_cores() // device.per_node
    flop = source.batch_size * _flop_of_sample(network, source)
    threads = cores if place.is_exact else choose_threads(config.device, flop, cores)
    torch.set_num_threads(threads)
    seed_everything(config.seed + rank)  # whatever building drew; processes must not share dropout masks
    max_epochs = -(-total_steps // data.num_batches)
    return Parts(data, classifier, callbacks, max_epochs, total_steps, threads, digest)


def _flop_of_sample(network: nn.Module, source: Source) -> float:
    """Floating-point operations of one sample's forward pass.

    Raises `ValueError`, a bug of the network, where it does not give one logit a class.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        logits = network.eval()(torch.zeros(2, *source.in_shape))
    network.train()
    if tuple(logits.shape) != (2, source.num_classes):
        raise ValueError(
            f"{type(network).__name__} gives {tuple(logits.shape)} for two samples; "
            f"(2, {source.num_classes}) is needed, one logit for each class of the data"
        )
    return counter.get_total_flops() / 2


def _limits(config: TrainConfig) -> Limits:
    trainer = config.trainer
    return Limits(
        train=trainer.limit_train_batches,
        val=trainer.limit_val_batches,
        test=trainer.limit_test_batches,
        overfit=trainer.overfit_batches,
        max_steps=trainer.max_steps,
    )


def build_loggers(config: TrainConfig, folder: Path) -> list[Logger]:
    return [
        cast(Logger, build(node, f"logger.{name}", save_dir=str(folder)))
        for name, node in (config.logger or {}).items()
    ]


def check_loggers(config: TrainConfig) -> None:
    """Raises `UserError` for a logger whose package is not installed, before a run folder is made."""
    with tempfile.TemporaryDirectory() as folder:
        build_loggers(config, Path(folder))


def make_trainer(config: TrainConfig, device: Device, folder: Path, **settings: Any) -> Trainer:
    """A Trainer without what Assay does itself: progress, model summary, checkpoints, sanity check."""
    return Trainer(
        accelerator=device.accelerator,
        precision=cast(Any, device.precision),
        deterministic=device.deterministic,
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
        **settings,
    )
