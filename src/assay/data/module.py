"""The LightningDataModule: any `Source`, cut into batches as the config says."""

import math
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from assay.data.batches import EpochPlan, Share, StreamedExecutions, TensorBatches, TensorExecutions
from assay.data.source import Source, Split
from assay.errors import UserError

EVALUATION_BATCH = 1_000  # samples; large enough to be fast, small enough for a cache and a CNN's activations
Limit = int | float | None


@dataclass(frozen=True)
class Limits:
    """How much of each split is used, and how long training goes on; counts are of batches and steps."""

    train: Limit = None
    val: Limit = None
    test: Limit = None
    overfit: int | None = None  # train on the samples of so many batches only
    max_steps: int | None = None


@final
class DataModule(LightningDataModule):
    """Feeds the three splits of a source; the order of training batches is a function of (seed, epoch)."""

    def __init__(self, source: Source, seed: int, steps_per_execution: int, limits: Limits) -> None:
        super().__init__()
        self.source = source
        self.seed = seed
        self.steps_per_execution = steps_per_execution
        self.limits = limits
        self.resume_at: tuple[int, int] = (0, 0)  # (epoch, batches of it already done), set from a checkpoint
        self._splits: dict[Split, Dataset[Any]] = {}

    def split(self, name: Split) -> Dataset[Any]:
        """The samples of one split that are used."""
        if name not in self._splits:
            self._splits[name] = self.source.dataset(name)
        return self._splits[name]

    @property
    def num_batches(self) -> int:
        """Training batches, and so optimizer steps, of one epoch; of a share at least one."""
        everything = math.ceil(self._size("train") / self.source.batch_size)
        return max(1, _limited(everything, self.limits.train))

    def total_steps(self, max_epochs: int) -> int:
        steps = max_epochs * self.num_batches
        return steps if self.limits.max_steps is None else min(steps, self.limits.max_steps)

    def train_dataloader(self) -> TensorExecutions | StreamedExecutions:
        dataset, device, share = self.split("train"), self._device, self._share
        plan = EpochPlan(
            num_samples=self._size("train"),
            batch_size=self.source.batch_size,
            num_batches=self.num_batches,
            # DistributedDataParallel averages gradients once for each call of the training step
            calls_of=1 if share.world_size > 1 else self.steps_per_execution,
            seed=self.seed,
            max_steps=self.limits.max_steps,
        )
        if isinstance(dataset, TensorDataset):
            return TensorExecutions(self._on_device(dataset), plan, share, self._position)
        workers, convert = self.source.num_workers, self._convert
        return StreamedExecutions(dataset, workers, device, convert, plan, share, self._position)

    def val_dataloader(self) -> TensorBatches | DataLoader[Any]:
        return self._evaluation("val", self.limits.val)

    def test_dataloader(self) -> TensorBatches | DataLoader[Any]:
        return self._evaluation("test", self.limits.test)

    def _evaluation(self, name: Split, limit: Limit) -> TensorBatches | DataLoader[Any]:
        dataset, share = self.split(name), self._share
        batches = _limited(math.ceil(self._size(name) / self.source.batch_size), limit)
        used = range(self._size(name))[: batches * self.source.batch_size][share.rank :: share.world_size]
        if isinstance(dataset, TensorDataset):
            part = slice(used.start, used.stop, used.step)
            return TensorBatches([tensor[part] for tensor in self._on_device(dataset)], EVALUATION_BATCH)
        return DataLoader(
            Subset(dataset, list(used)),
            batch_size=self.source.batch_size,
            num_workers=self.source.num_workers,
            generator=torch.Generator(),  # or each new iterator would draw from the global one
        )

    def _size(self, name: Split) -> int:
        size = len(cast(Any, self.split(name)))
        if name == "train" and self.limits.overfit is not None:
            return min(size, self.limits.overfit * self.source.batch_size)
        return size

    def _on_device(self, dataset: TensorDataset) -> list[Tensor]:
        return [self._convert(tensor).to(self._device) for tensor in dataset.tensors]

    def _convert(self, tensor: Tensor) -> Tensor:
        """To the precision of the weights, where `device.precision` says so."""
        assert self.trainer is not None
        return self.trainer.precision_plugin.convert_input(tensor)

    @property
    def _device(self) -> torch.device:
        assert self.trainer is not None
        return self.trainer.strategy.root_device

    @property
    def _share(self) -> Share:
        assert self.trainer is not None
        world_size = self.trainer.world_size
        if self.source.batch_size < world_size:
            raise UserError(
                f"data.batch_size: {self.source.batch_size} samples are too few for {world_size} processes\n"
                f"batch_size counts the samples of all devices together: give at least {world_size}"
            )
        return Share(self.trainer.global_rank, world_size)

    def _position(self) -> tuple[int, int]:
        assert self.trainer is not None
        epoch = self.trainer.current_epoch
        resumed, done = self.resume_at
        return epoch, done if epoch == resumed else 0


def _limited(count: int, limit: Limit) -> int:
    if limit is None:
        return count
    return min(count, limit) if isinstance(limit, int) else int(count * limit)
