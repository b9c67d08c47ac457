"""A device as the bench sees it; tests/bench/fake.py has one of known delays in its place."""

import contextlib
import multiprocessing
import os
import re
import subprocess
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast, final

import psutil
import torch
from threadpoolctl import ThreadpoolController
from torch import Tensor

from assay.bench.record import Reading
from assay.run import failures
from assay.run.device import cpu_name
from assay.run.process import usable_cores

# OpenBLAS's idle threads spin for 2^26 clock ticks, up to 30 ms, on the cores of whoever is next
SPIN_S = 0.05
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


BLAS = ThreadpoolController()  # of all libraries that are loaded, NumPy's among them


@final
class Device:
    """The host, or a GPU that torch drives, in the few calls in which they differ; seconds and bytes."""

    def __init__(self, name: str) -> None:
        self.name = name  # as the user types it: cpu, cuda:0, xpu:0, mps
        self.place = torch.device(name)
        self.precisions: tuple[str, ...] = ("float32", "bfloat16", "float16")  # that it multiplies in
        pins = self.place.type in ("cuda", "xpu")  # it reads page-locked host memory faster
        self.pin = Tensor.pin_memory if pins else None
        self._uuid = ""
        self._cpu_before = _cpu_times()
        if name == "cpu":
            self.title = cpu_name()  # what the maker calls it
        elif name == "mps":
            brand = ["sysctl", "-n", "machdep.cpu.brand_string"]  # `platform` says "arm" alone
            self.title = subprocess.run(brand, capture_output=True, text=True, check=True).stdout.strip()
        else:
            properties = torch.get_device_module(self.place).get_device_properties(self.place)
            self.title = str(properties.name)
            if self.place.type == "cuda":
                self._uuid = str(properties.uuid)
                ampere = ("tf32", "bfloat16") if (properties.major, properties.minor) >= (8, 0) else ()
                self.precisions = ("float32", *ampere, "float16")

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        if self.name != "cpu":
            torch.accelerator.synchronize(self.place)

    def mark(self) -> torch.Event | None:
        """A point on the device's own time line; the events of MPS are young, and the CPU has none."""
        if self.name in ("cpu", "mps"):
            return None
        event = torch.Event(self.place, enable_timing=True)
        event.record(torch.accelerator.current_stream(self.place))
        return event

    def between(self, start: Any, end: Any) -> float:
        return start.elapsed_time(end) / 1e3

    def read(self, output: Any) -> None:
        """Bring one value to the host: impossible before the work that makes it is done."""
        while isinstance(output, list | tuple):
            output = cast(Any, output[0])
        output.reshape(-1)[:1].tolist()

    def let_sleep(self) -> None:
        """Wait until the threads of another library have gone to sleep."""
        if self.name == "cpu":
            time.sleep(SPIN_S)

    def free_memory(self) -> int:
        """What torch has cached is given back first."""
        if self.name == "cpu":
            return free_host_memory()
        torch.accelerator.empty_cache()
        if self.name != "mps":
            return torch.accelerator.get_memory_info(self.place)[0]
        free = torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
        return min(free, free_host_memory())  # the host's memory is its own

    def reading(self) -> Reading:
        if self.name == "cpu":
            before, self._cpu_before = self._cpu_before, _cpu_times()
            there, busy, own = (now - then for now, then in zip(self._cpu_before, before, strict=True))
            return Reading(others_s=busy - own, cpu_s=there)
        if self.place.type != "cuda":
            return Reading()
        bits = int(sensor(throttle_bits, self._uuid) or 0)
        return Reading(
            clock_mhz=sensor(torch.cuda.clock_rate, self.place),
            power_w=sensor(lambda place: torch.cuda.power_draw(place) / 1e3, self.place),
            temperature_c=sensor(torch.cuda.temperature, self.place),
            throttle=tuple(name for bit, name in THROTTLE.items() if bits & bit),
        )


def _cpu_times() -> tuple[float, float, float]:
    """CPU seconds that there were since the start, that all programs used, and that this one did."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)  # iowait is known to Linux alone
    guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted as user already
    there = sum(times) - guests
    workers = [child.pid for child in multiprocessing.active_children()]  # of a loader
    used = [psutil.Process(pid).cpu_times() for pid in (os.getpid(), *workers)]
    ended = used[0].children_user + used[0].children_system  # processes that this one has waited for
    return there, there - idle, ended + sum(one.user + one.system for one in used)


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
    by_backend = isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    return by_backend or failures.is_out_of_memory(error)


def is_unsupported(error: BaseException) -> bool:
    """Whether this is what torch raises where a device has no such number format or operation."""
    return isinstance(error, NotImplementedError) or (
        isinstance(error, RuntimeError | TypeError) and UNSUPPORTED.search(str(error)) is not None
    )


def usable_threads() -> list[int]:
    """The thread counts worth trying: one, every physical core and every logical one that we may use."""
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return sorted({1, usable_cores(), logical})


@contextlib.contextmanager
def setting(threads: int | None, precision: str = "float32") -> Generator[None]:
    """Torch, and the BLAS that NumPy uses, with so many threads; None leaves them. Then as before.

    Products of float32 tensors are done in full float32 or, for `tf32`, through tensor cores.
    """
    backends: list[Any] = [torch.backends.cuda.matmul, cast(Any, torch.backends.mkldnn).matmul]
    with contextlib.ExitStack() as stack:
        for backend in backends:
            stack.callback(setattr, backend, "fp32_precision", backend.fp32_precision)
            backend.fp32_precision = "tf32" if precision == "tf32" else "ieee"
        if threads is not None:
            stack.enter_context(BLAS.limit(limits=threads, user_api="blas"))
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        yield
