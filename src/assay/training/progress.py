"""What a person sees while it trains: a bar on a terminal, one plain line an epoch elsewhere."""

import time
from typing import Any, cast, final

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assay.data.module import DataModule
from assay.training.history import Recorder

REFRESH_SECONDS = 0.5  # drawing costs milliseconds; no thread draws, because it would take time from a step


@final
class ProgressLine(Callback):
    """Epoch, steps, loss, samples/s and time left."""

    def __init__(self, console: Console, recorder: Recorder, total_steps: int, max_epochs: int) -> None:
        self.console = console
        self.recorder = recorder
        self.total_steps = total_steps
        self.max_epochs = max_epochs
        self._bar: Progress | None = None
        self._drawn_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not (self.console.is_terminal and trainer.is_global_zero):
            return
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps"),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TextColumn("{task.fields[rate]:,.0f} samples/s"),
            TimeRemainingColumn(),
            console=self.console,
            auto_refresh=False,
            transient=True,
        )
        self._bar.add_task(
            "fit", total=self.total_steps, completed=trainer.global_step,
            epoch=trainer.current_epoch + 1, epochs=self.max_epochs, loss=float("nan"), rate=0.0,
        )  # fmt: skip
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._bar is None or now - self._drawn_at < REFRESH_SECONDS:
            return
        self._drawn_at = now
        history = self.recorder.history
        source = cast(DataModule, cast(Any, trainer).datamodule).source
        elapsed = max(history.seconds, 1e-9)
        self._bar.update(
            self._bar.task_ids[0],
            completed=trainer.global_step,
            epoch=trainer.current_epoch + 1,
            loss=self.recorder.recent_loss,
            rate=trainer.global_step * source.batch_size / elapsed,
        )
        self._bar.refresh()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        history = self.recorder.history
        epoch, last = trainer.current_epoch + 1, history.last
        validated = (
            f"  val loss {last['val/loss']:.4f}  val accuracy {last['val/accuracy']:.2%}"
            if "val/loss" in last
            else ""
        )
        if trainer.is_global_zero:
            self.console.print(
                f"epoch {epoch}/{self.max_epochs}  step {trainer.global_step:,}"
                f"  train loss {last['train/loss']:.4f}{validated}"
                f"  {history.epoch_seconds[-1]:.2f} s",
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
