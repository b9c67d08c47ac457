"""What a run needs to know of a data set: one class to write for a new one."""

from abc import ABC, abstractmethod
from typing import Any, Literal

from PIL.Image import Image
from torch import Tensor
from torch.utils.data import Dataset

Split = Literal["train", "val", "test"]


class Source(ABC):
    """A data set with its three splits.

    A split is any map-style `torch.utils.data.Dataset` of (features, target) pairs. A
    `torch.utils.data.TensorDataset` is taken as held in memory: it is trained on without a DataLoader, at the
    speed of a bare tensor loop. Everything else goes through a DataLoader with `num_workers` processes.
    """

    name: str
    in_shape: tuple[int, ...]  # of one sample
    class_names: tuple[str, ...] = ()  # where classes are not called by their numbers
    num_classes: int | None = None  # where targets are labels, whole numbers from 0 on
    target_shape: tuple[int, ...] = ()  # of one sample, where targets are numbers
    batch_size: int
    num_workers: int = 0

    def prepare(self) -> str | None:
        """Make sure that the files are there and undamaged; once a run, before anything reads them.

        Returns the SHA-256 of the data where there are files. Raises `UserError`.
        """
        return None

    @abstractmethod
    def dataset(self, split: Split) -> Dataset[Any]:
        """The samples of one split; called after `prepare`."""


class PictureSource(Source):
    """One that can bring any picture to the form of its samples."""

    @abstractmethod
    def picture(self, image: Image) -> Tensor:
        """The picture as the network sees it, of shape `in_shape`."""
