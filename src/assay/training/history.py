"""What happened in training: `metrics.csv` is the record, every logger a view of it."""

import csv
import logging
import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from io import StringIO
from itertools import takewhile
from pathlib import Path
from typing import Any, cast, final

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from assay.errors import Diverged
from assay.training.atomic import write_durably, write_error
from assay.training.learner import Executed, Learner
from assay.training.tasks import Direction, Sums, Task

ROW_BYTES = 200
log = logging.getLogger(__name__)


def columns(task: Task) -> tuple[str, ...]:
    """Those of `metrics.csv`; values are means over the samples since the last row, or of the epoch."""
    measured = ("loss", *task.directions)
    return (
        "epoch",  # finished ones for a row at an epoch's end, so 1 after the first
        "step",  # optimizer steps done
        "seconds",  # since training began, pauses left out
        *(f"train/{name}" for name in measured),
        "learning_rate",
        *(f"train/epoch_{name}" for name in measured),
        *(f"{split}/{name}" for split in ("val", "test") for name in measured),
        "samples_per_second",
    )


class MetricsFile:
    """A CSV file with one row a moment, each on the disk's way as soon as it is written.

    A value of a new name adds a column; the rows before it have nothing there.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep_rows: int = 0) -> None:
        """Go on after `keep_rows` rows; those written after the checkpoint that is resumed are dropped."""
        self.path = path
        kept: list[str] = []
        if keep_rows:
            columns, kept = _whole_rows(path, columns, keep_rows)
        if len(kept) < keep_rows:
            log.warning("%s has lost rows: %d are there of %d", path, len(kept), keep_rows)
        self._begin(columns, kept)

    def _begin(self, columns: Sequence[str], rows: Sequence[str]) -> None:
        header = StringIO()
        csv.writer(header, lineterminator="").writerow(columns)
        write_durably(self.path, "\n".join([header.getvalue(), *rows, ""]).encode())
        self.columns = columns
        self._file = self.path.open("a", newline="", encoding="utf-8")
        self._writer: csv.DictWriter[str] = csv.DictWriter(self._file, columns, lineterminator="\n")

    def append(self, row: dict[str, float]) -> None:
        """Raises `WriteError`; half a row is dropped when the run is resumed."""
        if new := [name for name in row if name not in self.columns]:
            self._file.close()
            _, rows = _whole_rows(self.path, self.columns)
            self._begin([*self.columns, *new], [f"{one}{',' * len(new)}" for one in rows])
        try:
            # `repr` is the shortest text that gives the same float back
            self._writer.writerow({name: repr(value) for name, value in row.items()})
            self._file.flush()
        except OSError as error:
            raise write_error(self.path, error, ROW_BYTES) from error

    def sync(self) -> None:
        """Put it on the disk: a checkpoint counts the rows before it."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        try:
            self._file.close()
        except OSError as error:  # it flushes once more what a full disk has refused before
            log.warning("%s: %s", self.path, error)


