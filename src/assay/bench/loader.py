"""`bench=loader`: how batches are fed, and what each way gives in samples a second.

Three ways to the same images: a Dataset that is asked for one sample at a time, as the lesson writes it;
the same Dataset asked for all indices of a batch at once; and tensors in memory, indexed without a
DataLoader. One time is one shuffled epoch. Starting the workers belongs to the first, cold one: they are
kept afterwards.
"""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, final

import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from assay.bench import words
from assay.bench.device import Cpu, cpu_threads
from assay.bench.measure import Job, Rule, in_bytes
from assay.bench.measurement import Measurement, Record, Task
from assay.bench.report import Figure, Report, Series, Table
from assay.bench.session import Session
from assay.bench.streaming import stream
from assay.config.schema import LoaderConfig
from assay.data.random import RandomDataset
from assay.errors import UserError

IMAGE = (1, 28, 28)
WAYS = ("per sample", "batched indices", "tensors in memory")
RULE = Rule(width=0.02, least=3, most=20, sample_s=0.0, warm_s=0.0)


@final
class Images(Dataset[tuple[Tensor, Tensor]]):
    """Normal images in memory; an index gives one sample, a list of indices a whole batch."""

    def __init__(self, samples: int, seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        self.features = torch.randn(samples, *IMAGE, generator=random)
        self.labels = torch.randint(0, 10, (samples,), generator=random)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | list[int]) -> tuple[Tensor, Tensor]:
        return self.features[index], self.labels[index]


def measure(config: LoaderConfig, session: Session) -> None:
    """The lesson's shapes, the stream, then every way for each batch size."""
    loader = DataLoader(RandomDataset(10), batch_size=4)
    session.facts["shapes"] = [(list(features.shape), list(labels.shape)) for features, labels in loader]
    session.tell(f"streaming {config.stream_megabytes} MB from a file")
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < 1.1e6 * config.stream_megabytes:
        raise UserError(
            f"stream_megabytes={config.stream_megabytes} does not fit: {in_bytes(free)} are free in "
            f"{tempfile.gettempdir()}\n  give fewer, or set TMPDIR to a larger disk"
        )
    threads = min(session.cpu_threads(config.threads))  # one for auto: workers have one, too
    with cpu_threads(threads):
        session.facts["stream"] = dataclasses.asdict(stream(config.stream_megabytes, config.seed))
    images = Images(config.samples, config.seed)
    for left, batch in zip(range(len(config.batch_sizes), 0, -1), sorted(config.batch_sizes), strict=True):
        jobs = [_job(images, way, batch, workers, threads) for way in WAYS[:2] for workers in config.workers]
        jobs.append(_job(images, WAYS[2], batch, 0, threads))
        session.measure(jobs, session.left / left, RULE)


def _job(images: Images, way: str, batch: int, workers: int, threads: int) -> Job:
    return Job(
        Task("epoch", f"{way}, {workers} workers", "cpu", threads=threads, size=batch, samples=len(images)),
        Cpu(),
        prepare=partial(_epoch, images, way, batch, workers),
        needs=(workers + 2) * 4 * batch * images.features[0].nbytes,
        setting=partial(cpu_threads, threads),
    )


def _epoch(images: Images, way: str, batch: int, workers: int) -> Callable[[], Tensor]:
    """A call goes through one shuffled epoch and returns the last batch's labels."""
    ready = batches(images, way, batch, workers)

    def epoch() -> Tensor:
        count, last = 0, torch.empty(0)
        for features, labels in ready():
            count, last = count + len(features), labels
        assert count == len(images)
        return last

    return epoch


def batches(images: Images, way: str, batch: int, workers: int) -> Callable[[], Iterable[Any]]:
    if way == "tensors in memory":
        return lambda: (
            (images.features[chosen], images.labels[chosen])
            for chosen in torch.randperm(len(images)).split(batch)
        )
    kept = workers > 0
    if way == "batched indices":
        chosen = BatchSampler(RandomSampler(images), batch, drop_last=False)
        loader = DataLoader(
            images, sampler=chosen, batch_size=None, num_workers=workers, persistent_workers=kept
        )
        return lambda: loader
    loader = DataLoader(images, batch, shuffle=True, num_workers=workers, persistent_workers=kept)
    return lambda: loader


def report(config: LoaderConfig, record: Record) -> Report:
    """The lesson's three batches first."""
    shapes = record.facts["shapes"]
    lines = ["RandomDataset(10), batch_size=4:"]
    lines += [f"  batch {i}: features {a}, labels {b}" for i, (a, b) in enumerate(shapes, start=1)]
    lines.append(f"  batches of {', '.join(str(a[0]) for a, _ in shapes)}")
    found, limit = record.facts["stream"], config.limit_megabytes * 10**6
    speed = in_bytes(found["file_bytes"] / found["seconds"])
    grown = in_bytes(found["grown_bytes"])
    lines.append(
        f"streamed {in_bytes(found['file_bytes'])} from a memory-mapped file at {speed}/s: "
        f"memory grew by {grown} (limit {in_bytes(limit)})"
    )
    failures: list[str] = []
    if found["grown_bytes"] > limit:
        failures.append(f"streaming took {grown}, limit_megabytes={config.limit_megabytes} allows less")
    if not found["checksum_right"]:
        failures.append("streaming gave other bytes than were written")
    tables = (_ways(record), words.rows("all rows", record.measurements, screen=False))
    return Report(tuple(lines), tables, _figures(record), failures=tuple(failures))


def _ways(record: Record) -> Table:
    """Samples a second: one line a way, one column a batch size."""
    found = record.all(what="epoch")
    sizes = sorted({m.task.size or 0 for m in found})
    rows: list[tuple[str, ...]] = []
    for by in dict.fromkeys(m.task.by for m in found):
        cells = {m.task.size: m for m in found if m.task.by == by}
        rows.append((by, *(_cell(cells.get(size)) for size in sizes)))
    return Table("samples/s by batch size", ("way", *(str(size) for size in sizes)), tuple(rows))


def _cell(found: Measurement | None) -> str:
    if found is None or found.samples_per_second is None:
        return "-"
    return f"{found.samples_per_second:,.0f}"


def _figures(record: Record) -> tuple[Figure, ...]:
    names = dict.fromkeys(m.task.by for m in record.ok(what="epoch"))
    series = tuple(
        Series(by, tuple((float(m.task.size or 0), m.samples_per_second or 0.0) for m in record.ok(by=by)))
        for by in names
    )
    return (Figure("loaders", "Feeding shuffled epochs", "batch size", "samples / s", series),)
