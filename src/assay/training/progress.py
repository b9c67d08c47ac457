"""What a person sees while it trains: a bar on a terminal, one plain line an epoch elsewhere."""

import time
from typing import Any, final

from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from assay.data.module import DataModule
from assay.report import as_text
from assay.terminal import on_a_line
from assay.training.history import Recorder

REFRESH_SECONDS = 0.5  # drawing costs milliseconds; no thread draws, because it would take time from a step


NARROWEST, WIDEST = 8, 40  # columns of the bar
ECHO = 3  # columns for the terminal's ^C: on a line of its own it would keep the bar from being wiped away


@final
class ProgressLine(Callback):
    """Epoch, step of the epoch, time left, loss, samples/s; the bar is that of the whole fit."""

    def __init__(self, console: Console, recorder: Recorder, data: DataModule) -> None:
        self.console = console
        self.recorder = recorder
        self.data = data
        self._live: Live | None = None
        self._drawn_at = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.console.is_terminal and trainer.is_global_zero:
            self._live = Live(self._bar(trainer), console=self.console, auto_refresh=False, transient=True)
            self._live.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.monotonic()
        if self._live is not None and now - self._drawn_at >= REFRESH_SECONDS:
            self._drawn_at = now
            self._live.update(self._bar(trainer), refresh=True)

    def _bar(self, trainer: Trainer) -> Table:
        """One line as wide as the screen or less; what is left of the time is among the last to go."""
        data, step = self.data, trainer.global_step
        of_epoch = step - trainer.current_epoch * data.num_batches
        rate = step / max(self.recorder.history.seconds, 1e-9)
        parts = [
            (0, f"epoch {trainer.current_epoch + 1}/{data.max_epochs}"),
            (2, f"step {of_epoch:,}/{data.num_batches:,}"),
            (1, f"{_clock((data.total_steps - step) / rate)} left" if step else ""),
            (3, f"loss {self.recorder.recent_loss:.4f}" if step else ""),
            (4, f"{rate * data.source.batch_size:,.0f} samples/s" if step else ""),
        ]
        room = self.console.width - ECHO
        shown = on_a_line(parts, room - NARROWEST - 2)
        width = min(WIDEST, room - sum(len(text) + 2 for text in shown if text))
        line = Table.grid(padding=(0, 2, 0, 0))
        bar = ProgressBar(data.total_steps, step, width)
        line.add_row(*filter(None, shown[:2]), bar, *filter(None, shown[2:]))
        return line

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        history, last = self.recorder.history, self.recorder.history.last
        measured = [name for name in dict.fromkeys(("val/loss", history.metric)) if name in last]
        values = [(3, "train/loss"), *((1 + (name == "val/loss"), name) for name in measured)]
        parts = [
            (0, f"epoch {trainer.current_epoch + 1}/{self.data.max_epochs}"),
            (5, f"step {trainer.global_step:,}"),
            *((rank, f"{name.replace('/', ' ')} {as_text(name, last[name])}") for rank, name in values),
            (4, f"{history.epoch_seconds[-1]:.2f} s"),
        ]
        shown = (
            on_a_line(parts, self.console.width) if self.console.is_terminal else [text for _, text in parts]
        )
        self.console.print("  ".join(filter(None, shown)), highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _clock(seconds: float) -> str:
    """`0:07`, `12:30` or `3:05:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
