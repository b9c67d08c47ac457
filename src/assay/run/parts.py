"""From the judged config to the objects of a run; behind this door nothing knows the config."""

import random
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.loggers.logger import Logger
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from assay.config.schema import TrainConfig
from assay.config.components import build
from assay.data.module import DataModule, Limits
from assay.data.source import Source
from assay.run.device import Device, choose_threads
from assay.run.place import WHOLE, Place, usable_cores
from assay.training.classifier import Classifier


@dataclass(frozen=True)
class Parts:
    """A run's network and data, and what the run must know of them."""

    data: DataModule
    classifier: Classifier
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
    """Network, optimizer and data of one process. Raises `UserError` before anything is written."""
    source = cast(Source, build(config.data, "data", seed=config.seed))
    digest = source.prepare()
    data = DataModule(source, config.seed, config.trainer.steps_per_execution, _limits(config))
    seed_everything(config.seed)
    network = cast(
        nn.Module, build(config.model, "model", in_shape=source.in_shape, num_classes=source.num_classes)
    )
    cores = place.threads or usable_cores() // device.count
    threads = choose_threads(config.device, network, source.in_shape, source.batch_size, cores)
    torch.set_num_threads(threads)
    total_steps = data.total_steps(config.trainer.max_epochs)

    def make_optimizer(parameters: Iterable[nn.Parameter]) -> Optimizer:
        return cast(Optimizer, build(config.optimizer, "optimizer", params=parameters))

    def make_scheduler(optimizer: Optimizer) -> LRScheduler | None:
        if config.scheduler is None:
            return None
        return cast(
            LRScheduler | None,
            build(config.scheduler, "scheduler", optimizer=optimizer, total_steps=total_steps),
        )

    classifier = Classifier(
        network,
        make_optimizer,
        make_scheduler,
        config.trainer.gradient_clip_val,
        config.trainer.gradient_clip_algorithm,
    )
    seed_everything(config.seed + rank)  # whatever building drew; processes must not share dropout masks
    max_epochs = -(-total_steps // data.num_batches)
    return Parts(data, classifier, max_epochs, total_steps, threads, digest)


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


def build_callbacks(config: TrainConfig) -> list[Callback]:
    return [
        cast(Callback, build(node, f"callbacks.{name}")) for name, node in (config.callbacks or {}).items()
    ]


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
