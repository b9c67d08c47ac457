"""What is here and what it can do at most; `bench=hardware` shows it, every record keeps it.

Peaks are dense arithmetic, no sparsity, written 2026-11. An NVIDIA GPU's rate is multiprocessors x clock x
the operations of one multiprocessor in a clock, by compute capability (architecture white papers, CUDA
programming guide): the data sheets' numbers at their clocks, and the right bound at any clock that is read.
`float32` is the rate of the ordinary cores; tensor cores have `tf32`, `bfloat16`, `float16` (with float32
accumulation). What is not listed has an unknown peak: no percentage is printed, no result is refused for it.
"""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, cast

import psutil
import torch
from threadpoolctl import threadpool_info

from assay.bench.device import CLOCK_FILE, Device, free_host_memory, usable_threads
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
# Apple's announcements: float32 TFLOP/s (ALUs x clock, an estimate) and GB/s
APPLE = {
    r"\bM4 Max\b": (18.4, 546),
    r"\bM4 Pro\b": (9.2, 273),
    r"\bM4\b": (4.6, 120),
    r"\bM3 Max\b": (14.1, 400),
    r"\bM3\b(?! Pro| Ultra)": (3.5, 100),
    r"\bM2 Max\b": (13.6, 400),
    r"\bM2\b(?! Pro| Ultra)": (3.6, 100),
    r"\bM1 Max\b": (10.4, 400),
    r"\bM1 Pro\b": (5.2, 200),
    r"\bM1\b(?! Ultra)": (2.6, 68),
}


@dataclass(frozen=True)
class Peak:
    """Largest rates of a device; `bound` says whether a faster result must be wrong."""

    flops: Mapping[str, float] = field(default_factory=dict[str, float])  # a second, by number format
    bytes_per_second: float | None = None  # of the device's own memory
    source: str = "unknown: not in the table"
    bound: bool = True
    clock_mhz: float | None = None  # at which `flops` holds

    def arithmetic(self, precision: str) -> Limit | None:
        """The limit of arithmetic in one number format; None where it is unknown."""
        rate = self.flops.get(precision)
        return Limit(rate, "FLOP/s", self.source, self.bound, self.clock_mhz) if rate else None

    def memory(self) -> Limit | None:
        """The limit of moving bytes in the device's own memory; None where it is unknown."""
        rate = self.bytes_per_second
        return Limit(rate, "B/s", self.source, self.bound) if rate else None


def nvidia_peak(properties: Any) -> Peak:
    """From `torch.cuda.get_device_properties`; its clocks are in kHz, memory moves twice a clock."""
    capability = (properties.major, properties.minor)
    if capability not in MULTIPROCESSOR:
        return Peak()
    float32, tf32, half = MULTIPROCESSOR[capability]
    if "GeForce" in properties.name:
        tf32, half = tf32 // 2, half // 2
    mhz = properties.clock_rate / 1e3
    per_flop = properties.multi_processor_count * mhz * 1e6
    formats = {"float32": float32, "tf32": tf32, "float16": half}
    if capability >= (8, 0):
        formats["bfloat16"] = half
    source = f"{properties.multi_processor_count} multiprocessors x {mhz:.0f} MHz, capability {capability}"
    moved = 2 * properties.memory_clock_rate * 1e3 * properties.memory_bus_width / 8
    return Peak({name: count * per_flop for name, count in formats.items()}, moved, source, clock_mhz=mhz)


def apple_peak(title: str) -> Peak:
    """An estimate, by the chip's name."""
    for pattern, (tflops, gb) in APPLE.items():
        if re.search(pattern, title):
            return Peak({"float32": tflops * 1e12}, gb * 1e9, "Apple's announcement, 2026-11", bound=False)
    return Peak()


@dataclass(frozen=True)
class CpuProbes:
    """What can be read of a CPU."""

    flags: frozenset[str] = frozenset()
    max_mhz: float | None = None  # the boost clock, where the kernel knows it
    listed_mhz: float | None = None  # the clock that /proc/cpuinfo prints
    governor: str | None = None
    machine: str = field(default_factory=platform.machine)


@cache
def probe_cpu() -> CpuProbes:
    """Linux only; elsewhere nothing is readable without more privileges or another tool."""
    lines = (_text(Path("/proc/cpuinfo")) or "").splitlines()
    info = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in reversed(lines)}
    cpufreq = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    # acpi-cpufreq lists the base clock as the largest one: only these drivers know of boost
    boost = _text(cpufreq / "scaling_driver") in {
        "intel_pstate",
        "intel_cpufreq",
        "amd-pstate",
        "amd-pstate-epp",
    }
    most = _text(cpufreq / "cpuinfo_max_freq") if boost else None
    return CpuProbes(
        flags=frozenset(info.get("flags", "").split()),
        max_mhz=int(most) / 1e3 if most else None,
        listed_mhz=float(info["cpu MHz"]) if "cpu MHz" in info else None,
        governor=_text(cpufreq / "scaling_governor"),
    )


