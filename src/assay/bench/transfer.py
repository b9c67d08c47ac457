"""`bench=transfer`: moving data is slow; how slow, and what that means for adding two tensors."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import torch
from torch import Tensor

from assay.bench.device import Device
from assay.bench.hardware import peaks_of
from assay.bench.measure import Job
from assay.bench.record import Check, Measurement, Record, Task
from assay.bench.session import Session
from assay.bench.statistics import crossover
from assay.bench.views import crossing, curves, fastest, pivot, rate, time_of
from assay.config.schema import TransferConfig
from assay.report import Figure, Report, in_bytes, seconds

BEYOND_CACHES = 256e6  # bytes from which on a block is in no cache, so that the memory's peak is a bound
DRAWN = 2**20  # normal numbers that are drawn; larger blocks repeat them
SUMS = ("in place", "moved every call")


def measure(config: TransferConfig, session: Session) -> None:
    """Each block size, then each tensor size, all ways side by side."""
    places = session.places(session.cpu_threads(config.threads))
    blocks = sorted({round(1e6 * size) for size in config.megabytes})
    copies = [partial(copy_jobs, size, places, config.seed) for size in blocks]
    sums = [partial(sum_jobs, size, places, config.seed) for size in sorted(set(config.sizes))]
    session.measure_each([*copies, *sums])


Places = Sequence[tuple[Device, int | None]]  # with the threads of a CPU


def block(size: int, seed: int) -> Tensor:
    """So many bytes of normal float32 numbers on the host."""
    random = torch.Generator().manual_seed(seed)
    count = max(1, size // 4)
    drawn = torch.randn(min(count, DRAWN), generator=random)
    return drawn.repeat(-(-count // len(drawn)))[:count].contiguous()


def copy_jobs(size: int, places: Places, seed: int) -> list[Job]:
    """Copying a block of so many bytes within each memory, and between them."""

    def job(what: str, by: str, device: Device, threads: int | None) -> Job:
        within = what in ("host copy", "device copy")
        moved = 2.0 * size if within else float(size)  # within one memory each byte is read and written
        task = Task(what, by, device.name, threads=threads, size=size, moved=moved)
        limit = peaks_of(device).get("memory") if within and size >= BEYOND_CACHES else None
        copier, check = partial(_copier, what, by, device, size, seed), partial(same, size=size, seed=seed)
        return Job(task, device, copier, 2 * size, check=check, limit=limit)

    across = product(("host to device", "device to host"), ("pageable", "pinned"))
    on_gpu = [("device copy", "torch"), *across]
    return [
        job(what, by, device, threads)
        for device, threads in places
        for what, by in ([("host copy", "torch")] if device.name == "cpu" else on_gpu)
        if by != "pinned" or device.pin
    ]


def _copier(what: str, by: str, device: Device, size: int, seed: int) -> Callable[[], Tensor]:
    host_memory = device.pin if by == "pinned" and device.pin else Tensor.contiguous
    here = host_memory(block(size, seed))
    there = here.to(device.place)
    source = here if what in ("host copy", "host to device") else there
    target = torch.empty_like(there) if what != "device to host" else host_memory(torch.empty_like(here))
    return lambda: target.copy_(source, non_blocking=by == "pinned")


def same(output: Tensor, size: int, seed: int) -> Check:
    """Every number that was moved is still the same."""
    wrong = int((output.cpu() != block(size, seed)).sum())
    return Check.of(float(wrong), 0.0, f"; {wrong} numbers changed on the way" if wrong else "")


def sum_jobs(size: int, places: Places, seed: int) -> list[Job]:
    """Adding on each device with each thread count; on a GPU with the data there, and with the move."""
    memory = 3 * 4 * size * size  # two read, one written

    def numbers(seed: int) -> Tensor:
        return block(memory // 3, seed).view(size, size)

    def prepare(device: Device, by: str) -> Callable[[], Tensor]:
        """In place nothing is allocated; the sum grows from call to call, and the first one is checked."""
        a, b = numbers(seed), numbers(seed + 1)
        if by == "moved every call":
            return lambda: (a.to(device.place) + b.to(device.place)).cpu()
        x, y = a.to(device.place), b.to(device.place)
        return lambda: x.add_(y)

    def check(output: Tensor) -> Check:
        right = numbers(seed).double() + numbers(seed + 1).double()
        return Check.of(float((output.cpu().double() - right).norm() / right.norm()), 1e-7)

    def job(by: str, device: Device, threads: int | None) -> Job:
        task = Task("sum", by, device.name, threads=threads, size=size, moved=float(memory))
        limit = peaks_of(device).get("memory") if by == "in place" and memory >= BEYOND_CACHES else None
        return Job(task, device, partial(prepare, device, by), memory, check=check, limit=limit)

    return [job(by, *place) for place in places for by in SUMS if by == "in place" or place[0].name != "cpu"]


def report(record: Record) -> Report:
    """Bandwidth by block size, and from which size on adding on the GPU pays."""
    cpu = fastest(record.ok(what="sum", device="cpu"))
    crossings = {
        gpu: {by: crossover(fastest(record.ok(what="sum", device=gpu, by=by)), cpu) for by in SUMS}
        for gpu in record.gpus
    }
    copies = [m for m in record.measurements if m.task.what != "sum"]
    sums = record.all(what="sum")
    lines = [_best_line(record.ok(what=what)) for what in dict.fromkeys(m.task.what for m in copies if m.ok)]
    lines += record.absences
    lines += [
        f"adding two n x n tensors, {gpu} beats the CPU, {crossing(ways)}" for gpu, ways in crossings.items()
    ]
    tables = (
        pivot("GB/s by size of the block", copies, lambda m: rate(m).removesuffix(" GB/s"), "bytes"),
        pivot("time of a sum of two n x n tensors", sums, lambda m: seconds(m.median_s)),
    )
    figures = (
        curves(Figure("bandwidth", "Moving a block of memory", "bytes", "GB/s"), copies, _gb_per_s),
        curves(Figure("sum", "Adding two n x n tensors", "n", "seconds"), sums, time_of),
    )
    return Report(tuple(lines), tables, figures, {"crossover": crossings})


def _gb_per_s(m: Measurement) -> float:
    return m.per_second("moved") / 1e9


def _best_line(copies: Sequence[Measurement]) -> str:
    best = max(copies, key=_gb_per_s)
    return f"{best.task.what}: at most {rate(best)} ({best.task.by}, {in_bytes(best.task.size or 0)})"
