"""Four ways to train the same network on the same images, for `bench=training`.

All begin with the same weights and use the same optimizer settings and thread count; the bare loop, Assay and
stock Lightning see the same batches in the same order as well.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from assay.config.schema import TrainConfig
from assay.data.images import MNIST
from assay.data.order import epoch_order
from assay.run.device import resolve
from assay.run.fit import FitJob, fit_here
from assay.run.logs import logs_to
from assay.run.parts import Parts, build_parts
from assay.run.signals import StopRequest
from assay.training.tensorboard import TensorBoard


@dataclass(frozen=True)
class Trained:
    """What one arm took, and the weights it ended with."""

    epoch_s: tuple[float, ...]  # the training part of each epoch
    fit_s: float  # everything: set-up, training, validation, and what the arm writes
    weights: dict[str, Tensor]


Arm = Callable[[TrainConfig, Path], Trained]


def bare(config: TrainConfig, folder: Path) -> Trained:
    """The reference: tensors in memory and the five lines of the cycle."""
    parts = _parts(config)
    features, labels = _tensors(parts, "train")
    val_features, val_labels = _tensors(parts, "val")
    began = time.perf_counter()
    model, criterion = parts.classifier.model, nn.CrossEntropyLoss()
    optimizer = _optimizer(parts)
    epochs: list[float] = []
    for epoch in range(config.trainer.max_epochs):
        epoch_began = time.perf_counter()
        order = epoch_order(len(labels), config.seed, epoch).split(parts.data.source.batch_size)
        for indices in order:
            logits = model(features.index_select(0, indices))
            loss = criterion(logits, labels.index_select(0, indices))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        epochs.append(time.perf_counter() - epoch_began)
        _validate(model, val_features, val_labels)
    return Trained(tuple(epochs), time.perf_counter() - began, _weights(model))


def assay(config: TrainConfig, folder: Path) -> Trained:
    """`train.py`'s own fit stage: logging, metrics, progress bar and checkpoints are on."""
    parts = _parts(config)
    _tensors(parts, "train")
    _tensors(parts, "val")
    began = time.perf_counter()
    screen = Console(file=StringIO(), force_terminal=True, width=120)
    view = TensorBoard(folder)
    job = FitJob(config, resolve(config.device), folder, {})
    with logs_to(folder / "log.txt"):
        history = fit_here(job, parts, screen, StopRequest(), view)
    view.close()
    fit_s = time.perf_counter() - began
    return Trained(tuple(history.epoch_seconds), fit_s, _weights(parts.classifier.model))


def stock_lightning(config: TrainConfig, folder: Path) -> Trained:
    """Lightning as its tutorials have it, on the same tensors and batches: `self.log` each step, a bar."""
    parts = _parts(config)
    features, labels = _tensors(parts, "train")
    val_features, val_labels = _tensors(parts, "val")
    began = time.perf_counter()
    module = _StockModule(parts.classifier.model, _optimizer(parts))
    batches = _Batches(features, labels, parts.data.source.batch_size, config.seed)
    with logs_to(folder / "log.txt"), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=config.trainer.max_epochs,
            callbacks=[TQDMProgressBar()],
            default_root_dir=folder,
            num_sanity_val_steps=0,
            log_every_n_steps=min(50, len(batches)),  # 50 is the default, refused for shorter epochs
        )
        trainer.fit(module, batches, _Batches(val_features, val_labels, 1_000, None))
    return Trained(tuple(module.epoch_s), time.perf_counter() - began, _weights(module.model))


def textbook(config: TrainConfig, folder: Path) -> Trained:
    """The loop of the tutorials: a torchvision data set with transforms in a shuffling DataLoader."""
    parts = _parts(config)
    source = cast(MNIST, parts.data.source)
    streamed = MNIST(str(source.root), source.batch_size, source.val_size, in_memory=False)
    began = time.perf_counter()
    model, criterion = parts.classifier.model, nn.CrossEntropyLoss()
    optimizer = _optimizer(parts)
    loader = DataLoader(streamed.dataset("train"), batch_size=source.batch_size, shuffle=True)
    validation = DataLoader(streamed.dataset("val"), batch_size=1_000)
    epochs: list[float] = []
    for _ in range(config.trainer.max_epochs):
        epoch_began = time.perf_counter()
        for features, labels in loader:
            loss = criterion(model(features), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        epochs.append(time.perf_counter() - epoch_began)
        for features, labels in validation:
            _validate(model, features, labels)
    return Trained(tuple(epochs), time.perf_counter() - began, _weights(model))


ARMS: dict[str, Arm] = {
    "bare": bare,
    "assay": assay,
    "stock": stock_lightning,
    "textbook": textbook,
}


class _StockModule(pl.LightningModule):
    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        super().__init__()
        self.model = model
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = optimizer
        self.epoch_s: list[float] = []
        self._began = 0.0

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        features, labels = batch
        logits = self.model(features)
        loss = self.criterion(logits, labels)
        self.log("train/loss", loss, prog_bar=True)
        self.log("train/accuracy", (logits.argmax(1) == labels).float().mean())
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        features, labels = batch
        logits = self.model(features)
        self.log("val/loss", self.criterion(logits, labels))
        self.log("val/accuracy", (logits.argmax(1) == labels).float().mean())

    def on_train_epoch_start(self) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self.trainer.num_training_batches:
            self.epoch_s.append(time.perf_counter() - self._began)


class _Batches:
    """Batches gathered from tensors, in the order of the bare loop; in their own order without a seed."""

    def __init__(self, features: Tensor, labels: Tensor, size: int, seed: int | None) -> None:
        self.features, self.labels, self.size, self.seed = features, labels, size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        count = len(self.labels)
        order = torch.arange(count) if self.seed is None else epoch_order(count, self.seed, self.epoch)
        self.epoch += 1
        for indices in order.split(self.size):
            yield self.features.index_select(0, indices), self.labels.index_select(0, indices)


def _parts(config: TrainConfig) -> Parts:
    return build_parts(config, resolve(config.device))


def _tensors(parts: Parts, split: Any) -> list[Tensor]:
    return list(cast(TensorDataset, parts.data.split(split)).tensors)


def _optimizer(parts: Parts) -> Optimizer:
    return parts.classifier.make_optimizer(parts.classifier.model.parameters())


def _validate(model: nn.Module, features: Tensor, labels: Tensor) -> None:
    model.eval()
    with torch.inference_mode():
        for part, truth in zip(features.split(1_000), labels.split(1_000), strict=True):
            logits = model(part)
            nn.functional.cross_entropy(logits, truth).item()
            (logits.argmax(1) == truth).sum().item()
    model.train()


def _weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