def _text(path: Path) -> str | None:
    return path.read_text().strip() if path.exists() else None


def cpu_peak(probes: CpuProbes, cores: int) -> Peak:
    """Float32 peak of so many cores: clock x 2 fused multiply-add units x vector width x 2.

    Two units is the most that x86 cores have, so this is a bound wherever the boost clock is known. Where
    only the listed clock is (as in most virtual machines), it is an estimate that a boosting core may exceed.
    """
    lanes = 16 if "avx512f" in probes.flags else 8 if {"avx2", "fma"} <= probes.flags else None
    clock = probes.max_mhz or probes.listed_mhz
    if lanes is None or clock is None:
        return Peak()
    vectors = "AVX-512" if lanes == 16 else "AVX2"
    which = "largest clock" if probes.max_mhz else "listed clock, boost unknown"
    source = f"{cores} cores x {clock / 1e3:.2f} GHz ({which}) x {4 * lanes} FLOP ({vectors}, 2 FMA units)"
    return Peak({"float32": cores * clock * 1e6 * 4 * lanes}, None, source, bound=probes.max_mhz is not None)


def peak_of(device: Device, threads: int | None = None) -> Peak:
    """What a device, or so many threads of this machine's CPU, can do at most."""
    if device.name == "cpu":
        return cpu_peak(probe_cpu(), min(threads or 1, usable_cores()))
    if device.place.type == "cuda" and torch.version.hip is None:
        return nvidia_peak(torch.cuda.get_device_properties(device.place))
    return apple_peak(device.title)


def environment(devices: Sequence[Device], absent: Mapping[str, str]) -> dict[str, Any]:
    """Everything about this machine and this process that a time depends on."""
    probes = probe_cpu()
    clock = _text(CLOCK_FILE)
    return {
        **provenance(),
        "system": platform.platform(),
        "cpu": {
            "name": cpu_name(),
            "cores": usable_cores(),
            "logical": usable_threads()[-1],
            "threads": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "MKL_NUM_THREADS": os.environ.get("MKL_NUM_THREADS"),
            "governor": probes.governor,
            "clock_mhz": int(clock) / 1e3 if clock else probes.listed_mhz,
            "max_clock_mhz": probes.max_mhz,
            "peak": cpu_peak(probes, usable_cores()).source,
        },
        "memory": {"total_bytes": psutil.virtual_memory().total, "free_bytes": free_host_memory()},
        "torch": {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "float32_matmul_precision": torch.backends.cuda.matmul.fp32_precision,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "blas": {"torch": torch_blas(), "numpy": numpy_blas()},
        "devices": {device.name: device.title for device in devices},
        "gpus": {device.name: _gpu(device) for device in devices if device.name != "cpu"},
        "absent": dict(absent),
    }


def _gpu(device: Device) -> dict[str, Any]:
    reading, peak = device.reading(), peak_of(device)
    return {
        "name": device.title,
        "free_bytes": device.free_memory(),
        "clock_mhz": reading.clock_mhz,
        "power_w": reading.power_w,
        "temperature_c": reading.temperature_c,
        "peak": peak.source,
    }


def torch_blas() -> str:
    """The library that torch multiplies with on the CPU."""
    text = torch.__config__.show()
    for name, mention in (("Intel MKL", "Math Kernel Library"), ("OpenBLAS", "BLAS_INFO=open")):
        if mention in text:
            return name
    return "Accelerate" if "BLAS_INFO=accelerate" in text else "unknown"


def numpy_blas() -> str:
    """The library that NumPy multiplies with, with its version and threads."""
    libraries = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    texts = [f"{lib['internal_api']} {lib['version']}, {lib['num_threads']} threads" for lib in libraries]
    return "; ".join(texts) or "unknown"


def measure(config: HardwareConfig, session: Session) -> None:
    """Nothing to time: the environment that every record has is the result."""


def report(record: Record) -> Report:
    """The environment, a line a part of it."""
    shown = {"cpu": "CPU", "memory": "memory", "blas": "BLAS", "torch": "torch", "gpus": "GPUs"}
    shown |= {"versions": "versions", "system": "system"}
    parts = record.environment
    lines = tuple((title, _in_text(parts[name])) for name, title in shown.items() if parts.get(name))
    return Report(tuple(record.absences), (Table("hardware", ("what", "value"), lines),))


def _in_text(value: Any, name: str = "") -> str:
    """A value for people: `free_bytes: 8e9` as `free 8 GB`, a mapping as a list of those."""
    if isinstance(value, Mapping):
        items = cast(Mapping[str, Any], value).items()
        return ", ".join(f"{key.removesuffix('_bytes')} {_in_text(inner, key)}" for key, inner in items)
    if value is None:
        return "unknown"
    if name.endswith("_bytes"):
        return in_bytes(value)
    return (
        in_bytes(value)
        if name.endswith("_bytes")
        else f"{value:.6g}"
        if isinstance(value, float)
        else str(value)
    )
