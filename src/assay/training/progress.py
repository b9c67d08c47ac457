"""What a person sees while it trains: a bar on a terminal, one plain line an epoch elsewhere."""

import time
from typing import Any, final

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assay.data.module import DataModule
from assay.report import as_text
from assay.training.history import Recorder

REFRESH_SECONDS = 0.5  # drawing costs milliseconds; no thread draws, because it would take time from a step


@final
class ProgressLine(Callback):
    """Epoch, steps, loss, samples/s and time left."""

    def __init__(self, console: Console, recorder: Recorder, data: DataModule) -> None:
        self.console = console
        self.recorder = recorder
        self.data = data
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
        self._bar.add_task("fit", total=self.data.total_steps, **self._state(trainer))
        self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._bar is not None and now - self._drawn_at >= REFRESH_SECONDS:
            self._drawn_at = now
            self._bar.update(self._bar.task_ids[0], **self._state(trainer))
            self._bar.refresh()

    def _state(self, trainer: Trainer) -> dict[str, Any]:
        elapsed = max(self.recorder.history.seconds, 1e-9)
        return {
            "completed": trainer.global_step,
            "epoch": trainer.current_epoch + 1,
            "epochs": self.data.max_epochs,
            "loss": self.recorder.recent_loss,
            "rate": trainer.global_step * self.data.source.batch_size / elapsed,
        }

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        history, last = self.recorder.history, self.recorder.history.last
        said = f"epoch {trainer.current_epoch + 1}/{self.data.max_epochs}  step {trainer.global_step:,}"
        said += f"  train loss {last['train/loss']:.4f}"
        for name in ("val/loss", history.metric):
            said += f"  {name.replace('/', ' ')} {as_text(name, last[name])}" if name in last else ""
        said += f"  {history.epoch_seconds[-1]:.2f} s"
        self.console.print(said, highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
