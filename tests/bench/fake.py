"""A device of known behaviour: its work takes the seconds it is told to, on a clock that only it moves."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import torch

from assay.bench.device import Device
from assay.bench.measure import Job
from assay.bench.record import Reading, Task

LAUNCH_S = 1e-6  # that queueing a piece of work costs the host


@dataclass
class FakeDevice:
    """An asynchronous device: work is queued, `synchronize` waits for it unless it is broken.

    `hot_after_s` of work, everything takes `hot_factor` times as long, and the sensors say why.
    """

    name: str = "cuda:0"
    title: str = "Fake GPU"
    place: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precisions: tuple[str, ...] = ("float32", "tf32", "bfloat16", "float16")
    pin: Callable[[torch.Tensor], torch.Tensor] | None = field(
        default_factory=lambda: torch.Tensor.contiguous
    )
    synchronizes: bool = True
    has_events: bool = True
    memory: int = 10**9
    hot_after_s: float = float("inf")
    hot_factor: float = 1.4
    host_s: float = 0.0  # the host's clock
    device_s: float = 0.0  # when the device will have done all that is queued
    worked_s: float = 0.0
    interrupt_at_s: float = float("inf")
    slept: int = 0

    def work(self, seconds: float) -> None:
        """Queue work of this length."""
        if self.host_s > self.interrupt_at_s:
            raise KeyboardInterrupt
        self.host_s += LAUNCH_S
        seconds *= self.hot_factor if self.hot else 1.0
        self.worked_s += seconds
        self.device_s = max(self.device_s, self.host_s) + seconds

    @property
    def hot(self) -> bool:
        return self.worked_s > self.hot_after_s

    def now(self) -> float:
        return self.host_s

    def synchronize(self) -> None:
        if self.synchronizes:
            self.host_s = max(self.host_s, self.device_s)

    def mark(self) -> float | None:
        return max(self.host_s, self.device_s) if self.has_events else None

    def between(self, start: float, end: float) -> float:
        return end - start

    def read(self, output: Any) -> None:
        self.host_s = max(self.host_s, self.device_s)

    def let_sleep(self) -> None:
        self.slept += 1

    def free_memory(self) -> int:
        return self.memory

    def reading(self) -> Reading:
        return (
            Reading(1400.0, 80.0, 95.0, ("hardware thermal slowdown",))
            if self.hot
            else Reading(2000.0, 60.0, 50.0)
        )


class HostAsGpu(FakeDevice):
    """The host's own arithmetic behind a GPU's face: every GPU branch of a bench runs, in real time."""

    def now(self) -> float:
        return time.perf_counter()

    def synchronize(self) -> None:
        return None

    def mark(self) -> float:
        return time.perf_counter()

    def read(self, output: Any) -> None:
        return None


def job(device: FakeDevice, seconds: float | Callable[[], float], name: str = "work", **more: Any) -> Job:
    """One call takes so many seconds of the device's time."""

    def call() -> None:
        device.work(seconds() if callable(seconds) else seconds)

    task = Task("matmul", name, device.name, size=1000, flop=2e9)
    return Job(task, cast(Device, device), prepare=lambda: call, **more)
