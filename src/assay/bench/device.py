"""A device as the bench sees it: a clock, a queue that can be drained, memory, sensors, a largest rate.

The core measures through this protocol alone, so that a fake device (tests/bench/fake.py) can stand in for a
GPU: one with known delays, a queue that runs behind, little memory, or a heat problem.
"""

import contextlib
import functools
import multiprocessing
import os
import re
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast, final

import psutil
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from assay.bench.record import Reading
from assay.run.device import cpu_name

# OpenBLAS's idle threads spin for 2^26 clock ticks, up to 30 ms, on the cores of whoever is next
SPIN_S = 0.05
CLOCK_FILE = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
# NVML's bits for the reasons that lower the clock; idle and application settings are no throttling
THROTTLE = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
# what torch raises for a number format that a device lacks, where it is no NotImplementedError
UNSUPPORTED = re.compile(
    r"\" not implemented for '|CUBLAS_STATUS_NOT_SUPPORTED|^`fused=True` requires all the params"
    r"|framework doesn't support|is not supported on MPS$"
)


class Device(Protocol):
    """What the core needs of a device; times are in seconds, memory in bytes."""

    name: str  # as the user types it: cpu, cuda:0, mps, xpu:0
    title: str  # what the maker calls it
    place: torch.device
    precisions: tuple[str, ...]  # the number formats that it multiplies in

    @property
    def pin(self) -> Callable[[Tensor], Tensor] | None:
        """How to copy a tensor into page-locked host memory, where the device reads that faster."""
        ...

    def now(self) -> float: ...

    def synchronize(self) -> None:
        """Wait until all work that was queued is done."""
        ...

    def mark(self) -> Any | None:
        """A point on the device's own time line; None if it has no clock of its own."""
        ...

    def between(self, start: Any, end: Any) -> float: ...

    def read(self, output: Any) -> None:
        """Bring one value to the host: impossible before the work that makes it is done."""
        ...

    def let_sleep(self) -> None:
        """Wait until the threads of another library have gone to sleep."""
        ...

    def free_memory(self) -> int:
        """Bytes that can be had, what torch has cached given back."""
        ...

    def reading(self) -> Reading: ...


def read_one(output: Any) -> None:
    """One element of a tensor, an array or the first of several, on the host."""
    while isinstance(output, list | tuple):
        output = cast(Any, output[0])
    output.reshape(-1)[:1].tolist()


@final
class Cpu:
    """The host: no queue, so nothing to wait for."""

    name = "cpu"
    pin = None
    precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")

    def __init__(self) -> None:
        self.title = cpu_name()
        self.place = torch.device("cpu")
        self._before = self._cpu_times()

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        return None

    def mark(self) -> None:
        return None

    def between(self, start: Any, end: Any) -> float:
        raise NotImplementedError("the CPU has no second clock")

    def read(self, output: Any) -> None:
        read_one(output)

    def let_sleep(self) -> None:
        time.sleep(SPIN_S)

    def free_memory(self) -> int:
        return free_host_memory()

    def reading(self) -> Reading:
        before, self._before = self._before, self._cpu_times()
        there, busy, own = (now - then for now, then in zip(self._before, before, strict=True))
        clock = int(CLOCK_FILE.read_text()) / 1e3 if CLOCK_FILE.exists() else None
        return Reading(clock_mhz=clock, others_s=busy - own, cpu_s=there)

    def _cpu_times(self) -> tuple[float, float, float]:
        """CPU seconds that there were since the start, that all programs used, and that this one did."""
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)  # iowait is known to Linux alone
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted as user already
        there = sum(times) - guests
        pids = [
            os.getpid(),
            *(child.pid for child in multiprocessing.active_children()),
        ]  # a loader's workers
        own = [psutil.Process(pid).cpu_times() for pid in pids]
        return there, there - idle, sum(used.user + used.system for used in own)


@final
class Accelerator:
    """A GPU that torch drives: CUDA, XPU or MPS, in the few calls in which they differ."""

    def __init__(self, index: int) -> None:
        accelerator = torch.accelerator.current_accelerator()
        assert accelerator is not None
        kind = accelerator.type
        self.place = torch.device(kind, index)
        self.name = "mps" if kind == "mps" else f"{kind}:{index}"
        self.precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")
        self._cuda = kind == "cuda"
        self._events = kind != "mps"  # its events are young: it is timed by the wall clock
        self.pin = None if kind == "mps" else Tensor.pin_memory
        if kind == "mps":
            self.title = apple_name()
            return
        properties = torch.get_device_module(kind).get_device_properties(index)
        self.title = str(properties.name)
        if self._cuda:
            ampere = (properties.major, properties.minor) >= (8, 0)
            self.precisions = ("float32", *(("tf32", "bfloat16") if ampere else ()), "float16")
            self._uuid = str(properties.uuid)

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        torch.accelerator.synchronize(self.place)

    def mark(self) -> torch.Event | None:
        if not self._events:
            return None
        event = torch.Event(self.place, enable_timing=True)
        event.record(torch.accelerator.current_stream(self.place))
        return event

    def between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1e3

    def read(self, output: Any) -> None:
        read_one(output)

    def let_sleep(self) -> None:
        return None

    def free_memory(self) -> int:
        torch.accelerator.empty_cache()
        if self.place.type == "mps":
            free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
            return min(free, free_host_memory())  # the host's memory is its own
        return torch.accelerator.get_memory_info(self.place)[0]

    def reading(self) -> Reading:
        if not self._cuda:
            return Reading()
        power = sensor(torch.cuda.power_draw, self.place)
        bits = int(sensor(throttle_bits, self._uuid) or 0)
        return Reading(
            clock_mhz=sensor(torch.cuda.clock_rate, self.place),
            power_w=None if power is None else power / 1e3,
            temperature_c=sensor(torch.cuda.temperature, self.place),
            throttle=tuple(name for bit, name in THROTTLE.items() if bits & bit),
        )


def apple_name() -> str:
    """ "Apple M4 Max": `platform` says "arm" alone."""
    brand = ["sysctl", "-n", "machdep.cpu.brand_string"]
    return subprocess.run(brand, capture_output=True, text=True, check=True).stdout.strip()


def sensor(read: Callable[..., float], *arguments: Any) -> float | None:
    """What a sensor of the GPU says; None without NVML, or where the GPU or the user's rights forbid it."""
    try:
        return float(read(*arguments))
    except Exception as error:  # NVML's own class: its package need not be there
        if isinstance(error, ImportError | RuntimeError) or type(error).__name__.startswith("NVMLError"):
            return None
        raise


def throttle_bits(uuid: str) -> int:
    """Why the clock of this GPU is lower than it could be: torch does not read it, NVML does."""
    import pynvml

    pynvml.nvmlInit()
    name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    handle = pynvml.nvmlDeviceGetHandleByUUID(name)
    return int(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


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
    """Whether this is what torch raises where a device has no such number format or operation."""
    return isinstance(error, NotImplementedError) or (
        isinstance(error, RuntimeError | TypeError) and UNSUPPORTED.search(str(error)) is not None
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
    backends: Sequence[Any] = (torch.backends.cuda.matmul, cast(Any, torch.backends.mkldnn).matmul)
    before = [backend.fp32_precision for backend in backends]
    with contextlib.ExitStack() as stack:
        for backend, mode in zip(backends, before, strict=True):
            stack.callback(setattr, backend, "fp32_precision", mode)
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        yield
