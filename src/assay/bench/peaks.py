"""What devices can do at most, from their makers' data sheets: dense arithmetic, no sparsity.

Written 2026-11. A GPU that is not listed has an unknown peak: no percentage is printed and no result is
refused for it. `float32` is the rate of the ordinary cores; tensor cores have `tf32`, `bfloat16`, `float16`
(with float32 accumulation). Consumer cards boost past these numbers, which is why the gate stands at 105 %.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from assay.bench.measurement import Limit
from assay.run.place import usable_cores

DATE = "2026-11"


@dataclass(frozen=True)
class Peak:
    """Largest rates of a device; `bound` says whether a faster result must be wrong."""

    tflops: Mapping[str, float]  # by number format, in 10^12 a second
    gb_per_s: float | None  # of the device's own memory
    source: str
    bound: bool = True

    def arithmetic(self, precision: str) -> Limit | None:
        """The limit of arithmetic in one number format; None where it is unknown."""
        rate = self.tflops.get(precision)
        return Limit(rate * 1e12, "FLOP/s", self.source, self.bound) if rate else None

    def memory(self) -> Limit | None:
        """The limit of moving bytes in the device's own memory; None where it is unknown."""
        return Limit(self.gb_per_s * 1e9, "B/s", self.source, self.bound) if self.gb_per_s else None


def _gpu(fp32: float, tf32: float | None, half: float, bandwidth: float, source: str) -> Peak:
    rates = {"float32": fp32, "bfloat16": half, "float16": half} | ({"tf32": tf32} if tf32 else {})
    return Peak(rates, bandwidth, source)


# the first pattern that is found in the device's name counts: the more exact ones stand first
GPUS: tuple[tuple[str, Peak], ...] = (
    (r"\bB200\b", _gpu(80, 1125, 2250, 8000, "NVIDIA Blackwell data sheet, HGX B200")),
    (r"\bGH200\b", _gpu(67, 494.7, 989.4, 4900, "NVIDIA GH200 data sheet")),
    (r"\bH200 NVL\b", _gpu(60, 417.5, 835.5, 4800, "NVIDIA H200 data sheet, NVL")),
    (r"\bH200\b", _gpu(67, 494.7, 989.4, 4800, "NVIDIA H200 data sheet, SXM")),
    (r"\bH100 PCIe\b", _gpu(51.2, 378, 756, 2000, "NVIDIA H100 data sheet, PCIe")),
    (r"\bH100 NVL\b", _gpu(60, 417.5, 835.5, 3900, "NVIDIA H100 data sheet, NVL")),
    (r"\bH100\b", _gpu(67, 494.7, 989.4, 3350, "NVIDIA H100 data sheet, SXM")),
    (r"\bA100\b.*\b80GB\b", _gpu(19.5, 156, 312, 2039, "NVIDIA A100 data sheet, 80 GB")),
    (r"\bA100\b", _gpu(19.5, 156, 312, 1555, "NVIDIA A100 data sheet, 40 GB")),
    (r"\bL40S\b", _gpu(91.6, 183, 362, 864, "NVIDIA L40S data sheet")),
    (r"\bRTX 4090 Laptop\b", Peak({}, 576, "NVIDIA; arithmetic depends on the laptop's power limit")),
    (r"\bRTX 4090\b", _gpu(82.6, 82.6, 165.2, 1008, "NVIDIA Ada white paper, appendix A")),
    (r"\bRTX 4060 Laptop\b", _gpu(15.1, 15.1, 30.3, 256, "NVIDIA Ada: 3072 cores; less under a power limit")),
    (r"\bRTX 4060 Ti\b", _gpu(22.1, 22.1, 44.1, 288, "NVIDIA Ada: 4352 cores at 2.54 GHz")),
    (r"\bRTX 4060\b", _gpu(15.1, 15.1, 30.3, 272, "NVIDIA Ada: 3072 cores at 2.46 GHz")),
    (r"\bRTX 3090\b(?! Ti)", _gpu(35.6, 35.6, 71.2, 936, "NVIDIA GA102 white paper")),
    (r"\bT4\b", Peak({"float32": 8.1, "float16": 65}, 320, "NVIDIA T4 data sheet")),
    (r"\bM4 Max\b", Peak({"float32": 18.4}, 546, "Apple; arithmetic: 5120 ALUs at 1.8 GHz", bound=False)),
    (r"\bM4 Pro\b", Peak({"float32": 9.2}, 273, "Apple; arithmetic: 2560 ALUs at 1.8 GHz", bound=False)),
    (r"\bM4\b", Peak({"float32": 4.6}, 120, "Apple; arithmetic: 1280 ALUs at 1.8 GHz", bound=False)),
    (r"\bM3 Max\b", Peak({"float32": 14.1}, 400, "Apple; arithmetic: 5120 ALUs at 1.38 GHz", bound=False)),
    (r"\bM3\b(?! Pro)", Peak({"float32": 3.5}, 100, "Apple; 1280 ALUs at 1.38 GHz", bound=False)),
    (r"\bM2 Max\b", Peak({"float32": 13.6}, 400, "Apple M2 Max announcement", bound=False)),
    (r"\bM2\b(?! Pro| Ultra)", Peak({"float32": 3.6}, 100, "Apple M2 announcement", bound=False)),
    (r"\bM1 Max\b", Peak({"float32": 10.4}, 400, "Apple M1 Max announcement", bound=False)),
    (r"\bM1 Pro\b", Peak({"float32": 5.2}, 200, "Apple M1 Pro announcement", bound=False)),
    (r"\bM1\b(?! Ultra)", Peak({"float32": 2.6}, 68, "Apple M1 announcement", bound=False)),
)

