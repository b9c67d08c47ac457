"""When a run is saved, and what a signal does to it."""

import math
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast, final

import torch
from lightning_fabric.plugins.io.checkpoint_io import CheckpointIO
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor

from assay.config.redact import redact
from assay.data.module import DataModule
from assay.errors import Interrupted
from assay.training.checkpoint import copy_checkpoint, save_checkpoint
from assay.training.history import Recorder, diverged
from assay.training.learner import Executed, Learner
from assay.training.state import at_epoch_start, epoch_and_batch, rng_of_all, rng_of_this, set_rng_state

FORMAT = 3  # of what is kept under "assay" in a checkpoint


@final
class DurableIO(CheckpointIO):
    """Writes checkpoints that survive a crash and hold no NaN; hands down the state that was verified."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        self.state = state

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        """Raises `WriteError`, or `Diverged` where a weight or a moment of the optimizer is not finite."""
        if not _all_finite((checkpoint["state_dict"], checkpoint.get("optimizer_states"))):
            groups = checkpoint["optimizer_states"][0]["param_groups"]
            raise diverged("a weight", math.nan, checkpoint["global_step"], groups[0]["lr"], clip_val=None)
        # a callback of a person's own may hold a secret, in a path for instance
        save_checkpoint(checkpoint | {"callbacks": redact(checkpoint.get("callbacks", {}))}, Path(path))

    def load_checkpoint(
        self, path: Any, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        assert self.state is not None
        return self.state

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink()


@final
class Checkpoints(Checkpoint):
    """Keeps `last.ckpt` and `best.ckpt`: at each epoch's end, every so often inside one, and at a signal.

    The best is that of the best value of the task's first metric, the earliest of equals.
    """

    def __init__(
        self,
        last: Path,
        recorder: Recorder,
        every: tuple[int | None, float | None],
        metadata: dict[str, Any],
        on_save: Callable[[], None],
    ) -> None:
        self.last = last
        self.recorder = recorder
        self.every_steps, self.every_seconds = every  # inside an epoch
        self.metadata = metadata  # config and versions, kept in every checkpoint
        self.on_save = on_save
        self.signum: int | None = None
        self._batches_done = 0  # of the epoch that runs
        self._epochs_done = 0
        self._saved_at = time.monotonic()
        self._rng: dict[str, Any] | None = None

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["assay"] = {
            "format": FORMAT,
            "epochs": self._epochs_done,
            "total_steps": _data_of(trainer).total_steps,
            "stop": trainer.should_stop,  # an early stop is a decision that must outlive a crash
            "rng": rng_of_all(trainer.world_size),
            **self.metadata,
        }

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state, step = checkpoint["assay"], checkpoint["global_step"]
        data = _data_of(trainer)
        position = epoch_and_batch(state["epochs"], step, data.num_batches, data.total_steps)
        self._epochs_done, self._batches_done = data.resume_at = position
        at_epoch_start(checkpoint["loops"], self._epochs_done, step)
        trainer.should_stop = state["stop"]
        self._rng = rng_of_this(state["rng"], trainer.global_rank, trainer.world_size)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        resumed, done = _data_of(trainer).resume_at
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
        self._stop_where_asked(trainer, pl_module)
        if self._batches_done < _data_of(trainer).num_batches and self._due(trainer, done):
            self._save(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """The epoch's batches are done, the epoch is not: a resumed run validates again, from the start."""
        self._stop_where_asked(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        history = self.recorder.history
        self._epochs_done, self._batches_done = trainer.current_epoch + 1, 0
        best = history.best_epoch()
        self._save(trainer)
        if best is not history.best:
            history.best = best
            if trainer.is_global_zero:
                copy_checkpoint(self.last, self.last.with_name("best.ckpt"))
        if self._asked(trainer, pl_module):
            raise Interrupted(self.signum or signal.SIGTERM)

    def _stop_where_asked(self, trainer: Trainer, module: LightningModule) -> None:
        if self._asked(trainer, module):
            self._save(trainer)
            raise Interrupted(self.signum or signal.SIGTERM)

    def _save(self, trainer: Trainer) -> None:
        for logger in trainer.loggers:
            logger.save()  # no view may lack what the checkpoint counts as done
        trainer.save_checkpoint(self.last, weights_only=False)
        self._saved_at = time.monotonic()
        if trainer.is_global_zero:
            self.on_save()

    def _due(self, trainer: Trainer, done: int) -> bool:
        if self.every_steps is not None:
            return trainer.global_step // self.every_steps > (trainer.global_step - done) // self.every_steps
        if self.every_seconds is None:
            return False
        return _agreed(trainer, time.monotonic() - self._saved_at >= self.every_seconds)

    def _asked(self, trainer: Trainer, module: LightningModule) -> bool:
        return _agreed(trainer, cast(Learner, module).stop_requested)


def _data_of(trainer: Trainer) -> DataModule:
    return cast(DataModule, cast(Any, trainer).datamodule)


def _agreed(trainer: Trainer, wanted: bool) -> bool:
    """Whether any process wants it: all must act at the same step."""
    if trainer.world_size == 1:
        return wanted
    flag = torch.tensor(int(wanted), device=trainer.strategy.root_device)
    return bool(trainer.strategy.reduce(flag, reduce_op="sum"))


def _all_finite(state: Any) -> bool:
    """Whether no floating-point number in nested lists and dictionaries of tensors is NaN or infinite."""
    finite = [torch.isfinite(tensor).all() for tensor in _floats(state)]
    return not finite or bool(torch.stack([one.cpu() for one in finite]).all())


def _floats(state: Any) -> Iterable[Tensor]:
    if isinstance(state, Tensor):
        if state.is_floating_point():
            yield state
    elif isinstance(state, dict):
        for inner in state.values():
            yield from _floats(inner)
    elif isinstance(state, (list, tuple)):
        for inner in state:
            yield from _floats(inner)
