"""An epoch cut into calls of the training step, each of many batches.

Lightning's hooks cost about as much as a small network's whole step, so a call of the training step gets an
iterable of `steps_per_execution` batches. Tensors in memory are gathered batch by batch just before use:
gathering a whole call's worth at once would spill the cache.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from assay.data.order import epoch_generator, epoch_order

Batch = tuple[Tensor, Tensor]  # features (batch, *in_shape), labels (batch,)
# the batches of one epoch, from its number and the sample indices of each batch
Gather = Callable[[int, Sequence[Tensor]], Iterator[Batch]]


@dataclass(frozen=True)
class Share:
    """Which part of every batch is this process's; `rank` of `world_size` equal parts."""

    rank: int = 0
    world_size: int = 1

    def of(self, indices: Tensor) -> Tensor:
        """This process's part; where there are fewer samples than processes, one sample of weight 0."""
        if self.world_size == 1:
            return indices
        part = indices.tensor_split(self.world_size)[self.rank]
        return part if len(part) else indices[:1]

    def weight(self, count: int) -> float:
        """What this process's mean loss must be scaled by so that the mean over processes is the batch's."""
        part = len(range(count)[self.rank :: self.world_size])  # tensor_split gives the first ones more, too
        return part * self.world_size / count


@dataclass(frozen=True)
class EpochPlan:
    """How many batches an epoch has, and which of them are run: those before `max_steps`."""

    num_samples: int
    batch_size: int
    num_batches: int
    calls_of: int
    seed: int
    max_steps: int | None

    def batches(self, epoch: int, first: int) -> list[list[Tensor]]:
        """The sample indices of each batch, call by call; batches before `first` are left out.

        Every epoch has the same number of calls: one that is resumed begins with empty ones.
        """
        order = epoch_order(self.num_samples, self.seed, epoch).split(self.batch_size)
        last = self.num_batches
        if self.max_steps is not None:
            last = min(last, self.max_steps - epoch * self.num_batches)
        starts = range(0, self.num_batches, self.calls_of)
        return [list(order[max(first, start) : min(start + self.calls_of, last)]) for start in starts]

    def __len__(self) -> int:
        return math.ceil(self.num_batches / self.calls_of)


class Execution:
    """The batches of one call of the training step, made while it iterates.

    `weight` scales this process's loss, see `Share`. No dataclass: Lightning would take it apart.
    """

    def __init__(self, batches: Iterator[Batch], count: int, weight: float) -> None:
        self.batches = batches
        self.count = count
        self.weight = weight

    def __iter__(self) -> Iterator[Batch]:
        return islice(self.batches, self.count)

    def __len__(self) -> int:
        return self.count


class Executions:
    """The loader of training: an epoch, call by call, from where `position` (epoch, batches done) says."""

    def __init__(
        self, gather: Gather, plan: EpochPlan, share: Share, position: Callable[[], tuple[int, int]]
    ) -> None:
        self.gather = gather
        self.plan = plan
        self.share = share
        self.position = position

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Execution]:
        epoch, first = self.position()
        calls = self.plan.batches(epoch, first)
        batches = self.gather(epoch, [self.share.of(indices) for call in calls for indices in call])
        for call in calls:
            weight = self.share.weight(len(call[0])) if call else 1.0
            yield Execution(batches, len(call), weight)


def gather_tensors(features: Tensor, labels: Tensor) -> Gather:
    """Batches out of tensors in memory, on the device where they are."""

    def gather(epoch: int, batches: Sequence[Tensor]) -> Iterator[Batch]:
        for indices in batches:
            here = indices.to(features.device, non_blocking=True)
            yield features.index_select(0, here), labels.index_select(0, here)

    return gather


def gather_dataset(
    dataset: Dataset[Any],
    num_workers: int,
    seed: int,
    device: torch.device,
    convert: Callable[[Tensor], Tensor],
) -> Gather:
    """Batches out of any data set, sample by sample, through a DataLoader whose workers are kept."""
    planned: list[list[int]] = []
    generator = torch.Generator()  # or each epoch would draw from the global one
    loader = DataLoader(
        dataset,
        batch_sampler=planned,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=device.type == "cuda",
        generator=generator,
    )

    def gather(epoch: int, batches: Sequence[Tensor]) -> Iterator[Batch]:
        planned[:] = [indices.tolist() for indices in batches]
        generator.set_state(epoch_generator(seed, epoch).get_state())
        for features, labels in loader:
            yield convert(features).to(device, non_blocking=True), labels.to(device, non_blocking=True)

    return gather


class TensorBatches:
    """Validation and test over tensors in memory, in their order, `size` at a time."""

    def __init__(self, features: Tensor, labels: Tensor, size: int) -> None:
        self.features = features.split(size)
        self.labels = labels.split(size)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Batch]:
        return zip(self.features, self.labels, strict=True)
