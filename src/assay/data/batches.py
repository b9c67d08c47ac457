"""The loaders: an epoch cut into calls of the training step, each of many batches.

Lightning's hooks cost about as much as a small network's whole step, so a call of the training step gets an
iterable of `steps_per_execution` batches. Tensors in memory are gathered batch by batch just before use:
gathering a whole call's worth at once would spill the cache.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from assay.data.order import epoch_generator, epoch_order

Batch = tuple[Tensor, Tensor]  # features (batch, *in_shape), labels (batch,)


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


class Execution:
    """The batches of one call of the training step, made while it iterates.

    `weight` scales this process's loss, see `Share`. No dataclass: Lightning would take it apart.
    """

    def __init__(self, batches: Iterable[Batch], count: int, weight: float = 1.0) -> None:
        self.batches = batches
        self.count = count
        self.weight = weight

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        return self.count


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


Position = Callable[[], tuple[int, int]]  # (epoch, batches of it already done)


class TensorExecutions:
    """An epoch over tensors in memory, on the device where they are."""

    def __init__(self, tensors: Sequence[Tensor], plan: EpochPlan, share: Share, position: Position) -> None:
        self.features, self.labels = tensors
        self.plan = plan
        self.share = share
        self.position = position

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Execution]:
        for call in self.plan.batches(*self.position()):
            weight = self.share.weight(len(call[0])) if call else 1.0
            yield Execution(self._gather(call), len(call), weight)

    def _gather(self, call: list[Tensor]) -> Iterator[Batch]:
        features, labels, device = self.features, self.labels, self.features.device
        for indices in call:
            chosen = self.share.of(indices).to(device, non_blocking=True)
            yield features.index_select(0, chosen), labels.index_select(0, chosen)


class _Listed(Sampler[list[int]]):
    """Hands a DataLoader the batches that were planned."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class StreamedExecutions:
    """An epoch over any data set, loaded sample by sample through a DataLoader with workers."""

    def __init__(
        self,
        dataset: Dataset[Any],
        num_workers: int,
        device: torch.device,
        convert: Callable[[Tensor], Tensor],
        plan: EpochPlan,
        share: Share,
        position: Position,
    ) -> None:
        self.plan = plan
        self.share = share
        self.position = position
        self.device = device
        self.convert = convert
        self._planned = _Listed()
        self._generator = torch.Generator()
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._planned,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            pin_memory=device.type == "cuda",
            generator=self._generator,  # or each new iterator would draw from the global one
        )

    def __len__(self) -> int:
        return len(self.plan)

    def __iter__(self) -> Iterator[Execution]:
        epoch, first = self.position()
        calls = self.plan.batches(epoch, first)
        self._planned.batches = [self.share.of(indices).tolist() for call in calls for indices in call]
        self._generator.set_state(epoch_generator(self.plan.seed, epoch).get_state())
        stream = iter(self._loader)
        for call in calls:
            weight = self.share.weight(len(call[0])) if call else 1.0
            yield Execution(self._take(stream, len(call)), len(call), weight)

    def _take(self, stream: Iterator[Any], count: int) -> Iterator[Batch]:
        for _ in range(count):
            features, labels = next(stream)
            features = self.convert(features).to(self.device, non_blocking=True)
            yield features, labels.to(self.device, non_blocking=True)


class TensorBatches:
    """Validation and test over tensors in memory, in their order, `size` at a time."""

    def __init__(self, tensors: Sequence[Tensor], size: int) -> None:
        self.features, self.labels = tensors
        self.size = size

    def __len__(self) -> int:
        return math.ceil(len(self.labels) / self.size)

    def __iter__(self) -> Iterator[Batch]:
        return zip(self.features.split(self.size), self.labels.split(self.size), strict=True)
