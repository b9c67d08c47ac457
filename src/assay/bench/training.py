"""`bench=training`: what Assay costs over a bare tensor loop, and what stock Lightning and a DataLoader cost.

One time is one whole fit; an arm is compared with the bare loop of its own round. The bare loop, Assay and
stock Lightning see the same batches in the same order, and the first two must end in the same weights, bit
for bit: a faster loop that trains something else proves nothing.
"""

import dataclasses
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from io import StringIO
from itertools import product
from statistics import median
from typing import Any, cast, final

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import TQDMProgressBar
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from assay import BY_NVML, restore_nvml
from assay.bench.measure import Job, Rule
from assay.bench.model import network
from assay.bench.record import Measurement, Record, Task
from assay.bench.session import Session
from assay.bench.statistics import paired_ratio
from assay.bench.views import Cell, rows
from assay.config.components import build
from assay.config.load import load
from assay.config.schema import TrainConfig, TrainingConfig
from assay.data.batches import Batch, TensorBatches
from assay.data.images import MNIST
from assay.data.module import EVALUATION_BATCH
from assay.data.order import epoch_order
from assay.data.source import Source
from assay.report import Report, seconds
from assay.run.run import run_new
from assay.run.signals import StopRequest

SAME_WEIGHTS = {"bare", "assay"}
PARTS = {"epoch": "an epoch's training", "fit": "the whole fit with validation and checkpoints"}
TRAIN_SAMPLES = 55_000
NEEDS = 2 * 60_000 * 784 * 4  # bytes: the images as float32, and once more while they are converted


@dataclass(frozen=True)
class Fit:
    """What one fit took, and the weights it ended with."""

    epoch_s: list[float]  # the training part of each epoch
    fit_s: float  # with set-up, validation, and what the arm writes
    weights: dict[str, Tensor]


def measure(config: TrainingConfig, session: Session) -> None:
    """All arms in every round, for each optimizer and batch size."""
    session.details["epochs"] = config.epochs
    different: list[str] = session.details.setdefault("different_weights", [])
    threads = max(session.cpu_threads(config.threads))

    def jobs(optimizer: str, batch_size: int) -> list[Job]:
        overrides = [
            f"optimizer={optimizer}", "scheduler=none", "device=cpu", f"data.batch_size={batch_size}",
            f"seed={config.seed}", f"device.threads={threads}", "stages=[fit]",
            f"trainer.max_epochs={config.epochs}",
        ]  # fmt: skip
        train: TrainConfig = load("train", overrides).config
        reference: dict[str, Tensor] = {}

        def own_times(arm: str, fit: Fit) -> dict[str, float]:
            """The fit's own clock; the weights of every fit of the bare loop and of Assay are compared."""
            if arm in SAME_WEIGHTS:
                reference.update({} if reference else fit.weights)
                if not all(torch.equal(tensor, fit.weights[name]) for name, tensor in reference.items()):
                    different.append(f"{optimizer} {batch_size}")
            return {"call": fit.fit_s, "epoch": median(fit.epoch_s)}

        def job(arm: str) -> Job:
            task = Task(f"fit {optimizer}", arm, "cpu", threads=threads, size=batch_size)
            fit = partial(ARMS[arm], train)
            return Job(task, session.devices[0], fit, NEEDS, own_s=partial(own_times, arm))

        return [job(arm) for arm in config.arms]

    cases = product(config.optimizers, config.batch_sizes)
    session.measure_each([partial(jobs, *case) for case in cases], Rule.rounds(config.repeats))


def bare(config: TrainConfig) -> Callable[[], Fit]:
    """The reference: tensors in memory and the five lines of the cycle."""
    train, val = _splits(config)
    return lambda: _cycle(config, _ShuffledBatches(train, config), val)


def textbook(config: TrainConfig) -> Callable[[], Fit]:
    """The loop of the tutorials: a torchvision data set with transforms in a shuffling DataLoader."""
    root, size, val_size = (config.data[key] for key in ("root", "batch_size", "val_size"))
    source = MNIST(str(root), size, val_size, in_memory=False)
    batches = DataLoader(source.dataset("train"), batch_size=size, shuffle=True)
    return partial(_cycle, config, batches, DataLoader(source.dataset("val"), batch_size=EVALUATION_BATCH))


