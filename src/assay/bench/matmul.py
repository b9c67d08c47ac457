"""`bench=matmul`: one product of two n x n matrices, C = A B, on every device, in every number format.

A product is 2 n^3 operations. The entries are normal: zeros and other predictable data make a GPU switch
fewer transistors and run up to 15 % faster. Sizes are measured from small to large, so that each predicts the
time of the next; the largest is the headline and gets all the time that is left.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from assay.bench.device import Device
from assay.bench.hardware import peak_of
from assay.bench.measure import Job, Rule
from assay.bench.record import Check, Measurement, Record, Task
from assay.bench.session import Session
from assay.bench.statistics import Ratio, crossover
from assay.bench.views import all_rows, crossing, curves, flops, pivot, rate, rows, share, time_of
from assay.config.schema import MatmulConfig
from assay.report import Figure, Report, Series

AXIS_SHARE = 0.25  # of the time, for all sizes but the largest
SUSTAINED_SHARE = 0.08  # of the time, at most
PROBE = 512  # measured first where all sizes are large: nothing else would predict their time
REUSED = 10  # products for which "moved once" moves the data one time
BURST_S = 0.5  # that a rested device is taken to be fresh
DTYPES = {
    "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16
}  # fmt: skip
SPACING = {
    "float32": 2.0**-23,
    "tf32": 2.0**-10,
    "bfloat16": 2.0**-7,
    "float16": 2.0**-10,
}  # of numbers near 1


def measure(config: MatmulConfig, session: Session) -> None:
    """All sizes but the largest, the back-to-back run, then the largest with the time that is left."""
    sizes = sorted(set(config.sizes))
    if sizes[0] > 2048:
        sizes.insert(0, PROBE)
    threads = session.cpu_threads(config.threads)
    axis_seconds = AXIS_SHARE * session.left
    sustained = min(config.sustained_seconds, SUSTAINED_SHARE * session.left)
    for done, size in enumerate(sizes[:-1]):
        before = session.left
        session.measure(_jobs(size, config, threads, session), 1.5 * axis_seconds / (len(sizes) - 1 - done))
        axis_seconds = max(0.0, axis_seconds - (before - session.left))
    if sustained and len(sizes) > 1:
        for device in session.devices:
            _sustain(device, sustained, config.seed, max(threads), session)
    session.measure(_jobs(sizes[-1], config, threads, session))


@dataclass(frozen=True)
class Inputs:
    """Two seeded normal matrices on the host, made when asked for, and rows of their float64 product."""

    size: int
    seed: int

    @cached_property
    def matrices(self) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(self.seed)
        a = torch.randn(self.size, self.size, generator=random)
        return a, torch.randn(self.size, self.size, generator=random)

    @cached_property
    def rows(self) -> Tensor:
        random = torch.Generator().manual_seed(self.seed)
        return torch.randperm(self.size, generator=random)[: 64 if self.size <= 4096 else 16]

    @cached_property
    def reference(self) -> Tensor:
        """The chosen rows of A B in float64; in blocks of columns, as B in float64 takes twice its memory."""
        a, b = self.matrices
        chosen = a[self.rows].double()
        return torch.cat([chosen @ block.double() for block in b.split(1000, dim=1)], dim=1)

    def check(self, product: Any, precision: str) -> Check:
        """The relative Frobenius error of the chosen rows."""
        rows = torch.as_tensor(product)[self.rows.to(getattr(product, "device", "cpu"))].cpu().double()
        error = float((rows - self.reference).norm() / self.reference.norm())
        limit = error_limit(precision, self.size)
        tf32 = precision == "float32" and limit < error < error_limit("tf32", self.size)
        return Check.of(error, limit, "; that is TF32's error, not float32's" if tf32 else "")


def error_limit(precision: str, size: int) -> float:
    """The largest relative Frobenius error that is right for normal entries.

    Rounding the entries to fewer bits costs about half the spacing, whatever the size; adding in float32
    costs at most its unit roundoff times the root of the size. Twice their sum is allowed: TF32 stands 60
    times above.
    """
    rounding = 0.0 if precision == "float32" else SPACING[precision] / 2
    accumulation = SPACING["float32"] / 2 * size**0.5
    return 2 * (rounding + accumulation) + SPACING["float32"]


def _jobs(size: int, config: MatmulConfig, threads: Sequence[int], session: Session) -> list[Job]:
    """Every way to the same product, the ones that the headline needs first."""
    inputs = Inputs(size, config.seed)
    jobs: list[Job] = []
    for device in session.devices:
        formats = [name for name in config.dtypes if name in device.precisions]
        counts = threads if device.name == "cpu" else [None]
        jobs += [product_job(inputs, device, name, "torch", count) for name in formats for count in counts]
        if "float32" in formats:
            other = "numpy" if device.name == "cpu" else "torch, moved"
            jobs += [product_job(inputs, device, "float32", other, count) for count in counts]
    ranked = sorted(jobs, key=lambda job: _rank(job.task, max(threads)))
    return [_with_time(job, session.record) for job in ranked]


def _rank(task: Task, most: int) -> int:
    """The headline's rows first: every core, the GPU, NumPy, one thread; then the other formats."""
    if task.precision != "float32":
        return 5 if task.device == "cpu" else 3
    if task.device != "cpu":
        return 1
    return 4 if task.threads != most else 2 if task.by == "numpy" else 0


