"""MNIST and Fashion-MNIST from their original files, read by torchvision."""

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, final

import psutil
import torch
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset
from torchvision import datasets, transforms

from assay.data import files
from assay.data.pictures import centred
from assay.data.source import PictureSource, Split
from assay.errors import UserError

SPLIT_SEED = 20_240_501  # draws the validation images; never the run's seed, or results could not be compared
CACHED = 250  # images that a processor's cache holds while they are scaled
BatchSize = Annotated[int, Field(ge=1, description="samples in one optimizer step, over all devices")]
ValSize = Annotated[int, Field(ge=1, le=59_999, description="training images kept for validation")]
Workers = Annotated[int, Field(ge=0, description="processes that load samples when not in memory")]
InMemory = Annotated[bool | Literal["auto"], Field(description="hold all images as one tensor")]
Target = Annotated[
    Literal["label", "ink", "image"],
    Field(description="what is to be found: the class, the share of ink, or the image itself"),
]


@lru_cache
def fits_in_memory(wanted: bool | str, needed: int) -> bool:
    """Whether data of so many bytes are held: as wanted, or if they take less than half of what is free.

    Found out once: a job of a sweep must not ask again beside the data that are held for it already.
    """
    if isinstance(wanted, bool):
        return wanted
    return needed < psutil.virtual_memory().available / 2


class Images(PictureSource):
    """28 x 28 grey images in ten classes; of the 60,000 to train `val_size` are kept for validation."""

    in_shape = (1, 28, 28)
    reader: type[datasets.MNIST]
    mean: float  # of the training pixels in 0..1
    std: float
    longer_side: int  # pixels of what is on an image
    checksums: Mapping[str, str]  # SHA-256 of the extracted files

    def __init__(
        self,
        root: str = "data",
        batch_size: BatchSize = 64,
        val_size: ValSize = 5_000,
        download: Annotated[bool, Field(description="fetch missing files from the network")] = True,
        in_memory: InMemory = "auto",
        num_workers: Workers = 0,
        target: Target = "label",
    ) -> None:
        self.root = Path(root)
        self.batch_size = batch_size
        self.val_size = val_size
        self.download = download
        self.in_memory = in_memory
        self.num_workers = num_workers
        self.target: Target = target
        self.num_classes = 10 if target == "label" else None
        self.target_shape = {"label": (), "ink": (1,), "image": self.in_shape}[target]

    @property
    def _folder(self) -> Path:
        return self.root / self.reader.__name__ / "raw"

    def prepare(self) -> str:
        folder = self._folder
        absent = [name for name in self.checksums if not (folder / name).exists()]
        if any(not (folder / f"{name}.gz").exists() for name in absent):
            self._download(folder)
        files.ensure(folder, self.checksums)
        return hashlib.sha256("".join(self.checksums.values()).encode()).hexdigest()

    def _download(self, folder: Path) -> None:
        wanted = f"the four original .gz files are needed in {folder}"
        if not self.download:
            raise UserError(f"data.root: {wanted}\ndata.download=false forbids fetching them")
        try:
            files.fetch(folder, dict(self.reader.resources), self.reader.mirrors)
        except OSError as error:
            raise UserError(
                f"data.root: {wanted}, and downloading them failed: {str(error).splitlines()[0]}"
            ) from error

    def dataset(self, split: Split) -> Dataset[Any]:
        if not fits_in_memory(self.in_memory, 70_000 * 28 * 28 * 4):
            scale = transforms.Compose([transforms.ToTensor(), transforms.Normalize(self.mean, self.std)])
            raw = self.reader(str(self.root), train=split != "test", transform=scale)
            chosen = _chosen(split, self.val_size, len(raw))
            return Subset(_WithTargets(raw, _targets(raw, self.target)), chosen.tolist())
        stamps = tuple(files.stamp(self._folder / name) for name in self.checksums)
        where = self.reader, self.root.absolute(), stamps
        return _held(where, (self.mean, self.std), self.val_size, self.target, split)

    def picture(self, image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(centred(image, self.longer_side)).float()[None]
        return pixels.div_(255).sub_(self.mean).div_(self.std)


def _chosen(split: Split, val_size: int, count: int) -> Tensor:
    """The places of a split's images among the so many of its file."""
    if split == "test":
        return torch.arange(count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(SPLIT_SEED))
    kept = order[val_size:] if split == "train" else order[:val_size]
    return kept.sort().values


def _targets(raw: datasets.MNIST, target: Target) -> Tensor | None:
    """Of all samples; None where they are the images."""
    if target == "ink":
        return raw.data.flatten(1).sum(1, keepdim=True) / (255 * raw.data[0].numel())
    return raw.targets if target == "label" else None


# a class of torchvision's, its root, and the stamps of its files
Where = tuple[type[datasets.MNIST], Path, tuple[tuple[int, int, int], ...]]


@lru_cache(maxsize=3)  # the server of a sweep's processes reads the splits once, and all its jobs share them
def _held(
    where: Where, scale: tuple[float, float], val_size: int, target: Target, split: Split
) -> TensorDataset:
    """A split as tensors, which nobody changes."""
    raw, (mean, std) = _raw(where, split != "test"), scale
    chosen, targets = _chosen(split, val_size, len(raw)), _targets(raw, target)
    images = torch.empty(len(chosen), *Images.in_shape)
    for part, at in zip(images.split(CACHED), chosen.split(CACHED), strict=True):
        part.copy_(raw.data[at].unsqueeze(1)).div_(255).sub_(mean).div_(std)
    return TensorDataset(images, images if targets is None else targets[chosen])


@lru_cache(maxsize=1)  # training and validation images are of one file
def _raw(where: Where, train: bool) -> datasets.MNIST:
    reader, root, _ = where
    return reader(str(root), train=train)


class _WithTargets(Dataset[tuple[Tensor, Tensor]]):
    """The images of a data set, each with its target or with itself."""

    def __init__(self, images: Dataset[Any], targets: Tensor | None) -> None:
        self.images = images
        self.targets = targets

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index][0]
        return image, image if self.targets is None else self.targets[index]


@final
class MNIST(Images):
    """Handwritten digits (LeCun, Cortes, Burges)."""

    name = "MNIST"
    reader = datasets.MNIST
    mean, std = 0.1307, 0.3081
    longer_side = 20
    checksums = {  # noqa: RUF012
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    }


@final
class FashionMNIST(Images):
    """Articles of clothing (Xiao, Rasul, Vollgraf 2017)."""

    name = "Fashion-MNIST"
    reader = datasets.FashionMNIST
    mean, std = 0.2860, 0.3530
    longer_side = 28
    checksums = {  # noqa: RUF012
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    }