UNKNOWN = Peak({}, None, "unknown: not in the table", bound=False)


def gpu_peak(title: str) -> Peak:
    """The peak of the GPU that calls itself `title`; `UNKNOWN` where it is not listed."""
    for pattern, peak in GPUS:
        if re.search(pattern, title):
            return peak
    return UNKNOWN


@dataclass(frozen=True)
class CpuProbes:
    """What can be read of a CPU."""

    machine: str  # x86_64, arm64, ...
    flags: frozenset[str]
    max_mhz: float | None  # the boost clock, where the kernel knows it
    listed_mhz: float | None  # the clock that /proc/cpuinfo prints


def probe_cpu() -> CpuProbes:
    """Linux only; elsewhere nothing is readable without more privileges or another tool."""
    import platform

    cpufreq = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    words = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in reversed(lines)}
    # acpi-cpufreq lists the base clock as the largest one: only these drivers know of boost
    knows_boost = {"intel_pstate", "intel_cpufreq", "amd-pstate", "amd-pstate-epp"}
    driver, most = cpufreq / "scaling_driver", cpufreq / "cpuinfo_max_freq"
    boost = driver.exists() and driver.read_text().strip() in knows_boost
    return CpuProbes(
        machine=platform.machine(),
        flags=frozenset(words.get("flags", "").split()),
        max_mhz=int(most.read_text()) / 1e3 if boost and most.exists() else None,
        listed_mhz=float(words["cpu MHz"]) if "cpu MHz" in words else None,
    )


def cpu_peak(probes: CpuProbes, cores: int) -> Peak:
    """Float32 peak of so many cores: clock x 2 fused multiply-add units x vector width x 2.

    Two units is the most that x86 cores have, so this is a bound wherever the boost clock is known. Where
    only the listed clock is (as in most virtual machines), it is an estimate that a boosting core may exceed.
    """
    lanes = 16 if "avx512f" in probes.flags else 8 if {"avx2", "fma"} <= probes.flags else None
    clock = probes.max_mhz or probes.listed_mhz
    if lanes is None or clock is None:
        return UNKNOWN
    vectors = "AVX-512" if lanes == 16 else "AVX2"
    which = "largest clock" if probes.max_mhz else "listed clock, boost unknown"
    source = f"{cores} cores x {clock / 1e3:.2f} GHz ({which}) x {4 * lanes} FLOP ({vectors}, 2 FMA units)"
    rate = cores * clock * 1e6 * 4 * lanes / 1e12
    return Peak({"float32": rate}, None, source, bound=probes.max_mhz is not None)


def peak_of(kind: str, title: str, threads: int | None) -> Peak:
    """What a device, or so many threads of this machine's CPU, can do at most."""
    return cpu_peak(probe_cpu(), min(threads or 1, usable_cores())) if kind == "cpu" else gpu_peak(title)