def product_job(inputs: Inputs, device: Device, precision: str, by: str, threads: int | None) -> Job:
    n, dtype = inputs.size, DTYPES[precision]
    return Job(
        Task("matmul", by, device.name, precision, threads, n, flop=2.0 * n**3),
        device,
        partial(PRODUCTS[by], inputs, device, dtype),
        needs=_needs(n, dtype, on_host=device.name == "cpu", made="matrices" in vars(inputs)),
        check=partial(inputs.check, precision=precision),
        pool=by.partition(",")[0],
        limit=peak_of(device, threads).arithmetic(precision),
    )


def _needs(n: int, dtype: torch.dtype, on_host: bool, made: bool) -> int:
    """Bytes: two factors and the product, and on the host the float32 matrices that others are made from."""
    matrix = n * n * dtype.itemsize
    if not on_host:
        return 3 * matrix
    sources = 0 if made else 2 * n * n * 4
    return sources + (matrix if dtype is torch.float32 else 3 * matrix)


def _with_time(job: Job, record: Record) -> Job:
    """The job with the time that its own smaller sizes predict."""
    task = job.task
    same = {"by": task.by, "device": task.device, "precision": task.precision, "threads": task.threads}
    known = record.ok(what="matmul", **same)
    if not known or task.flop is None:
        return job
    largest = max(known, key=lambda m: m.task.size or 0)
    assert largest.task.flop
    return replace(job, expected_s=largest.median_s * task.flop / largest.task.flop)


def _product(inputs: Inputs, device: Device, dtype: torch.dtype) -> Callable[[], Tensor]:
    a, b = (matrix.to(device.place, dtype) for matrix in inputs.matrices)
    return lambda: a @ b


def _moved_product(inputs: Inputs, device: Device, dtype: torch.dtype) -> Callable[[], Tensor]:
    """Both factors go to the device and the product comes back, on every call, as `.to` and `.cpu` do it."""
    a, b = inputs.matrices
    return lambda: (a.to(device.place) @ b.to(device.place)).cpu()


def _numpy_product(inputs: Inputs, device: Device, dtype: torch.dtype) -> Callable[[], Any]:
    a, b = (matrix.numpy() for matrix in inputs.matrices)
    return lambda: a @ b


PRODUCTS = {"torch": _product, "torch, moved": _moved_product, "numpy": _numpy_product}


def _sustain(device: Device, seconds: float, seed: int, threads: int, session: Session) -> None:
    """The largest product that takes a twentieth of the time, again and again, after a pause to cool down."""
    known = session.record.ok(what="matmul", by="torch", device=device.name, precision="float32")
    short = [m.task.size for m in known if m.task.size and m.median_s < seconds / 20]
    if not short:
        return
    session.tell(f"{device.name}: a pause before the sustained run")
    time.sleep(min(1.0, seconds / 4))
    count = threads if device.name == "cpu" else None
    job = product_job(Inputs(max(short), seed), device, "float32", "torch", count)
    # long times, or reading the sensors after each would let the device rest
    rule = Rule(width=0.0, most=100_000, sample_s=0.05, warm_s=0.0)
    session.measure([replace(job, task=replace(job.task, what="sustained"))], seconds, rule)


