"""`bench=transfer`: moving data is slow; how slow, and what that means for adding two tensors.

Host memory: copying a block, and adding two. With a GPU: host to device and back, from pageable and from
pinned memory, and inside the device. Then the sum of two n x n tensors, where the arithmetic is nothing and
the movement everything: on the CPU, on the GPU with the data there, and on the GPU with the move.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from assay.bench import words
from assay.bench.device import Device, cpu_threads
from assay.bench.measure import Job
from assay.bench.measurement import Check, Measurement, Record, Task
from assay.bench.peaks import peak_of
from assay.bench.report import Figure, Report, Series, Table
from assay.bench.session import Session
from assay.bench.statistics import crossover
from assay.config.schema import TransferConfig

BEYOND_CACHES = (
    256e6  # bytes from which on a block cannot sit in a cache, so that the memory's peak is a bound
)
DRAWN = 2**20  # normal numbers that are drawn; larger blocks repeat them


def measure(config: TransferConfig, session: Session) -> None:
    """Each block size, then each tensor size, all ways side by side."""
    threads = session.cpu_threads(config.threads)
    groups = [partial(_block_jobs, round(1e6 * size)) for size in sorted(set(config.megabytes))]
    groups += [partial(_sum_jobs, size) for size in sorted(set(config.sizes))]
    for left, jobs in zip(range(len(groups), 0, -1), groups, strict=True):
        session.measure(jobs(session.devices, threads, config.seed), session.left / left)


def block(size: int, seed: int) -> Tensor:
    """So many bytes of normal float32 numbers on the host."""
    random = torch.Generator().manual_seed(seed)
    count = max(1, size // 4)
    drawn = torch.randn(min(count, DRAWN), generator=random)
    return drawn.repeat(-(-count // len(drawn)))[:count].contiguous()


def _block_jobs(size: int, devices: Sequence[Device], threads: Sequence[int], seed: int) -> list[Job]:
    jobs: list[Job] = []
    for device in devices:
        if device.kind == "cpu":
            jobs += [_copy_job("host copy", "torch", device, size, seed, device, count) for count in threads]
            continue
        jobs.append(_copy_job("device copy", "torch", device, size, seed, device))
        for by in ("pageable", "pinned") if device.pins else ("pageable",):
            jobs += [_copy_job(what, by, device, size, seed) for what in ("host to device", "device to host")]
    return jobs


def _copy_job(
    what: str,
    by: str,
    device: Device,
    size: int,
    seed: int,
    within: Device | None = None,
    threads: int | None = None,
) -> Job:
    """A copy within one memory reads and writes each byte; one across the bus moves it once."""
    moved = 2.0 * size if within else float(size)
    limit = peak_of(device.kind, device.title, threads).memory() if within else None
    return Job(
        Task(what, by, device.name, threads=threads, size=size, moved=moved),
        device,
        prepare=partial(_copier, what, by, device, size, seed),
        needs=2 * size,
        check=partial(same, size=size, seed=seed),
        setting=partial(cpu_threads, threads),
        limit=limit if size >= BEYOND_CACHES else None,
    )


def _copier(what: str, by: str, device: Device, size: int, seed: int) -> Callable[[], Tensor]:
    here = block(size, seed)
    if by == "pinned":
        here = device.pin(here)
    there = here.to(device.place)
    source = here if what in ("host copy", "host to device") else there
    target = torch.empty_like(there if what in ("device copy", "host to device") else here)
    if by == "pinned" and what == "device to host":
        target = device.pin(target)
    return lambda: target.copy_(source, non_blocking=by == "pinned")


def same(output: Tensor, size: int, seed: int) -> Check:
    """Every number that was moved is still the same."""
    wrong = int((output.cpu() != block(size, seed)).sum())
    return Check.of(float(wrong), 0.0, f"; {wrong} numbers changed on the way" if wrong else "")


def _sum_jobs(size: int, devices: Sequence[Device], threads: Sequence[int], seed: int) -> list[Job]:
    jobs: list[Job] = []
    for device in devices:
        for by in ("in place",) if device.kind == "cpu" else ("in place", "moved every call"):
            for count in threads if device.kind == "cpu" else (None,):
                jobs.append(_sum_job(size, device, by, count, seed))
    return jobs


def _sum_job(size: int, device: Device, by: str, threads: int | None, seed: int) -> Job:
    moved = 3.0 * 4 * size * size  # two read, one written
    limit = peak_of(device.kind, device.title, threads).memory() if by == "in place" else None
    return Job(
        Task("sum", by, device.name, threads=threads, size=size, flop=float(size * size), moved=moved),
        device,
        prepare=partial(_adder, size, device, by, seed),
        needs=3 * 4 * size * size,
        check=partial(_right_sum, size=size, seed=seed),
        setting=partial(cpu_threads, threads),
        limit=limit if moved >= BEYOND_CACHES else None,
    )


def _pair(size: int, seed: int) -> tuple[Tensor, Tensor]:
    return block(4 * size * size, seed).view(size, size), block(4 * size * size, seed + 1).view(size, size)


def _adder(size: int, device: Device, by: str, seed: int) -> Callable[[], Any]:
    a, b = _pair(size, seed)
    if by == "moved every call":
        return lambda: (a.to(device.place) + b.to(device.place)).cpu()
    x, y = a.to(device.place), b.to(device.place)
    return lambda: x + y


def _right_sum(output: Tensor, size: int, seed: int) -> Check:
    a, b = _pair(size, seed)
    right = a.double() + b.double()
    return Check.of(float((output.cpu().double() - right).norm() / right.norm()), 1e-7)


def report(config: TransferConfig, record: Record) -> Report:
    """Bandwidth by block size, and from which size on adding on the GPU pays."""
    gpus = [name for name in record.titles if name != "cpu"]
    found = {gpu: _crossovers(record, gpu) for gpu in gpus}
    lines = [
        _best_line(record, what)
        for what in dict.fromkeys(m.task.what for m in record.ok() if m.task.what != "sum")
    ]
    lines += [f"no {'GPU' if kind == 'cuda' else kind}: {reason}" for kind, reason in record.absent.items()]
    for gpu, ways in found.items():
        said = [f"{way}: {'at no size' if size is None else f'from {size}'}" for way, size in ways.items()]
        lines.append(f"adding two n x n tensors, {gpu} beats the CPU, {'; '.join(said)}")
    copies = [m for m in record.measurements if m.task.what != "sum"]
    tables = (
        _matrix("GB/s by size of the block", "bytes", copies),
        _matrix("time of a sum of two n x n tensors", "n", record.all(what="sum")),
        words.rows("all rows", record.measurements, screen=False),
    )
    return Report(tuple(lines), tables, _figures(record, found), {"crossover": found})


def _best_line(record: Record, what: str) -> str:
    best = max(record.ok(what=what), key=lambda m: m.bytes_per_second or 0.0)
    task = best.task
    threads = f", {task.threads} thread{'s' if task.threads > 1 else ''}" if task.threads else ""
    return (
        f"{what}: at most {words.rate(best)} ({task.by}{threads}, {words.digits((task.size or 0) / 1e6)} MB)"
    )


def _crossovers(record: Record, gpu: str) -> dict[str, int | None]:
    rows = record.ok(what="sum", device="cpu")
    cpu = {
        m.task.size: min(r.median_s for r in rows if r.task.size == m.task.size) for m in rows if m.task.size
    }
    found: dict[str, int | None] = {}
    for by in ("in place", "moved every call"):
        ours = [(m.task.size, m.median_s) for m in record.ok(what="sum", device=gpu, by=by) if m.task.size]
        found[by] = crossover(ours, list(cpu.items()))
    return found


def _label(task: Task) -> str:
    return f"{task.what}, {task.device}, {f'{task.threads}t' if task.threads else task.by}"


def _matrix(title: str, axis: str, found: Sequence[Measurement]) -> Table:
    columns = list(dict.fromkeys(_label(m.task) for m in found))
    rows: list[tuple[str, ...]] = []
    for size in sorted({m.task.size or 0 for m in found}):
        cells = {_label(m.task): m for m in found if m.task.size == size and m.ok}
        show = words.rate if axis == "bytes" else lambda m: words.seconds(m.median_s)
        rows.append(
            (f"{size:,}", *(show(cells[c]).removesuffix(" GB/s") if c in cells else "-" for c in columns))
        )
    return Table(title, (axis, *columns), tuple(rows))


def _figures(record: Record, found: dict[str, dict[str, int | None]]) -> tuple[Figure, ...]:
    def series(sums: bool) -> tuple[Series, ...]:
        rows = [m for m in record.ok() if (m.task.what == "sum") == sums]
        return tuple(
            Series(name, tuple(_point(m, sums) for m in rows if _label(m.task) == name))
            for name in dict.fromkeys(_label(m.task) for m in rows)
        )

    marks = {
        f"{gpu}: {way}": float(size) for gpu, ways in found.items() for way, size in ways.items() if size
    }
    return (
        Figure("bandwidth", "Moving a block of memory", "bytes", "GB/s", series(sums=False)),
        Figure("sum", "Adding two n x n tensors", "n", "seconds", series(sums=True), marks),
    )


def _point(found: Measurement, sums: bool) -> tuple[float, float]:
    return float(found.task.size or 0), found.median_s if sums else (found.bytes_per_second or 0.0) / 1e9
