"""`bench=matmul`: one product of two n x n matrices, on every device, in every number format.

The entries are normal: zeros and other predictable data make a GPU switch fewer transistors and run up to 15
% faster. Small sizes come first, as each predicts the time of the next; the largest gets all the time left.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from assay.bench import views
from assay.bench.device import Device
from assay.bench.hardware import peaks_of
from assay.bench.measure import Job, Rule
from assay.bench.record import Check, Measurement, Record, Task
from assay.bench.session import Session
from assay.bench.statistics import Ratio, crossover
from assay.config.schema import MatmulConfig
from assay.report import Figure, Report, digits

AXIS_SHARE = 0.25  # of the time, for all sizes but the largest
SUSTAINED_SHARE = 0.08  # of the time, at most
PROBE = 512  # measured first where all sizes are large: nothing else would predict their time
REUSED = 10  # products for which "moved once" moves the data one time
BURST_S = 0.5  # that a rested device is taken to be fresh
DTYPES = {
    "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16
}  # fmt: skip
# of numbers near 1
SPACING = {"float32": 2.0**-23, "tf32": 2.0**-10, "bfloat16": 2.0**-7, "float16": 2.0**-10}


def measure(config: MatmulConfig, session: Session) -> None:
    """All sizes but the largest, the back-to-back run, then the largest with the time that is left."""
    sizes = sorted(set(config.sizes))
    if sizes[0] > 2048:
        sizes.insert(0, PROBE)
    threads = session.cpu_threads(config.threads)
    sustained = min(config.sustained_seconds, SUSTAINED_SHARE * session.left)
    session.measure_each([partial(_jobs, n, config, threads, session) for n in sizes[:-1]], share=AXIS_SHARE)
    if sustained and len(sizes) > 1:
        for device, count in session.places([max(threads)]):
            _sustain(device, count, sustained, session)
    session.measure(_jobs(sizes[-1], config, threads, session), session.left)


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

    Rounding the entries to fewer bits costs about half the spacing; adding in float32 costs at most its unit
    roundoff times the root of the size. Twice their sum is allowed: TF32 stands 60 times above.
    """
    rounding = 0.0 if precision == "float32" else SPACING[precision] / 2
    accumulation = SPACING["float32"] / 2 * size**0.5
    return 2 * (rounding + accumulation) + SPACING["float32"]


def _jobs(size: int, config: MatmulConfig, threads: Sequence[int], session: Session) -> list[Job]:
    """Every way to the same product, the ones that the headline needs first."""
    inputs = Inputs(size, config.seed)
    jobs: list[Job] = []
    for device, count in session.places(threads):
        formats = [name for name in config.dtypes if name in device.precisions]
        jobs += [product_job(inputs, device, name, "torch", count) for name in formats]
        if "float32" in formats:
            other = "numpy" if device.name == "cpu" else "torch, moved"
            jobs.append(product_job(inputs, device, "float32", other, count))
    ranked = sorted(jobs, key=lambda job: _rank(job.task, max(threads)))
    return [replace(job, expected_s=_expected(job.task, session.record)) for job in ranked]


def _rank(task: Task, most: int) -> tuple[bool, ...]:
    """Every core and the GPU in float32, NumPy; the GPU's other formats; fewer threads; the CPU's formats."""
    on_cpu, other_format = task.device == "cpu", task.precision != "float32"
    return on_cpu and other_format, on_cpu and task.threads != most, other_format, task.by == "numpy"


def _expected(task: Task, record: Record) -> float | None:
    """The time of one call that the task's own smaller sizes predict."""
    labels = {name: getattr(task, name) for name in ("what", "by", "device", "precision", "threads")}
    known = sorted((m.task.flop or 0.0, m.median_s) for m in record.ok(**labels))
    return known[-1][1] * (task.flop or 0.0) / known[-1][0] if known else None


def product_job(inputs: Inputs, device: Device, precision: str, by: str, threads: int | None) -> Job:
    n, dtype = inputs.size, DTYPES[precision]
    matrix = n * n * dtype.itemsize
    # two factors and the product; on the host also the float32 matrices, which may be the factors
    on_host = n * n * 4 * 2 + (matrix if dtype is torch.float32 else 3 * matrix)
    return Job(
        Task("matmul", by, device.name, precision, threads, n, flop=2.0 * n**3),
        device,
        partial(_product, inputs, device, dtype, by),
        needs=on_host if device.name == "cpu" else 3 * matrix,
        check=partial(inputs.check, precision=precision),
        pool=by.partition(",")[0],
        limit=peaks_of(device, threads).get(precision),
    )


