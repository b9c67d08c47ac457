"""A data set larger than the memory it may take: read through a memory map, page by page, and let go of.

The lesson's "500 GB" point on a small scale: a file is mapped, batches are read from it in order, and after
each batch its pages are handed back, so that the memory in use does not grow with the file.
"""

import mmap
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

SAMPLE_BYTES = 28 * 28
BATCH = 1024  # samples: 0.8 MB, a multiple of the page size


@dataclass(frozen=True)
class Streamed:
    """What streaming the file once took; `grown_bytes` is how far memory rose above its start."""

    file_bytes: int
    grown_bytes: int
    seconds: float
    samples: int
    checksum_right: bool


@final
class MappedImages(IterableDataset[Tensor]):
    """Batches of grey images, shape (batch, 28, 28), from a file of bytes that is never read as a whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __iter__(self) -> Iterator[Tensor]:
        step = BATCH * SAMPLE_BYTES
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            for start in range(0, len(mapped), step):
                pixels = np.frombuffer(mapped[start : start + step], dtype=np.uint8).copy()
                if hasattr(mapped, "madvise"):  # not on Windows, which takes pages back by itself
                    mapped.madvise(mmap.MADV_DONTNEED, start, min(step, len(mapped) - start))
                yield torch.from_numpy(pixels).view(-1, 28, 28)


def stream(megabytes: int, seed: int) -> Streamed:
    """Write a file of random images, stream it once, and watch the process's memory after every batch."""
    samples = max(BATCH, megabytes * 10**6 // SAMPLE_BYTES)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.bin"
        written = _write(path, samples, seed)
        for batch in DataLoader(MappedImages(path), batch_size=None):
            _sum(batch)
            break  # what torch loads and reserves on first use does not belong to the stream
        process = psutil.Process()
        before = most = process.memory_info().rss
        start, total, count = time.perf_counter(), 0, 0
        for batch in DataLoader(MappedImages(path), batch_size=None):
            total += _sum(batch)
            count += len(batch)
            most = max(most, process.memory_info().rss)
        seconds = time.perf_counter() - start
        size = path.stat().st_size
    return Streamed(size, most - before, seconds, count, total == written and count == samples)


def _sum(batch: Tensor) -> int:
    return int(batch.numpy().sum(dtype=np.int64))  # torch would make a copy of eight times the size


def _write(path: Path, samples: int, seed: int) -> int:
    """Random bytes in blocks; returns their sum."""
    random, total = np.random.default_rng(seed), 0
    with path.open("wb") as file:
        for start in range(0, samples, BATCH):
            block = random.integers(0, 256, size=(min(BATCH, samples - start), SAMPLE_BYTES), dtype=np.uint8)
            total += int(block.sum(dtype=np.int64))
            file.write(block.tobytes())
    return total
