"""What is here and what it can do at most; `bench=hardware` shows it, every record keeps it.

Peaks are dense arithmetic, written 2026-11. An NVIDIA GPU's is multiprocessors x clock x operations of one
multiprocessor in a clock, by compute capability (architecture white papers, CUDA programming guide): the data
sheets' numbers at their clocks, and the right bound at any clock that is read.
"""

import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from threadpoolctl import threadpool_info

from assay.bench.device import Device, free_host_memory, usable_threads
from assay.bench.record import Limit, Record
from assay.bench.session import Session
from assay.config.schema import HardwareConfig
from assay.report import Report, Table, in_bytes
from assay.run.device import cpu_name
from assay.run.process import usable_cores
from assay.run.provenance import provenance

# FLOP of a multiprocessor in a clock: float32, tf32, half formats; a GeForce has half the tensor rates
MULTIPROCESSOR: dict[tuple[int, int], tuple[int, int, int]] = {
    (7, 0): (128, 0, 1024),
    (7, 5): (128, 0, 1024),
    (8, 0): (128, 1024, 2048),
    (8, 6): (256, 512, 1024),
    (8, 9): (256, 512, 1024),
    (9, 0): (256, 2048, 4096),
    (10, 0): (256, 4096, 8192),
    (12, 0): (256, 512, 1024),
}
# these drivers know the boost clock; others list the base clock as the largest one
BOOST_DRIVERS = ("intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp")
Peaks = Mapping[
    str, Limit
]  # by number format, and of the device's own "memory"; what is unknown is not there


def nvidia_peaks(properties: Any) -> Peaks:
    """From `torch.cuda.get_device_properties`; its clocks are in kHz, memory moves twice a clock."""
    capability = (properties.major, properties.minor)
    if capability not in MULTIPROCESSOR:
        return {}
    float32, tf32, half = MULTIPROCESSOR[capability]
    if "GeForce" in properties.name:
        tf32, half = tf32 // 2, half // 2
    count, mhz = properties.multi_processor_count, properties.clock_rate / 1e3
    source = f"{count} multiprocessors x {mhz:.0f} MHz, capability {capability}"
    per_clock = {"float32": float32, "tf32": tf32, "float16": half, "bfloat16": half if tf32 else 0}
    moved = 2 * properties.memory_clock_rate * 1e3 * properties.memory_bus_width / 8
    return {
        name: Limit(flop * count * mhz * 1e6, "FLOP/s", source, clock_mhz=mhz)
        for name, flop in per_clock.items()
        if flop
    } | {"memory": Limit(moved, "B/s", source)}


def cpu_peaks(flags: Sequence[str], mhz: float | None, is_largest: bool, cores: int) -> Peaks:
    """Float32 peak of so many cores: clock x 2 fused multiply-add units x vector width x 2.

    Two units is the most that x86 cores have: a bound where the boost clock is known, else an estimate.
    """
    lanes = 16 if "avx512f" in flags else 8 if {"avx2", "fma"} <= set(flags) else None
    if lanes is None or mhz is None:
        return {}
    which = "largest clock" if is_largest else "listed clock, boost unknown"
    source = (
        f"{cores} cores x {mhz / 1e3:.2f} GHz ({which}) x {4 * lanes} FLOP (2 FMA units of {lanes} lanes)"
    )
    return {"float32": Limit(cores * mhz * 1e6 * 4 * lanes, "FLOP/s", source, is_largest)}


@cache
def probe_cpu() -> tuple[list[str], float | None, bool]:
    """The CPU's flags, its clock in MHz, and whether that is the largest one; flags on Linux only."""
    info = _text("/proc/cpuinfo") or ""
    flags = re.search(r"^flags\s*: (.*)$", info, re.MULTILINE)
    clocks: list[Any] = psutil.cpu_freq(percpu=True)
    driver = _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver")
    is_largest = driver in BOOST_DRIVERS
    mhz = max((clock.max if is_largest else clock.current for clock in clocks), default=None)
    return flags[1].split() if flags else [], mhz, is_largest


def _text(path: str) -> str | None:
    return Path(path).read_text().strip() if Path(path).exists() else None


def peaks_of(device: Device, threads: int | None = None) -> Peaks:
    """What a device, or so many threads of this machine's CPU, can do at most."""
    if device.name == "cpu":
        return cpu_peaks(*probe_cpu(), min(threads or 1, usable_cores()))
    if device.place.type == "cuda" and torch.version.hip is None:
        return nvidia_peaks(torch.cuda.get_device_properties(device.place))
    return {}


def environment(devices: Sequence[Device], absent: Mapping[str, str]) -> dict[str, Any]:
    """Everything about this machine and this process that a time depends on."""
    by_torch = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    by_numpy = {
        f"{lib['internal_api']} {lib['version']}, {lib['num_threads']} threads"
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    }
    gpus = [device for device in devices if device.name != "cpu"]
    return {
        **provenance(),
        "system": platform.platform(),
        "cpu": {
            "name": cpu_name(),
            "cores": usable_cores(),
            "logical": usable_threads()[-1],
            "threads": torch.get_num_threads(),
            "governor": _text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        },
        "memory": {"total_bytes": psutil.virtual_memory().total, "free_bytes": free_host_memory()},
        "torch": {"cuda": torch.version.cuda, "cpu_capability": torch.backends.cpu.get_cpu_capability()},
        "blas": {"torch": by_torch[1] if by_torch else None, "numpy": "; ".join(sorted(by_numpy))},
        "devices": {device.name: device.title for device in devices},
        "gpus": {d.name: {"free_bytes": d.free_memory()} | asdict(d.reading()) for d in gpus},
        "absent": dict(absent),
    }


def measure(config: HardwareConfig, session: Session) -> None:
    """Nothing to time: the environment that every record has is the result."""


def report(record: Record) -> Report:
    """The environment, a line a part of it."""
    names = {"cpu": "CPU", "devices": "devices", "gpus": "GPUs", "memory": "memory", "blas": "BLAS"}
    names |= {name: name for name in ("torch", "versions", "system")}
    environment = record.environment
    lines = tuple((title, _in_text(environment[name])) for name, title in names.items() if environment[name])
    return Report(tuple(record.absences), (Table("hardware", ("what", "value"), lines),))


def _in_text(value: Any, name: str = "") -> str:
    """A value for people: `free_bytes: 8e9` as `free 8 GB`, a mapping as a list of those."""
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return ", ".join(f"{key.removesuffix('_bytes')} {_in_text(inner, key)}" for key, inner in items)
    if name.endswith("_bytes"):
        return in_bytes(value)
    return "unknown" if value in (None, "") else str(value)
