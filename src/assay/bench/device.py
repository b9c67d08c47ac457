"""A device as the bench sees it: a clock, a queue that can be drained, memory, sensors.

The core measures through this protocol alone, so that a fake device (tests/bench/fake.py) can stand in for a
GPU: one with known delays, a queue that runs behind, little memory, or a heat problem.
"""

import contextlib
import functools
import os
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, cast, final

import psutil
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from assay.bench.measurement import Reading
from assay.bench.nvml import NvmlSensors
from assay.run.device import cpu_name

Kind = Literal["cpu", "cuda", "mps"]
SPIN_S = (
    0.05  # OpenBLAS's idle threads spin for 2^26 clock ticks, up to 30 ms, on the cores of whoever is next
)
Mark = Any  # a point on the device's own time line


class Device(Protocol):
    """What the core needs of a device; times are in seconds, memory in bytes."""

    name: str  # as the user types it: cpu, cuda:0, mps
    kind: Kind
    title: str  # what the maker calls it
    place: torch.device
    precisions: tuple[str, ...]  # the number formats that it multiplies in
    pins: bool  # whether host memory can be pinned for it

    def now(self) -> float: ...

    def synchronize(self) -> None:
        """Wait until all work that was queued is done."""
        ...

    def mark(self) -> Mark | None:
        """A point on the device's own time line; None if it has no clock of its own."""
        ...

    def between(self, start: Mark, end: Mark) -> float: ...

    def read(self, output: Any) -> None:
        """Bring one value to the host: impossible before the work that makes it is done."""
        ...

    def settle(self) -> None:
        """Wait until the threads of another library have gone to sleep."""
        ...

    def pin(self, tensor: Tensor) -> Tensor:
        """The tensor in page-locked host memory."""
        ...

    def free_memory(self) -> int: ...

    def reading(self) -> Reading: ...

    def release(self) -> None:
        """Give back what is cached, so that `free_memory` tells the truth."""
        ...


def read_one(output: Any) -> None:
    """One element of a tensor, an array or the first of several, on the host."""
    while isinstance(output, list | tuple):
        output = cast(Any, output[0])
    output.reshape(-1)[:1].tolist()


@final
class Cpu:
    """The host: no queue, so nothing to wait for."""

    name = "cpu"
    kind: Kind = "cpu"
    pins = False
    precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")

    def __init__(self) -> None:
        self.title = cpu_name()
        self.place = torch.device("cpu")

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        return None

    def mark(self) -> None:
        return None

    def between(self, start: Mark, end: Mark) -> float:
        raise NotImplementedError("the CPU has no second clock")

    def read(self, output: Any) -> None:
        read_one(output)

    def settle(self) -> None:
        time.sleep(SPIN_S)

    def pin(self, tensor: Tensor) -> Tensor:
        raise NotImplementedError("memory is pinned for a GPU")

    def free_memory(self) -> int:
        return free_host_memory()

    def reading(self) -> Reading:
        path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
        return Reading(clock_mhz=int(path.read_text()) / 1e3 if path.exists() else None)

    def release(self) -> None:
        return None


@final
class Cuda:
    """An NVIDIA GPU, timed by events on its stream."""

    kind: Kind = "cuda"
    pins = True

    def __init__(self, index: int) -> None:
        self.name = f"cuda:{index}"
        self.place = torch.device("cuda", index)
        self.title = torch.cuda.get_device_name(index)
        ampere = torch.cuda.get_device_capability(index) >= (8, 0)
        newer = ("tf32", "bfloat16") if ampere else ()
        self.precisions: tuple[str, ...] = ("float32", *newer, "float16")
        self._sensors = NvmlSensors(str(torch.cuda.get_device_properties(index).uuid))

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        torch.cuda.synchronize(self.place)

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self.place))
        return event

    def between(self, start: Mark, end: Mark) -> float:
        return start.elapsed_time(end) / 1e3

    def read(self, output: Any) -> None:
        read_one(output)

    def settle(self) -> None:
        return None

    def pin(self, tensor: Tensor) -> Tensor:
        return tensor.pin_memory()

    def free_memory(self) -> int:
        return torch.cuda.mem_get_info(self.place)[0]

    def reading(self) -> Reading:
        return self._sensors.reading()

    def release(self) -> None:
        torch.cuda.empty_cache()


@final
class Mps:
    """An Apple GPU: no clock of its own is used, its events are young."""

    name = "mps"
    kind: Kind = "mps"
    pins = False
    precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")

    def __init__(self) -> None:
        self.place = torch.device("mps")
        brand = ["sysctl", "-n", "machdep.cpu.brand_string"]  # "Apple M4 Max": platform says "arm" alone
        self.title = subprocess.run(brand, capture_output=True, text=True, check=True).stdout.strip()

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        torch.mps.synchronize()

    def mark(self) -> None:
        return None

    def between(self, start: Mark, end: Mark) -> float:
        raise NotImplementedError("MPS is timed by the wall clock")

    def read(self, output: Any) -> None:
        read_one(output)

    def settle(self) -> None:
        return None

    def pin(self, tensor: Tensor) -> Tensor:
        raise NotImplementedError("an Apple GPU shares the host's memory")

    def free_memory(self) -> int:
        return min(
            torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory(), free_host_memory()
        )

    def reading(self) -> Reading:
        return Reading()

    def release(self) -> None:
        torch.mps.empty_cache()


def free_host_memory() -> int:
    """What this process may still take: the machine's free memory, or less in a container with a limit."""
    free = psutil.virtual_memory().available
    limit, used = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    if limit.exists() and used.exists() and (most := limit.read_text().strip()) != "max":
        free = min(free, int(most) - int(used.read_text()))
    return free


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how torch or NumPy say that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator: " in text or "out of memory" in text.lower()
    )


def is_unsupported(error: BaseException) -> bool:
    """Whether this is how torch says that a device has no such number format or operation."""
    text = str(error)
    return isinstance(error, NotImplementedError) or (
        isinstance(error, RuntimeError | TypeError)
        and ("not implemented for" in text or "not support" in text or "not available on" in text)
    )


def usable_threads() -> list[int]:
    """The thread counts worth trying: one, every physical core and every logical one that we may use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    physical = min(psutil.cpu_count(logical=False) or allowed, allowed)
    return sorted({1, physical, allowed})


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries: once


@contextmanager
def cpu_threads(count: int | None) -> Generator[None]:
    """Torch, and the BLAS that NumPy uses, with this many threads; None leaves them."""
    if count is None:
        yield
        return
    before = torch.get_num_threads()
    with _blas().limit(limits=count, user_api="blas"):
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@contextmanager
def matmul_precision(precision: str) -> Generator[None]:
    """Products of float32 tensors in full float32 or, for `tf32`, through tensor cores; then as before."""
    backends: list[Any] = [torch.backends.cuda.matmul, cast(Any, torch.backends.mkldnn).matmul]
    before = [backend.fp32_precision for backend in backends]
    with contextlib.ExitStack() as stack:
        for backend, mode in zip(backends, before, strict=True):
            stack.callback(setattr, backend, "fp32_precision", mode)
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
