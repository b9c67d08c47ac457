"""`bench=loader`: how batches are fed, and what each way gives in samples a second.

One time is one shuffled epoch; starting the workers belongs to the cold one. And the lesson's "500 GB" on a
small scale: a file larger than the memory that it may take is mapped and read batch by batch.
"""

import mmap
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler, TensorDataset

from assay.bench.device import setting
from assay.bench.measure import Job, Rule
from assay.bench.model import images
from assay.bench.record import Check, Record, Task
from assay.bench.session import Session
from assay.bench.views import pivot, rate
from assay.config.schema import LoaderConfig
from assay.data.random import RandomDataset
from assay.errors import UserError
from assay.report import Report, in_bytes

WAYS = ("per sample", "batched indices", "tensors in memory")
RULE = Rule(width=0.02, least=3, most=20, sample_s=0.0, warm_s=0.0)
SAMPLE_BYTES = 28 * 28  # in the file; a float32 image has four times as many
BATCH = 1024  # samples that are read from the file at once: 0.8 MB, a multiple of the page size


def measure(config: LoaderConfig, session: Session) -> None:
    """The lesson's shapes, the stream, then every way for each batch size."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 1.1e6 * config.stream_megabytes:
        raise UserError(
            f"stream_megabytes={config.stream_megabytes} does not fit: {in_bytes(free)} are free in "
            f"{tempfile.gettempdir()}\n  give fewer, or set TMPDIR to a larger disk"
        )
    loader = DataLoader(RandomDataset(10), batch_size=4)
    session.details["shapes"] = [(list(features.shape), list(labels.shape)) for features, labels in loader]
    session.details["limit_megabytes"] = config.limit_megabytes
    session.tell(f"streaming {config.stream_megabytes} MB from a file")
    threads = min(session.cpu_threads(config.threads))  # one for auto: workers have one, too
    with setting(threads):
        session.details["stream"] = stream(config.stream_megabytes, config.seed)
    size = config.samples
    dataset = TensorDataset(images(size, config.seed), torch.arange(size))

    def job(batch: int, way: str, workers: int) -> Job:
        task = Task("epoch", f"{way}, {workers} workers", "cpu", threads=threads, size=batch, samples=size)
        needs = (workers + 2) * 4 * batch * 4 * SAMPLE_BYTES

        def prepare() -> Callable[[], Tensor]:
            epoch = batches(dataset, way, batch, workers)
            return lambda: torch.tensor(sum(len(labels) for _, labels in epoch()))

        return Job(task, session.devices[0], prepare, needs, check=check)

    def check(count: Tensor) -> Check:
        return Check.of(abs(float(count) - size), 0.0, f"; it gave {int(count)} of {size} samples")

    def jobs(batch: int) -> list[Job]:
        ways = [*product(WAYS[:2], config.workers), (WAYS[2], 0)]
        return [job(batch, way, workers) for way, workers in ways]

    session.measure_each([partial(jobs, batch) for batch in sorted(config.batch_sizes)], RULE)


def batches(dataset: TensorDataset, way: str, batch: int, workers: int) -> Callable[[], Iterable[Any]]:
    """An epoch of the samples each time it is called."""
    if way == "tensors in memory":
        return lambda: (dataset[chosen] for chosen in torch.randperm(len(dataset)).split(batch))
    settings: Any = {"num_workers": workers, "persistent_workers": workers > 0}
    if way == "batched indices":
        indices = BatchSampler(RandomSampler(dataset), batch, drop_last=False)
        loader = DataLoader(dataset, sampler=indices, batch_size=None, **settings)
    else:
        loader = DataLoader(dataset, batch, shuffle=True, **settings)
    return lambda: loader


@dataclass(frozen=True)
class MappedImages(IterableDataset[Tensor]):
    """Batches of grey images, shape (batch, 28, 28), from a file of bytes that is never read as a whole."""

    path: Path

    def __iter__(self) -> Iterator[Tensor]:
        step = BATCH * SAMPLE_BYTES
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            for start in range(0, len(mapped), step):
                pixels = np.frombuffer(mapped[start : start + step], dtype=np.uint8).copy()
                if hasattr(mapped, "madvise"):  # not on Windows, which takes pages back by itself
                    mapped.madvise(mmap.MADV_DONTNEED, start, min(step, len(mapped) - start))
                yield torch.from_numpy(pixels).view(-1, 28, 28)


def stream(megabytes: int, seed: int) -> dict[str, Any]:
    """Write a file of random images and stream it once; the process's memory rose by `grown_bytes`."""
    blocks = max(1, megabytes * 10**6 // SAMPLE_BYTES // BATCH)
    random, written = np.random.default_rng(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.bin"
        with path.open("wb") as file:
            for _ in range(blocks):
                block = random.integers(0, 256, (BATCH, SAMPLE_BYTES), dtype=np.uint8)
                written += int(block.sum())
                block.tofile(file)
        loader = DataLoader(MappedImages(path), batch_size=None)
        next(iter(loader)).numpy().sum()  # what is loaded on first use does not belong to the stream
        process = psutil.Process()
        before = most = process.memory_info().rss
        start, total, count = time.perf_counter(), 0, 0
        for batch in loader:
            total, count = total + int(batch.numpy().sum()), count + len(batch)
            most = max(most, process.memory_info().rss)
        return {
            "file_bytes": path.stat().st_size,
            "grown_bytes": most - before,
            "seconds": time.perf_counter() - start,
            "checksum_right": (total, count) == (written, blocks * BATCH),
        }


def report(record: Record) -> Report:
    """The lesson's three batches first."""
    shapes, limit = record.details["shapes"], record.details["limit_megabytes"]
    streamed = record.details["stream"]
    grown, size = in_bytes(streamed["grown_bytes"]), in_bytes(streamed["file_bytes"])
    speed = in_bytes(streamed["file_bytes"] / streamed["seconds"])
    lines = (
        "RandomDataset(10), batch_size=4:",
        *(f"  batch {i}: features {a}, labels {b}" for i, (a, b) in enumerate(shapes, start=1)),
        f"  batches of {', '.join(str(a[0]) for a, _ in shapes)}",
        f"streamed {size} from a memory-mapped file at {speed}/s: memory grew by {grown} (limit {limit} MB)",
    )
    failures: list[str] = []
    if streamed["grown_bytes"] > limit * 10**6:
        failures.append(f"streaming took {grown}, limit_megabytes={limit} allows less")
    if not streamed["checksum_right"]:
        failures.append("streaming gave other bytes than were written")
    table = pivot("samples/s by batch size", record.measurements, lambda m: rate(m).split()[0], "batch")
    return Report(lines, (table,), failures=tuple(failures))
