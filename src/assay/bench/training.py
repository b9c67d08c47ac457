"""`bench=training`: what Assay costs over a bare tensor loop, and what stock Lightning and a DataLoader cost.

One time of an arm is one whole fit. In every round each arm trains once, in shuffled order, so that a machine
that slows down slows all of them; an arm is compared with the bare loop of its own round. All begin with the
same weights and use the same optimizer settings and thread count. The bare loop, Assay and stock Lightning
see the same batches in the same order, and the bare loop and Assay must end in the same weights, bit for bit:
a faster loop that trains something else proves nothing.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
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

from assay.bench.measure import Job, Rule
from assay.bench.record import Measurement, Record, Task
from assay.bench.session import Session
from assay.bench.statistics import paired_ratio
from assay.bench.views import Cell, rows
from assay.config.components import build
from assay.config.load import load
from assay.config.schema import TrainConfig, TrainingConfig
from assay.data.images import MNIST
from assay.data.order import epoch_order
from assay.data.source import Source, Split
from assay.report import Figure, Report, seconds
from assay.run.run import run_new
from assay.run.signals import StopRequest

SAME_WEIGHTS = {"bare", "assay"}
PARTS = {"epoch": "an epoch's training", "fit": "the whole fit with validation and checkpoints"}
TRAIN_SAMPLES = 55_000
VALIDATION_BATCH = 1_000
Batch = tuple[Tensor, Tensor]
NEEDS = 2 * 60_000 * 784 * 4  # bytes: the images as float32, and once more while they are converted


@dataclass(frozen=True)
class Fit:
    """What one fit took, and the weights it ended with."""

    epoch_s: Sequence[float]  # the training part of each epoch
    fit_s: float  # with set-up, validation, and what the arm writes
    weights: dict[str, Tensor]


def measure(config: TrainingConfig, session: Session) -> None:
    """All arms in every round, for each optimizer and batch size."""
    session.details["epochs"] = config.epochs
    session.details.setdefault("different_weights", [])
    rule = Rule(width=0.0, least=config.repeats, most=config.repeats, sample_s=0.0, warm_s=0.0)
    cases = [(optimizer, batch) for optimizer in config.optimizers for batch in config.batch_sizes]
    session.measure_each([partial(_jobs, config, session, *case) for case in cases], rule)


def _jobs(config: TrainingConfig, session: Session, optimizer: str, batch_size: int) -> list[Job]:
    threads = max(session.cpu_threads(config.threads))
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
                session.details["different_weights"].append(f"{optimizer} {batch_size}")
        return {"call": fit.fit_s, "epoch": median(fit.epoch_s)}

    return [
        Job(
            Task(f"fit {optimizer}", arm, "cpu", threads=threads, size=batch_size),
            session.devices[0],
            prepare=partial(ARMS[arm], train),
            needs=NEEDS,
            own_s=partial(own_times, arm),
        )
        for arm in config.arms
    ]


def bare(config: TrainConfig) -> Callable[[], Fit]:
    """The reference: tensors in memory and the five lines of the cycle."""
    train, val = _tensors(config, "train"), _tensors(config, "val")

    def fit() -> Fit:
        batches = _Batches(*train, config.data["batch_size"], config.seed)
        return _cycle(config, batches, _Batches(*val, VALIDATION_BATCH, None))

    return fit


def textbook(config: TrainConfig) -> Callable[[], Fit]:
    """The loop of the tutorials: a torchvision data set with transforms in a shuffling DataLoader."""
    root, size, val_size = (config.data[key] for key in ("root", "batch_size", "val_size"))
    source = MNIST(str(root), size, val_size, in_memory=False)
    batches = DataLoader(source.dataset("train"), batch_size=source.batch_size, shuffle=True)
    return partial(_cycle, config, batches, DataLoader(source.dataset("val"), batch_size=VALIDATION_BATCH))


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
        _validate(model, validation)
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
    train, val = _tensors(config, "train"), _tensors(config, "val")

    def fit() -> Fit:
        model, optimizer = _start(config)
        began = time.perf_counter()
        module = _StockModule(model, optimizer)
        batches = _Batches(*train, config.data["batch_size"], config.seed)
        with (
            tempfile.TemporaryDirectory() as folder,
            redirect_stdout(StringIO()),
            redirect_stderr(StringIO()),
        ):
            trainer = pl.Trainer(
                accelerator="cpu",
                max_epochs=config.trainer.max_epochs,
                callbacks=[TQDMProgressBar()],
                default_root_dir=folder,
                num_sanity_val_steps=0,
                log_every_n_steps=min(50, len(batches)),  # 50 is the default, refused for shorter epochs
            )
            trainer.fit(module, batches, _Batches(*val, VALIDATION_BATCH, None))
        return Fit(module.epoch_s, time.perf_counter() - began, model.state_dict())

    return fit


ARMS: dict[str, Callable[[TrainConfig], Callable[[], Fit]]] = {
    "bare": bare, "assay": assay, "stock": stock, "textbook": textbook
}  # fmt: skip


@final
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


@final
class _Batches:
    """Batches gathered from tensors, in the order of the bare loop; in their own order without a seed."""

    def __init__(self, features: Tensor, labels: Tensor, size: int, seed: int | None) -> None:
        self.features, self.labels, self.size, self.seed = features, labels, size, seed
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.labels)
        order = torch.arange(count) if self.seed is None else epoch_order(count, self.seed, self.epoch)
        self.epoch += 1
        for indices in order.split(self.size):
            yield self.features.index_select(0, indices), self.labels.index_select(0, indices)


def _tensors(config: TrainConfig, split: Split) -> Batch:
    source: Source = build(config.data, "data", seed=config.seed)
    source.prepare()
    features, labels = cast(TensorDataset, source.dataset(split)).tensors
    return features, labels


def _start(config: TrainConfig) -> tuple[nn.Module, Optimizer]:
    """The network with the weights that a run with this seed begins with, and its optimizer."""
    torch.manual_seed(config.seed)
    model: nn.Module = build(config.model, "model", in_shape=(1, 28, 28), num_classes=10)
    return model, build(config.optimizer, "optimizer", params=model.parameters())


def _validate(model: nn.Module, batches: Iterable[Batch]) -> None:
    model.eval()
    with torch.inference_mode():
        for features, labels in batches:
            logits = model(features)
            nn.functional.cross_entropy(logits, labels).item()
            (logits.argmax(1) == labels).sum().item()
    model.train()


def report(record: Record) -> Report:
    """Assay's two ratios first."""
    lines: list[str] = []
    for m, part in product(record.ok(by="assay"), PARTS):
        if ratio := _times_bare(m, part, record):
            case = f"{m.task.what.removeprefix('fit ')}, batch {m.task.size}"
            lines.append(f"{case}: {PARTS[part]} takes {ratio} times the bare loop's")
    different = dict.fromkeys(record.details["different_weights"])
    compared = {m.task.by for m in record.ok()} >= SAME_WEIGHTS
    if compared and not different:
        lines.append("Assay and the bare loop end in the same weights, bit for bit")
    extra: dict[str, Cell] = {
        "an epoch": lambda m: seconds(median(m.parts_s["epoch"])),
        "a step": lambda m: seconds(median(m.parts_s["epoch"]) / -(-TRAIN_SAMPLES // (m.task.size or 1))),
        "epoch, times bare": lambda m: _times_bare(m, "epoch", record),
        "fit, times bare": lambda m: _times_bare(m, "fit", record),
    }
    table = rows(f"training, {record.details['epochs']} epochs a time", record.measurements, extra)
    bars = {f"{m.task.what} {m.task.size}: {m.task.by}": median(m.parts_s["epoch"]) for m in record.ok()}
    figure = Figure("epoch", "one epoch of MNIST, 784-128-10", "", "seconds", bars=bars, logarithmic=False)
    failures = tuple(f"{case}: Assay and the bare loop end in different weights" for case in different)
    return Report(tuple(lines), (table,), (figure,), failures=failures)


def _times_bare(m: Measurement, part: str, record: Record) -> str:
    """The ratio to the bare loop within the rounds, with its interval; nothing without a bare loop."""
    base = record.ok(what=m.task.what, size=m.task.size, by="bare")
    if not base:
        return ""
    ours, theirs = (one.times if part == "fit" else one.parts_s[part] for one in (m, base[0]))
    return str(paired_ratio(ours, theirs))