def report(record: Record) -> Report:
    """The lesson's lines first: devices, times, speedup."""
    products = record.all(what="matmul")
    size = max((m.task.size or 0 for m in products if m.ok), default=None)
    headline = [m for m in products if m.task.size == size and (m.ok or m.task.by != "torch, moved")]
    ratios = {gpu: speedups(gpu, headline) for gpu in record.gpus}
    crossings = {gpu: crossovers(record, gpu) for gpu in record.gpus}
    sustained = [_sustained(m) for m in record.ok(what="sustained")]
    lines = [
        f"speedup of {gpu} against {name}: {ratio}"
        for gpu, named in ratios.items()
        for name, ratio in named.items()
    ]
    lines += record.absences
    lines += [f"{gpu} beats the CPU, {crossing(ways)}" for gpu, ways in crossings.items()]
    lines += [
        f"{run['device']} at {run['size']} for {run['seconds']:.1f} s back to back: "
        f"burst {flops(run['burst_tflops'])}, sustained {flops(run['sustained_tflops'])}"
        for run in sustained
    ]
    extra = {"of peak": share, "error": lambda m: str(m.check or "")}
    titles = ", ".join(f"{name}: {title}" for name, title in record.titles.items())
    tables = (
        rows(f"{size} x {size} ({titles})", headline, extra),
        pivot("rate by size", products, lambda m: rate(m).replace("FLOP/s", "")),
        all_rows(record),
    )
    marks = {f"{gpu}: {way}": float(n) for gpu, ways in crossings.items() for way, n in ways.items() if n}
    figures = (
        curves("time", "Time of one n x n product", "n", "seconds", products, time_of, marks),
        curves("rate", "Arithmetic rate", "n", "TFLOP/s", products, lambda m: m.tflops, marks),
        *_sustained_figures(record),
    )
    plain = {
        gpu: {name: dataclasses.asdict(ratio) for name, ratio in named.items()}
        for gpu, named in ratios.items()
    }
    summary = {"headline_size": size, "speedups": plain, "crossover": crossings, "sustained": sustained}
    return Report(tuple(lines), tables, figures, summary)


def best_cpu(among: Sequence[Measurement]) -> Measurement | None:
    """Torch on the CPU in float32 with the thread count that is fastest."""
    wanted = ("cpu", "torch", "float32")
    ours = [m for m in among if m.ok and (m.task.device, m.task.by, m.task.precision) == wanted]
    return min(ours, key=time_of, default=None)


def speedups(gpu: str, headline: Sequence[Measurement]) -> dict[str, Ratio]:
    """How many times as fast as the CPU the GPU is, float32 against float32, counted in four ways."""
    ours = {m.task.by: m for m in headline if m.ok and m.task.device == gpu and m.task.precision == "float32"}
    best = best_cpu(headline)
    one = best_cpu([m for m in headline if m.task.threads == 1])
    told: dict[str, Ratio] = {}
    for how, by in (("", "torch"), (", transfers included", "torch, moved")):
        if by in ours and best and one:
            told[f"best CPU ({best.task.threads} threads){how}"] = best.against(ours[by])
            told[f"one CPU thread{how}"] = one.against(ours[by])
    return told


def crossovers(record: Record, gpu: str) -> dict[str, int | None]:
    """From which size on the GPU wins against the best CPU thread count, for three ways to place the data."""
    sizes = {m.task.size for m in record.all(what="matmul") if m.task.size}
    best = {size: best_cpu(record.all(what="matmul", size=size)) for size in sizes}
    cpu = [(size, m.median_s) for size, m in best.items() if m]
    kernel, moved = (
        {
            m.task.size: m.median_s
            for m in record.ok(what="matmul", device=gpu, by=by, precision="float32")
            if m.task.size
        }
        for by in ("torch", "torch, moved")
    )
    once = {n: kernel[n] + (moved[n] - kernel[n]) / REUSED for n in kernel if n in moved}
    ways = {"kernel only": kernel, f"moved once for {REUSED} products": once, "moved every call": moved}
    return {name: crossover(list(times.items()), cpu) for name, times in ways.items()}


def _sustained(m: Measurement) -> dict[str, Any]:
    """Burst is the first half second after a pause, sustained the second half of the run."""
    flop, count = m.task.flop or 0.0, max(3, round(BURST_S / (m.times[0] * m.calls)))
    return {
        "device": m.task.device,
        "size": m.task.size,
        "seconds": sum(m.times) * m.calls,
        "burst_tflops": flop / median(m.times[:count]) / 1e12,
        "sustained_tflops": flop / median(m.times[len(m.times) // 2 :]) / 1e12,
    }


def _sustained_figures(record: Record) -> list[Figure]:
    series: list[Series] = []
    for m in record.ok(what="sustained"):
        ends = [sum(m.times[: i + 1]) * m.calls for i in range(len(m.times))]
        points = tuple((end, (m.task.flop or 0.0) / s / 1e12) for end, s in zip(ends, m.times, strict=True))
        series.append(Series(f"{m.task.device} n={m.task.size}", points))
    title = "Back-to-back products after a pause"
    figure = Figure("sustained", title, "seconds", "TFLOP/s", tuple(series), logarithmic=False)
    return [figure] if series else []