def _whole_rows(
    path: Path, least: Sequence[str], count: int | None = None
) -> tuple[Sequence[str], list[str]]:
    """The columns, `least` or more, and the first `count` rows or all, up to one that was damaged."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    header = next(csv.reader(lines[:1]), [])
    columns = header if header[: len(least)] == list(least) else least
    rows = lines[1:] if count is None else lines[1 : count + 1]
    return columns, list(takewhile(lambda row: row.count(",") == len(columns) - 1, rows))


@dataclass
class History:
    """What has been measured so far, and which epoch was the best; all of it is kept in checkpoints."""

    metric: str  # that decides which is the best
    direction: Direction
    rows: int = 0
    samples: int = 0
    seconds: float = 0.0
    window: Sums = field(default_factory=Sums)
    epoch: Sums = field(default_factory=Sums)
    epoch_seconds: list[float] = field(default_factory=list)  # of training, without validation
    this_epoch_seconds: float = 0.0
    last: dict[str, float] = field(default_factory=dict)  # metrics at the end of the last epoch
    best: dict[str, float] = field(default_factory=dict)  # those of the best checkpoint, with epoch and step

    @classmethod
    def of(cls, task: Task) -> "History":
        return cls(task.metric, task.direction)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "History":
        sums: dict[str, Any] = {name: Sums(**state[name]) for name in ("window", "epoch")}
        return cls(**(state | sums))

    def best_epoch(self) -> dict[str, float]:
        """The earliest of those with the best value; without validation the last one."""
        new, best = self.last.get(self.metric), self.best.get(self.metric, math.nan)
        if math.isnan(best) or (new is not None and (new > best if self.direction == "max" else new < best)):
            return dict(self.last)
        return self.best


@final
class Recorder(Callback):
    """Reads the losses of a call of the training step once, and writes rows.

    Raises `Diverged` in the call in which the loss stopped being finite.
    """

    def __init__(self, path: Path, task: Task, log_every_n_steps: int, history: History) -> None:
        self.path = path
        self.task = task
        self.columns = columns(task)
        self.log_every_n_steps = log_every_n_steps
        self.history = history  # the run's, or that of the checkpoint that it goes on from
        self.recent_loss = math.nan  # for the progress bar
        self._file: MetricsFile | None = None
        self._validated: dict[str, float] = {}  # of the epoch that runs
        self._clock = time.perf_counter()

    def state_dict(self) -> dict[str, Any]:
        if self._file is not None:
            self._file.sync()
        return asdict(self.history) | {"best": self.history.best_epoch()}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            self._file = MetricsFile(self.path, self.columns, keep_rows=self.history.rows)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._clock = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        executed = cast(Executed, outputs)
        losses, values, counts = _over_processes(trainer, executed)
        now = time.perf_counter()
        self.history.seconds += now - self._clock
        self.history.this_epoch_seconds += now - self._clock
        self._clock = now
        step = trainer.global_step - len(losses)
        # private: the x axis of Lightning's own callbacks, which would count calls; Lightning adds the one
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step - 1  # pyright: ignore[reportPrivateUsage]
        for loss, sums, count, rate in zip(losses, values, counts, executed["learning_rates"], strict=True):
            step += 1
            if not math.isfinite(loss):
                raise diverged("the training loss", loss, step, rate, cast(Learner, pl_module).clip_val)
            self.history.window.add(loss, sums, count)
            self.history.epoch.add(loss, sums, count)
            if step % self.log_every_n_steps == 0:
                self._window_row(trainer, step, rate)
        if losses:
            self.recent_loss = losses[-1]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Callbacks may monitor what is logged here; it is the same in every process already."""
        self._validated = evaluation(trainer, cast(Learner, pl_module), "val")
        pl_module.log_dict(self._validated, logger=False, sync_dist=trainer.world_size > 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = time.perf_counter()
        self.history.seconds += now - self._clock
        self._clock = now

    def end_epoch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """After validation, where there was one, and after what other callbacks have logged."""
        history, step = self.history, trainer.global_step
        validated, self._validated = self._validated, {}
        loss = validated.get("val/loss", 0.0)
        if not math.isfinite(loss):
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            raise diverged("the validation loss", loss, step, rate, cast(Learner, pl_module).clip_val)
        trained = history.epoch.metrics(self.task, "train/epoch_")
        rate = history.epoch.samples / history.this_epoch_seconds
        logged = {
            name: float(value) for name, value in trainer.callback_metrics.items() if name not in self.columns
        }
        self._row(trainer, step, trained | validated | logged | {"samples_per_second": rate})
        history.last = {
            "epoch": trainer.current_epoch + 1,
            "step": step,
            **history.epoch.metrics(self.task, "train/"),
            **validated,
            **{name: value for name, value in logged.items() if math.isfinite(value)},
        }
        history.samples += history.epoch.samples
        history.epoch_seconds.append(history.this_epoch_seconds)
        history.this_epoch_seconds = 0.0
        history.epoch = Sums()
        self._clock = time.perf_counter()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _window_row(self, trainer: Trainer, step: int, learning_rate: float) -> None:
        self._row(
            trainer,
            step,
            {**self.history.window.metrics(self.task, "train/"), "learning_rate": learning_rate},
        )
        self.history.window = Sums()

    def _row(self, trainer: Trainer, step: int, values: dict[str, float]) -> None:
        self.history.rows += 1
        if self._file is None:
            return
        epoch = trainer.current_epoch + ("samples_per_second" in values)
        self._file.append({"epoch": epoch, "step": step, "seconds": self.history.seconds, **values})
        ours = {
            name: value for name, value in values.items() if name in self.columns
        }  # Lightning logs the others
        for logger in trainer.loggers:
            logger.log_metrics(ours, step=step)


def evaluation(trainer: Trainer, module: Learner, split: str) -> dict[str, float]:
    """Loss and metrics of the pass over a split that just ended, over all processes; empty for no samples.

    The module's sums are taken: it begins anew.
    """
    sums, module.evaluated = module.evaluated, Sums()
    if trainer.world_size > 1:
        each = torch.tensor([sums.loss, *sums.values.values(), sums.samples], dtype=torch.float64)
        reduced = trainer.strategy.reduce(each.to(trainer.strategy.root_device), reduce_op="sum")
        loss, *values, samples = cast(torch.Tensor, reduced).tolist()
        sums = Sums(loss, dict(zip(sums.values, values, strict=True)), int(samples))
    return sums.metrics(module.task, f"{split}/") if sums.samples else {}


def _over_processes(
    trainer: Trainer, executed: Executed
) -> tuple[list[float], list[dict[str, float]], list[int]]:
    """Mean loss, sums of values, seen samples of each step, over all processes: the one read."""
    losses, counts, names = executed["losses"], executed["counts"], list(executed["values"])
    if not counts:
        return [], [], []
    rows = torch.stack([losses, *executed["values"].values()])
    if trainer.world_size > 1:
        counted = 1.0 if executed["weight"] else 0.0  # a sample of weight 0 only keeps the processes in step
        count = torch.tensor(counts, device=losses.device)
        rows[0] *= executed["weight"] / trainer.world_size
        rows[1:] *= counted
        rows = torch.cat([rows, (count * counted)[None]])
        *rows, seen = cast(torch.Tensor, trainer.strategy.reduce(rows, reduce_op="sum"))
        counts = [int(n) for n in seen.tolist()]
    losses, *values = [row.tolist() for row in rows]
    each = [{name: sums[at] for name, sums in zip(names, values, strict=True)} for at in range(len(losses))]
    return losses, each, counts


def diverged(what: str, value: float, step: int, learning_rate: float, clip_val: float | None) -> Diverged:
    """What is no longer finite, where, and what to try."""
    clip = "" if clip_val is not None else ", or clip the gradients: trainer.gradient_clip_val=1.0"
    return Diverged(
        f"{what} became {value} at step {step}, with learning rate {learning_rate:.3g}\n"
        f"try a smaller one: optimizer.lr={learning_rate / 10:.1g}{clip}"
    )