def _cycle(config: TrainConfig, batches: Iterable[Batch], validation: Iterable[Batch]) -> Fit:
    """The standard cycle over whatever gives the batches of an epoch, each time anew."""
    began, epochs, criterion = time.perf_counter(), list[float](), nn.CrossEntropyLoss()
    model, optimizer = _start(config)
    for _ in range(config.trainer.max_epochs):
        epoch_began = time.perf_counter()
        for features, labels in batches:
            loss = criterion(model(features), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        epochs.append(time.perf_counter() - epoch_began)
        model.eval()
        with torch.inference_mode():
            for features, labels in validation:
                logits = model(features)
                criterion(logits, labels).item()
                (logits.argmax(1) == labels).sum().item()
        model.train()
    return Fit(epochs, time.perf_counter() - began, model.state_dict())


def assay(config: TrainConfig) -> Callable[[], Fit]:
    """A run as `train.py` does it: logging, metrics, progress bar and checkpoints are on."""

    def fit() -> Fit:
        with tempfile.TemporaryDirectory() as folder:
            screen = Console(file=StringIO(), force_terminal=True, width=120)
            run = run_new(dataclasses.replace(config, output_dir=folder), [], screen, StopRequest())
            saved = torch.load(run.last, weights_only=True)["state_dict"]
        took = run.result["seconds"]
        weights = {name.removeprefix("model."): tensor for name, tensor in saved.items()}
        return Fit(took["epochs"], took["fit"], weights)

    return fit


def stock(config: TrainConfig) -> Callable[[], Fit]:
    """Lightning as its tutorials have it, on the same tensors and batches: `self.log` each step, a bar."""
    train, val = _splits(config)

    def fit() -> Fit:
        module, batches = _StockModule(*_start(config)), _ShuffledBatches(train, config)
        began, screen = time.perf_counter(), StringIO()
        with ExitStack() as stack:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            stack.enter_context(redirect_stdout(screen))
            stack.enter_context(redirect_stderr(screen))
            stack.callback(restore_nvml)
            os.environ[BY_NVML] = "1"  # as Lightning sets it, for all but those who import it as Assay does
            trainer = pl.Trainer(
                accelerator="cpu",
                max_epochs=config.trainer.max_epochs,
                callbacks=[TQDMProgressBar()],
                default_root_dir=folder,
                num_sanity_val_steps=0,
                log_every_n_steps=min(50, len(batches)),  # 50 is the default, refused for shorter epochs
            )
            trainer.fit(module, batches, val)
        return Fit(module.epoch_s, time.perf_counter() - began, module.model.state_dict())

    return fit


ARMS: dict[str, Callable[[TrainConfig], Callable[[], Fit]]] = {
    "bare": bare, "assay": assay, "stock": stock, "textbook": textbook
}  # fmt: skip


@final
class _StockModule(pl.LightningModule):
    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        super().__init__()
        self.model, self.optimizer, self.criterion = model, optimizer, nn.CrossEntropyLoss()
        self.epoch_s: list[float] = []
        self._began = 0.0

    def configure_optimizers(self) -> Optimizer:
        return self.optimizer

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self._logged("train", *batch)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._logged("val", *batch)

    def _logged(self, split: str, features: Tensor, labels: Tensor) -> Tensor:
        logits = self.model(features)
        loss = self.criterion(logits, labels)
        self.log(f"{split}/loss", loss, prog_bar=split == "train")
        self.log(f"{split}/accuracy", (logits.argmax(1) == labels).float().mean())
        return loss

    def on_train_epoch_start(self) -> None:
        self._began = time.perf_counter()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx + 1 == self.trainer.num_training_batches:
            self.epoch_s.append(time.perf_counter() - self._began)


@dataclass
class _ShuffledBatches:
    """Batches gathered from tensors, epoch after epoch in the order that a run has."""

    tensors: Sequence[Tensor]
    config: TrainConfig
    epoch: int = 0

    def __len__(self) -> int:
        return -(-len(self.tensors[1]) // self.config.data["batch_size"])

    def __iter__(self) -> Iterator[Batch]:
        features, labels = self.tensors
        order = epoch_order(len(labels), self.config.seed, self.epoch)
        self.epoch += 1
        for indices in order.split(self.config.data["batch_size"]):
            yield features.index_select(0, indices), labels.index_select(0, indices)


def _splits(config: TrainConfig) -> tuple[Sequence[Tensor], TensorBatches]:
    source: Source = build(config.data, "data", seed=config.seed)
    source.prepare()
    train, val = (cast(TensorDataset, source.dataset(split)).tensors for split in ("train", "val"))
    features, labels = val
    return train, TensorBatches(features, labels, EVALUATION_BATCH)


def _start(config: TrainConfig) -> tuple[nn.Module, Optimizer]:
    model = network(config.model, config.seed)
    return model, build(config.optimizer, "optimizer", params=model.parameters())


def report(record: Record) -> Report:
    """Assay's two ratios first; they are those within the rounds."""

    def times_bare(m: Measurement, part: str) -> str:
        base = record.ok(what=m.task.what, size=m.task.size, by="bare")
        if not base:
            return ""
        ours, theirs = (one.times if part == "fit" else one.parts_s[part] for one in (m, base[0]))
        return str(paired_ratio(ours, theirs))

    lines: list[str] = []
    for m, part in product(record.ok(by="assay"), PARTS):
        if ratio := times_bare(m, part):
            case = f"{m.task.what.removeprefix('fit ')}, batch {m.task.size}"
            lines.append(f"{case}: {PARTS[part]} takes {ratio} times the bare loop's")
    different = dict.fromkeys(record.details["different_weights"])
    compared = {m.task.by for m in record.ok()} >= SAME_WEIGHTS
    if compared and not different:
        lines.append("Assay and the bare loop end in the same weights, bit for bit")
    extra: dict[str, Cell] = {
        "an epoch": lambda m: seconds(median(m.parts_s["epoch"])),
        "a step": lambda m: seconds(median(m.parts_s["epoch"]) / -(-TRAIN_SAMPLES // (m.task.size or 1))),
        "epoch, times bare": lambda m: times_bare(m, "epoch"),
        "fit, times bare": lambda m: times_bare(m, "fit"),
    }
    table = rows(f"training, {record.details['epochs']} epochs a time", record.measurements, extra)
    failures = tuple(f"{case}: Assay and the bare loop end in different weights" for case in different)
    return Report(tuple(lines), (table,), failures=failures)
