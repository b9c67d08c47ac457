"""The lesson's lazy data set: nothing is stored, each sample is made when it is asked for."""

from typing import Annotated, final

import torch
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset

from assay.data.images import BatchSize, Workers
from assay.data.source import Source, Split


class RandomDataset(Dataset[tuple[Tensor, Tensor]]):
    """`length` samples: features of shape (3,) in 0..1, a label 0 or 1, the same each time."""

    def __init__(self, length: int, seed: int = 0) -> None:
        self.length = length
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if not 0 <= index < self.length:
            raise IndexError(index)
        generator = torch.Generator().manual_seed(self.seed * self.length + index)
        features = torch.rand(3, generator=generator)
        label = torch.randint(0, 2, (), generator=generator)
        return features, label


@final
class RandomData(Source):
    """`length` random samples for each split, through an ordinary DataLoader."""

    name = "random"
    in_shape = (3,)
    num_classes = 2

    def __init__(
        self,
        length: Annotated[int, Field(ge=1, description="samples in each split")] = 10,
        batch_size: BatchSize = 4,
        num_workers: Workers = 0,
    ) -> None:
        self.length = length
        self.batch_size = batch_size
        self.num_workers = num_workers

    def dataset(self, split: Split) -> RandomDataset:
        return RandomDataset(self.length, seed=("train", "val", "test").index(split))
