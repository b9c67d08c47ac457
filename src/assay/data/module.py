"""The LightningDataModule: any `Source`, cut into batches as the config says."""

import math
from typing import Any, cast, final

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from assay.config.schema import TrainerConfig
from assay.data.batches import EpochPlan, Executions, Share, TensorBatches, gather_dataset, gather_tensors
from assay.data.source import Source, Split
from assay.errors import UserError

EVALUATION_BATCH = 1_000  # samples; large enough to be fast, small enough for a cache and a CNN's activations


@final
class DataModule(LightningDataModule):
    """Feeds the three splits of a source; the order of training batches is a function of (seed, epoch)."""

    def __init__(self, source: Source, seed: int, config: TrainerConfig) -> None:
        super().__init__()
        self.source = source
        self.seed = seed
        self.config = config
        self.resume_at: tuple[int, int] = (0, 0)  # (epoch, batches of it already done), set from a checkpoint
        self._splits: dict[Split, Dataset[Any]] = {}

    def split(self, name: Split) -> Dataset[Any]:
        """The samples of one split."""
        if name not in self._splits:
            self._splits[name] = self.source.dataset(name)
        return self._splits[name]

    @property
    def num_batches(self) -> int:
        """Training batches, and so optimizer steps, of one epoch; of a share at least one."""
        everything = math.ceil(self._size("train") / self.source.batch_size)
        return max(1, _limited(everything, self.config.limit_train_batches))

    @property
    def total_steps(self) -> int:
        steps, most = self.config.max_epochs * self.num_batches, self.config.max_steps
        return steps if most is None else min(steps, most)

    @property
    def max_epochs(self) -> int:
        """Epochs that are begun: `max_steps` may leave the last one unfinished."""
        return math.ceil(self.total_steps / self.num_batches)

    def train_dataloader(self) -> Executions:
        dataset, share = self.split("train"), self._share
        if isinstance(dataset, TensorDataset):
            gather = gather_tensors(*self._on_device(dataset))
        else:
            workers = self.source.num_workers
            gather = gather_dataset(dataset, workers, self.seed, self._device, self._convert)
        plan = EpochPlan(
            num_samples=self._size("train"),
            batch_size=self.source.batch_size,
            num_batches=self.num_batches,
            # DistributedDataParallel averages gradients once for each call of the training step
            calls_of=1 if share.world_size > 1 else self.config.steps_per_execution,
            seed=self.seed,
            max_steps=self.config.max_steps,
        )
        return Executions(gather, plan, share, self._position)

    def val_dataloader(self) -> TensorBatches | DataLoader[Any]:
        return self._evaluation("val", self.config.limit_val_batches)

    def test_dataloader(self) -> TensorBatches | DataLoader[Any]:
        return self._evaluation("test", self.config.limit_test_batches)

    def _evaluation(self, name: Split, limit: int | float | None) -> TensorBatches | DataLoader[Any]:
        dataset, share, size = self.split(name), self._share, self.source.batch_size
        batches = _limited(math.ceil(self._size(name) / size), limit)
        used = range(self._size(name))[: batches * size][share.rank :: share.world_size]
        if isinstance(dataset, TensorDataset):
            features, labels = self._on_device(dataset)
            part = slice(used.start, used.stop, used.step)
            return TensorBatches(features[part], labels[part], EVALUATION_BATCH)
        return DataLoader(
            Subset(dataset, list(used)),
            batch_size=size,
            num_workers=self.source.num_workers,
            generator=torch.Generator(),  # or each new iterator would draw from the global one
        )

    def _size(self, name: Split) -> int:
        size = len(cast(Any, self.split(name)))
        if name == "train" and self.config.overfit_batches is not None:
            return min(size, self.config.overfit_batches * self.source.batch_size)
        return size

    def _on_device(self, dataset: TensorDataset) -> tuple[Tensor, Tensor]:
        features, labels = (self._convert(tensor).to(self._device) for tensor in dataset.tensors)
        return features, labels

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


def _limited(count: int, limit: int | float | None) -> int:
    if limit is None:
        return count
    return min(count, limit) if isinstance(limit, int) else int(count * limit)
