"""When a run is saved, and what a signal does to it."""

import time
from pathlib import Path
from typing import Any, cast, final

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint

from assay.data.module import DataModule
from assay.errors import Interrupted
from assay.training.classifier import Classifier, Executed
from assay.training.durable import copy_checkpoint, load_checkpoint, save_checkpoint, sidecar
from assay.training.record import Recorder
from assay.training.state import at_epoch_start, rng_state, set_rng_state


@final
class DurableIO(CheckpointIO):
    """Writes checkpoints so that they survive a crash, and loads only undamaged ones of plain data."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts  # kept in every sidecar: config id, versions

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        facts = {"epoch": checkpoint["epoch"], "step": checkpoint["global_step"], **self.facts}
        save_checkpoint(checkpoint, Path(path), facts)

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        return load_checkpoint(Path(path), map_location)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink()
        sidecar(Path(path)).unlink(missing_ok=True)


@final
class Checkpoints(Checkpoint):
    """Keeps `last.ckpt` and `best.ckpt`: at each epoch's end, every so often inside one, and at a signal.

    The best is that of the highest validation accuracy, the earliest of equals.
    """

    def __init__(
        self, folder: Path, recorder: Recorder, every_steps: int | None, every_seconds: float | None
    ) -> None:
        self.folder = folder
        self.recorder = recorder
        self.every_steps = every_steps
        self.every_seconds = every_seconds
        self.signum: int | None = None
        self._batches_done = 0  # of the epoch that runs
        self._epochs_done = 0
        self._saved_at = time.monotonic()
        self._rng: dict[str, Any] | None = None

    @property
    def last(self) -> Path:
        return self.folder / "last.ckpt"

    @property
    def best(self) -> Path:
        return self.folder / "best.ckpt"

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        at_epoch_start(checkpoint["loops"], self._epochs_done, trainer.global_step)
        checkpoint["assay"] = {
            "epochs": self._epochs_done,
            "batches": self._batches_done,
            "rng": rng_state(),
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["assay"]
        self._epochs_done, self._batches_done = state["epochs"], state["batches"]
        cast(Any, trainer).datamodule.resume_at = (self._epochs_done, self._batches_done)
        self._rng = state["rng"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        resumed, done = cast(DataModule, cast(Any, trainer).datamodule).resume_at
        self._batches_done = done if resumed == trainer.current_epoch else 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._rng is not None:  # here and not earlier: what sets a run up may draw from the generators
            set_rng_state(self._rng)
            self._rng = None

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = len(cast(Executed, outputs)["counts"])
        self._batches_done += done
        if self._stop(trainer, cast(Classifier, pl_module)):
            self._save(trainer)
            raise Interrupted(self.signum or 15)
        if self._batches_done < trainer.datamodule.num_batches and self._due(trainer, done):  # type: ignore[attr-defined]
            self._save(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        history = self.recorder.history
        self._epochs_done, self._batches_done = trainer.current_epoch + 1, 0
        accuracy = history.last.get("val/accuracy")
        improved = accuracy is not None and accuracy > history.best.get("val/accuracy", -1.0)
        if improved or "val/accuracy" not in history.best:  # without validation the last one is the best
            history.best = dict(history.last)
            improved = True
        self._save(trainer)
        if improved and trainer.is_global_zero:
            copy_checkpoint(self.last, self.best)
        if self._stop(trainer, cast(Classifier, pl_module)):
            raise Interrupted(self.signum or 15)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self.last, weights_only=False)
        self._saved_at = time.monotonic()

    def _due(self, trainer: Trainer, done: int) -> bool:
        if self.every_steps is not None:
            return trainer.global_step // self.every_steps > (trainer.global_step - done) // self.every_steps
        if self.every_seconds is None:
            return False
        return _agreed(trainer, time.monotonic() - self._saved_at >= self.every_seconds)

    def _stop(self, trainer: Trainer, module: Classifier) -> bool:
        return _agreed(trainer, module.stop_requested)


def _agreed(trainer: Trainer, wanted: bool) -> bool:
    """Whether any process wants it: all must act at the same step."""
    if trainer.world_size == 1:
        return wanted
    flag = torch.tensor(int(wanted), device=trainer.strategy.root_device)
    return bool(trainer.strategy.reduce(flag, reduce_op="sum"))
