"""A person's own pictures: a folder for each class, in any sizes and formats."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset
from torchvision.datasets.folder import IMG_EXTENSIONS, find_classes, make_dataset

from assay.data.files import stamp
from assay.data.images import SPLIT_SEED, BatchSize, InMemory, Workers, fits_in_memory
from assay.data.pictures import BROKEN, read, square
from assay.data.source import PictureSource, Split
from assay.errors import UserError

HASHED = 64  # files whose content is part of the data's identity; of the others it is name and size
LISTED = 3  # broken pictures that are named
Sample = tuple[str, int]  # a file, and the number of its class
Share = Annotated[float, Field(gt=0, lt=0.5)]


@final
class Folder(PictureSource):
    """`root/<class>/...`, split by a fixed seed, or `root/train/<class>/...` with `val` and `test` beside it.

    Of each picture the middle is taken and scaled to `image_size` squared; then each channel of the training
    pictures has mean 0 and deviation 1.
    """

    def __init__(
        self,
        root: Annotated[str, Field(description="the folder that has a folder for each class")],
        image_size: Annotated[int, Field(ge=4, le=1024, description="pixels of a side")] = 64,
        channels: Annotated[Literal[1, 3], Field(description="1 is grey, 3 is colour")] = 3,
        batch_size: BatchSize = 64,
        val_share: Annotated[Share, Field(description="of the pictures, for validation")] = 0.1,
        test_share: Annotated[Share, Field(description="of the pictures, for testing")] = 0.1,
        in_memory: InMemory = "auto",
        num_workers: Workers = 0,
        skip_broken: Annotated[bool, Field(description="leave out pictures that cannot be read")] = False,
    ) -> None:
        self.root = Path(root).expanduser()
        self.name = self.root.name
        self.in_shape = (channels, image_size, image_size)
        self.batch_size = batch_size
        self.shares: dict[Split, float] = {"val": val_share, "test": test_share}
        self.in_memory = in_memory
        self.num_workers = num_workers
        self.skip_broken = skip_broken
        self.samples: dict[Split, list[Sample]] = {}
        self.held: dict[Split, Pictures] = {}  # of each split, where they fit
        self.scale = Scale(torch.full((channels, 1, 1), 127.5), torch.full((channels, 1, 1), 127.5))

    def prepare(self) -> str:
        """Lists the pictures and reads each once; raises `UserError` for what cannot be trained on."""
        self.samples = self._listed()
        everything = [sample for samples in self.samples.values() for sample in samples]
        needed = len(everything) * int(np.prod(self.in_shape)) * 5  # bytes: as read, and as numbers
        holds = fits_in_memory(self.in_memory, needed)
        broken: list[str] = []
        for split, samples in self.samples.items():
            stamps = tuple(stamp(Path(file)) for file, _ in samples)
            found = _read_all(tuple(file for file, _ in samples), stamps, self.in_shape, holds)
            broken += found.broken
            self.samples[split] = [samples[at] for at in found.at]
            if found.pixels is not None:
                self.held[split] = found
            if split == "train" and found.at:
                self.scale = _scale_of(found, self.in_shape[1] ** 2)
        if broken and not self.skip_broken:
            more = f", and {len(broken) - LISTED} more" if len(broken) > LISTED else ""
            raise UserError(
                f"data.root: {len(broken)} of {len(everything)} pictures cannot be read\n"
                f"  {'; '.join(broken[:LISTED])}{more}\n"
                "  remove them, or type data.skip_broken=true"
            )
        if empty := [split for split, samples in self.samples.items() if not samples]:
            raise UserError(f"data.root: {len(everything)} pictures in {self.root} leave none for {empty[0]}")
        self.name = f"{self.root.name}{f' without {len(broken)} broken pictures' if broken else ''}"
        return self._identity(everything)

    def dataset(self, split: Split) -> Dataset[Any]:
        labels = torch.tensor([label for _, label in self.samples[split]])
        if split in self.held:
            return TensorDataset(_scaled(self.held[split], self.scale), labels)
        return _Streamed([file for file, _ in self.samples[split]], labels, self)

    def picture(self, image: Image.Image) -> Tensor:
        channels, size, _ = self.in_shape
        return self.scale(square(image, size, channels))

    def _listed(self) -> dict[Split, list[Sample]]:
        """The files of each split; what has no folder of its own is drawn from the training pictures."""
        if not self.root.is_dir():
            raise UserError(f"data.root={self.root}: no such folder")
        own = (self.root / "train").is_dir()
        top = self.root / "train" if own else self.root
        try:
            classes, numbers = find_classes(str(top))
            splits: dict[Split, list[Sample]] = {"train": make_dataset(str(top), numbers, IMG_EXTENSIONS)}
            for split in self.shares:
                if own and (self.root / split).is_dir():
                    splits[split] = make_dataset(str(self.root / split), numbers, IMG_EXTENSIONS)
        except FileNotFoundError as error:
            raise UserError(f"data.root: {str(error).partition('. ')[0]}\n  {LAYOUT}") from None
        if len(classes) < 2:
            raise UserError(f"data.root: {top} has one folder, {classes[0]}, and so one class\n  {LAYOUT}")
        self.class_names, self.num_classes = tuple(classes), len(classes)
        pictures, seed = splits["train"], torch.Generator().manual_seed(SPLIT_SEED)
        order, begin = torch.randperm(len(pictures), generator=seed).tolist(), 0
        for split, share in self.shares.items():
            if split not in splits:
                end = begin + round(share * len(pictures))
                splits[split] = [pictures[at] for at in sorted(order[begin:end])]
                begin = end
        splits["train"] = [pictures[at] for at in sorted(order[begin:])]
        return splits

    def _identity(self, samples: Sequence[Sample]) -> str:
        """A digest of all names and sizes, and of the content of some files."""
        digest = hashlib.sha256()
        paths = sorted(Path(file) for file, _ in samples)
        for path in paths:
            digest.update(f"{path.relative_to(self.root)} {stamp(path)[0]}\n".encode())
        for path in paths[:: max(1, len(paths) // HASHED)]:
            digest.update(path.read_bytes() if path.exists() else b"")
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)  # one that was read is known by itself
class Pictures:
    """What was read of some files."""

    at: list[int]  # the places of those that could be read
    moments: NDArray[np.int64]  # (pictures, 2, channels): of each channel the sum, and that of the squares
    pixels: NDArray[np.uint8] | None  # (pictures, channels, height, width), where they are to be kept
    broken: list[str]  # why the others could not


@lru_cache(maxsize=3)  # the splits, which a sweep's server reads once for all of its jobs
def _read_all(
    files: tuple[str, ...], stamps: tuple[tuple[int, int, int], ...], shape: tuple[int, ...], keep: bool
) -> Pictures:
    """All of these files as pictures of a shape; `stamps` say that they are still the same."""
    channels, size, _ = shape

    def one(file: str) -> tuple[NDArray[np.uint8] | None, NDArray[np.int64]] | str:
        try:
            pixels = square(read(Path(file)), size, channels)
        except BROKEN as error:
            return f"{file}: {type(error).__name__}: {str(error).partition(' (')[0][:60]}"
        wide = pixels.reshape(channels, -1).astype(np.int64)
        return (pixels if keep else None), np.stack([wide.sum(1), (wide * wide).sum(1)])

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(one, files))
    at = [at for at, what in enumerate(found) if not isinstance(what, str)]
    whole = [what for what in found if not isinstance(what, str)]
    pixels = np.stack([np.asarray(pixels) for pixels, _ in whole]) if keep and whole else None
    moments = np.stack([moments for _, moments in whole]) if whole else np.empty((0, 2, channels), np.int64)
    return Pictures(at, moments, pixels, [what for what in found if isinstance(what, str)])


LAYOUT = "it needs a folder for each class, with pictures in it: <root>/cat/1.png, <root>/dog/1.png"


@dataclass(frozen=True, eq=False)
class Scale:
    """Pixels (..., channels, height, width) to the numbers that are trained on."""

    mean: Tensor  # (channels, 1, 1)
    deviation: Tensor

    def __call__(self, pixels: NDArray[np.uint8]) -> Tensor:
        return torch.from_numpy(pixels).float().sub_(self.mean).div_(self.deviation)


@lru_cache(maxsize=1)
def _scale_of(pictures: Pictures, pixels: int) -> Scale:
    """From the sums of each picture of so many pixels: whole numbers, in whatever order."""
    mean, mean_square = pictures.moments.sum(0) / (len(pictures.at) * pixels)
    deviation = np.sqrt(np.maximum(mean_square - mean**2, 1.0))  # of one colour alone it would be 0
    return Scale(*(torch.from_numpy(one).float()[:, None, None] for one in (mean, deviation)))


@lru_cache(maxsize=3)
def _scaled(pictures: Pictures, scale: Scale) -> Tensor:
    """The numbers of all pictures, which nobody changes."""
    assert pictures.pixels is not None
    return scale(pictures.pixels)


class _Streamed(Dataset[tuple[Tensor, Tensor]]):
    """Read again each time, by the DataLoader's workers."""

    def __init__(self, files: Sequence[str], labels: Tensor, source: Folder) -> None:
        self.files = np.array(files)  # one block of memory: a list would be copied into every worker
        self.labels = labels
        self.shape = source.in_shape
        self.scale = source.scale

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        channels, size, _ = self.shape
        return self.scale(square(read(Path(str(self.files[index]))), size, channels)), self.labels[index]