def _product(inputs: Inputs, device: Device, dtype: torch.dtype, by: str) -> Callable[[], Any]:
    """Moved: both factors go to the device and the product comes back, on every call."""
    a, b = inputs.matrices
    if by == "torch, moved":
        return lambda: (a.to(device.place) @ b.to(device.place)).cpu()
    x, y = (m.numpy() if by == "numpy" else m.to(device.place, dtype) for m in inputs.matrices)
    return lambda: x @ y


def _sustain(device: Device, threads: int | None, seconds: float, session: Session) -> None:
    """The largest product that takes a twentieth of the time, again and again, after a pause to cool down."""
    known = session.record.ok(what="matmul", by="torch", device=device.name, precision="float32")
    short = [m.task.size for m in known if m.task.size and m.median_s < seconds / 20]
    if not short:
        return
    session.tell(f"{device.name}: a pause before the sustained run")
    time.sleep(min(1.0, seconds / 4))
    job = product_job(Inputs(max(short), session.seed), device, "float32", "torch", threads)
    # long times, or reading the sensors after each would let the device rest
    rule = Rule(width=0.0, most=100_000, sample_s=0.05, warm_s=0.0)
    session.measure([replace(job, task=replace(job.task, what="sustained"))], seconds, rule)


def report(record: Record) -> Report:
    """The lesson's lines first: devices, times, speedup."""
    products = record.all(what="matmul")
    size = max((m.task.size or 0 for m in products if m.ok), default=None)
    headline = [m for m in products if m.task.size == size and (m.ok or m.task.by != "torch, moved")]
    crossings = {gpu: crossovers(record, gpu) for gpu in record.gpus}
    lines = [
        f"speedup of {gpu} against {name}: {ratio}"
        for gpu in record.gpus
        for name, ratio in speedups(gpu, headline).items()
    ]
    lines += record.absences
    lines += [f"{gpu} beats the CPU, {views.crossing(ways)}" for gpu, ways in crossings.items()]
    lines += [_sustained_line(m) for m in record.ok(what="sustained")]
    titles = ", ".join(f"{name}: {title}" for name, title in record.environment["devices"].items())
    error = {"of peak": views.share, "error": lambda m: str(m.check or "")}
    tables = (
        views.rows(f"{size} x {size} ({titles})", headline, error),
        views.pivot("GFLOP/s by size", products, lambda m: digits(m.per_second("flop") / 1e9)),
    )
    figures = (
        views.curves(Figure("time", "Time of one n x n product", "n", "seconds"), products, views.time_of),
        views.curves(
            Figure("rate", "Arithmetic rate", "n", "FLOP/s"), products, lambda m: m.per_second("flop")
        ),
    )
    return Report(tuple(lines), tables, figures, {"headline_size": size, "crossover": crossings})


def speedups(gpu: str, headline: Sequence[Measurement]) -> dict[str, Ratio]:
    """How many times as fast as the CPU the GPU is, float32 against float32, counted in four ways."""
    full = [m for m in headline if m.ok and m.task.precision == "float32"]
    ours = {m.task.by: m for m in full if m.task.device == gpu}
    cpu = [m for m in full if (m.task.device, m.task.by) == ("cpu", "torch")]
    if not cpu:
        return {}
    best = min(cpu, key=views.time_of)
    against = [(f"best CPU ({best.task.threads} threads)", best)]
    against += [("one CPU thread", m) for m in cpu if m.task.threads == 1]
    ways = {"": "torch", ", transfers included": "torch, moved"}
    return {
        f"{name}{how}": m.against(ours[by]) for how, by in ways.items() for name, m in against if by in ours
    }


def crossovers(record: Record, gpu: str) -> dict[str, int | None]:
    """From which size on the GPU wins against the best CPU thread count, for three ways to place the data."""

    def times(device: str, by: str) -> dict[int, float]:
        return views.fastest(record.ok(what="matmul", device=device, by=by, precision="float32"))

    cpu, kernel, moved = times("cpu", "torch"), times(gpu, "torch"), times(gpu, "torch, moved")
    once = {n: kernel[n] + (moved[n] - kernel[n]) / REUSED for n in kernel if n in moved}
    ways = {"kernel only": kernel, f"moved once for {REUSED} products": once, "moved every call": moved}
    return {name: crossover(ours, cpu) for name, ours in ways.items()}


def _sustained_line(m: Measurement) -> str:
    """Burst is the first half second after a pause, sustained the second half of the run."""
    flop, count = m.task.flop or 0.0, max(3, round(BURST_S / (m.times[0] * m.calls)))
    burst, sustained = (flop / median(times) for times in (m.times[:count], m.times[len(m.times) // 2 :]))
    return (
        f"{m.task.device} at {m.task.size} for {sum(m.times) * m.calls:.1f} s back to back: "
        f"burst {views.flops(burst)}, sustained {views.flops(sustained)}"
    )
