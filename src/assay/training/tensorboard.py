"""The TensorBoard view of a run, in the run folder itself, continued by a resumed run."""

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from lightning_fabric.loggers.logger import rank_zero_experiment
from numpy.typing import NDArray
from pytorch_lightning.loggers.logger import Logger
from tensorboard.compat.proto import summary_pb2
from torch.utils.tensorboard import SummaryWriter

FLUSH_SECONDS = 10  # a killed run loses at most this much of the view; metrics.csv loses nothing
SUMMARY: Any = cast(Any, summary_pb2).Summary  # made by protobuf at run time
log = logging.getLogger(__name__)


@final
class TensorBoard(Logger):
    """What can be seen of a run, in one folder; a disk that is full costs a warning, never the run.

    Lightning's own TensorBoardLogger adds a hparams.yaml and knows no way to continue a curve.
    """

    def __init__(self, folder: Path, purge_step: int | None = None) -> None:
        super().__init__()
        self.folder = folder
        self.purge_step = purge_step  # points from this step on are those of a lost run
        self._writer: SummaryWriter | None = None
        self._failed = False
        self._excepthook: Callable[[threading.ExceptHookArgs], object] = threading.excepthook

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.folder)

    @property
    @rank_zero_experiment
    def experiment(self) -> SummaryWriter:
        if self._writer is None:
            self._excepthook, threading.excepthook = threading.excepthook, self._raised_in_thread
            self._writer = SummaryWriter(
                str(self.folder), purge_step=self.purge_step, flush_secs=FLUSH_SECONDS
            )
        return self._writer

    def _raised_in_thread(self, raised: threading.ExceptHookArgs) -> None:
        """What the writer's thread met is raised again at the next write: there it becomes a warning."""
        if not type(raised.thread).__module__.startswith("tensorboard."):
            self._excepthook(raised)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self._attempt(lambda: self.experiment.add_text("hyperparameters", str(params)))

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for name, value in metrics.items():
            self._attempt(lambda name=name, value=value: self.experiment.add_scalar(name, value, step))

    def log_image(self, name: str, png: bytes, size: tuple[int, ...], step: int) -> None:
        """A PNG of (height, width) as it is; `add_image` would make one of its pixels again."""
        image = SUMMARY.Image(height=size[0], width=size[1], colorspace=3, encoded_image_string=png)
        summary = SUMMARY(value=[SUMMARY.Value(tag=name, image=image)])
        self._attempt(lambda: cast(Any, self.experiment).file_writer.add_summary(summary, step))

    def log_texts(self, texts: Mapping[str, str], step: int) -> None:
        """Texts in Markdown, by name."""
        for name, text in texts.items():
            self._attempt(lambda name=name, text=text: self.experiment.add_text(name, text, step))

    def log_histogram(self, name: str, values: NDArray[np.float32], step: int) -> None:
        self._attempt(lambda: self.experiment.add_histogram(name, values, step))

    def save(self) -> None:
        """Nothing that was logged so far is lost by a crash after this."""
        if self._writer is not None:
            self._attempt(self._writer.flush)

    def close(self) -> None:
        if self._writer is not None:
            self._attempt(self._writer.flush)  # closing alone would not say that its thread has failed
            self._attempt(self._writer.close)
            self._writer = None
            threading.excepthook = self._excepthook

    def _attempt(self, write: Callable[[], None]) -> None:
        if self._failed:
            return
        try:
            write()
        except OSError as error:
            self._failed = True
            log.warning("TensorBoard's file cannot be written (%s): metrics.csv goes on without it", error)
