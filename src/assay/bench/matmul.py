"""`bench=matmul`: one product of two n x n matrices, C = A B, on every device, in every number format.

A product is 2 n^3 operations. The entries are normal: zeros and other predictable data make a GPU switch
fewer transistors and run up to 15 % faster. Sizes are measured from small to large, so that each predicts the
time of the next; the largest is the headline and gets all the time that is left.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from assay.bench.device import Device, cpu_threads, matmul_precision
from assay.bench.matmul_report import report as report
from assay.bench.measure import Job, Rule
from assay.bench.measurement import Check, Record, Task
from assay.bench.peaks import peak_of
from assay.bench.session import Session
from assay.config.schema import MatmulConfig

AXIS_SHARE = 0.25  # of the time, for all sizes but the largest
SUSTAINED_SHARE = 0.08  # of the time, at most
PROBE = 512  # measured first where all sizes are large: nothing else would predict their time
DTYPES = {
    "float32": torch.float32, "tf32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16
}  # fmt: skip
# the spacing of numbers near 1, and how a wrong result looks in each format
SPACING = {"float32": 2.0**-23, "tf32": 2.0**-10, "bfloat16": 2.0**-7, "float16": 2.0**-10}


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
            _sustain(device, sustained, config, max(threads), session)
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


@contextmanager
def _setting(threads: int | None, precision: str) -> Generator[None]:
    with cpu_threads(threads), matmul_precision(precision):
        yield


def _jobs(size: int, config: MatmulConfig, threads: Sequence[int], session: Session) -> list[Job]:
    """Every way to the same product, the ones that the headline needs first."""
    inputs = Inputs(size, config.seed)
    jobs: list[Job] = []
    for device in session.devices:
        formats = [name for name in config.dtypes if name in device.precisions]
        if device.kind == "cpu":
            jobs += cpu_jobs(inputs, device, formats, threads)
            continue
        jobs += [
            _job(inputs, device, name, "torch", partial(_product, inputs, device, name)) for name in formats
        ]
        if "float32" in formats:
            moved = _job(inputs, device, "float32", "torch, moved", partial(_moved_product, inputs, device))
            jobs.append(moved)
    ranked = sorted(jobs, key=lambda job: _rank(job.task, max(threads)))
    return [_with_time(job, session.record) for job in ranked]


def _rank(task: Task, most: int) -> int:
    """The headline's rows first: every core, the GPU, NumPy, one thread; then the other formats."""
    if task.precision != "float32":
        return 5 if task.device == "cpu" else 3
    if task.device != "cpu":
        return 1
    return 2 if task.by == "numpy" else 0 if task.threads == most else 4


def cpu_jobs(inputs: Inputs, device: Device, formats: Sequence[str], threads: Sequence[int]) -> list[Job]:
    most = max(threads)
    jobs: list[Job] = []
    for name in formats:
        product = partial(_product, inputs, device, name)
        counts = threads if name == "float32" else [most]
        jobs += [_job(inputs, device, name, "torch", product, count) for count in counts]
    if "float32" in formats:
        jobs.append(_job(inputs, device, "float32", "numpy", partial(_numpy_product, inputs), most))
    return jobs


def _job(
    inputs: Inputs,
    device: Device,
    precision: str,
    by: str,
    prepare: Callable[[], Callable[[], Any]],
    threads: int | None = None,
) -> Job:
    n, dtype = inputs.size, DTYPES[precision]
    return Job(
        Task("matmul", by, device.name, precision, threads, n, flop=2.0 * n**3),
        device,
        prepare,
        needs=_needs(n, dtype, on_host=device.kind == "cpu", made="matrices" in vars(inputs)),
        check=partial(inputs.check, precision=precision),
        setting=partial(_setting, threads, precision),
        pool=by.partition(",")[0],
        limit=peak_of(device.kind, device.title, threads).arithmetic(precision),
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
    known = record.ok(
        what="matmul", by=task.by, device=task.device, precision=task.precision, threads=task.threads
    )
    if not known or task.flop is None:
        return job
    largest = max(known, key=lambda m: m.task.size or 0)
    assert largest.task.flop
    return replace(job, expected_s=largest.median_s * task.flop / largest.task.flop)


def _product(inputs: Inputs, device: Device, precision: str) -> Callable[[], Tensor]:
    a, b = (matrix.to(device.place, DTYPES[precision]) for matrix in inputs.matrices)
    return lambda: a @ b


def _moved_product(inputs: Inputs, device: Device) -> Callable[[], Tensor]:
    """Both factors go to the device and the product comes back, on every call, as `.to` and `.cpu` do it."""
    a, b = inputs.matrices
    return lambda: (a.to(device.place) @ b.to(device.place)).cpu()


def _numpy_product(inputs: Inputs) -> Callable[[], Any]:
    a, b = (matrix.numpy() for matrix in inputs.matrices)
    return lambda: a @ b


def _sustain(device: Device, seconds: float, config: MatmulConfig, threads: int, session: Session) -> None:
    """The largest product that takes a twentieth of the time, again and again, after a pause to cool down."""
    known = session.record.ok(what="matmul", by="torch", device=device.name, precision="float32")
    short = [m.task.size for m in known if m.task.size and m.median_s < seconds / 20]
    if not short:
        return
    session.tell(f"{device.name}: a pause before the sustained run")
    time.sleep(min(1.0, seconds / 4))
    count = threads if device.kind == "cpu" else None
    inputs = Inputs(max(short), config.seed)
    job = _job(inputs, device, "float32", "torch", partial(_product, inputs, device, "float32"), count)
    # long times, or reading the sensors after each would let the device rest
    rule = Rule(width=0.0, most=100_000, sample_s=0.05, warm_s=0.0)
    session.measure([replace(job, task=replace(job.task, what="sustained"))], seconds, rule)
