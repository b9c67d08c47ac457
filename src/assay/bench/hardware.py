"""What is here and what is not: the environment record of every result, and `bench=hardware`, the doctor."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from threadpoolctl import threadpool_info

from assay.bench.device import Cpu, Cuda, Device, Mps, free_host_memory, usable_threads
from assay.bench.measure import in_bytes
from assay.bench.measurement import Record
from assay.bench.nvml import NvmlSensors
from assay.bench.peaks import DATE, cpu_peak, gpu_peak, probe_cpu
from assay.bench.report import Report, Table
from assay.bench.session import Session
from assay.config.schema import HardwareConfig
from assay.errors import UserError
from assay.run.device import cpu_name, probe_cuda, why_no_cuda
from assay.run.folder import provenance
from assay.run.place import usable_cores

BUSY_PERCENT = 15.0


def find_devices(wanted: str | Sequence[str]) -> tuple[list[Device], dict[str, str]]:
    """The devices to measure, and for `auto` why a kind is absent.

    Raises `UserError` for a device that was named and is not here.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    here: dict[str, Any] = {"cpu": Cpu} | {f"cuda:{i}": (lambda i=i: Cuda(i)) for i in range(gpus)}
    if torch.backends.mps.is_available():
        here["mps"] = Mps
    absent = {} if gpus else {"cuda": why_no_cuda(probe_cuda())}
    names = list(here) if wanted == "auto" else wanted
    return [here[name]() for name in chosen(names, list(here), absent)], absent


def chosen(names: Sequence[str], here: Sequence[str], absent: Mapping[str, str]) -> list[str]:
    """The names, each once; raises `UserError` for one that is not here."""
    full = {name: "cuda:0" if name == "cuda" else name for name in names}
    for name in names:
        if full[name] in here:
            continue
        kind = name.partition(":")[0]
        if kind not in ("cpu", "cuda", "mps"):
            raise UserError(
                f"devices=[{name}] is no device\n"
                f"  allowed: cpu, cuda:0, cuda:1, ..., mps; on this machine: {', '.join(here)}"
            )
        reason = absent.get(kind, f"this machine has no {name}")
        raise UserError(f"devices=[{name}] cannot be used: {reason}\n  on this machine: {', '.join(here)}")
    return list(dict.fromkeys(full.values()))


def environment(devices: Sequence[Device], absent: Mapping[str, str]) -> dict[str, Any]:
    """Everything about this machine and this process that a time depends on."""
    return {
        **provenance(),
        "system": platform.platform(),
        "busy_percent": [busy_percent()],  # before, and after the bench
        "cpu": _cpu(),
        "memory": {"total_bytes": psutil.virtual_memory().total, "free_bytes": free_host_memory()},
        "torch": {
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "float32_matmul_precision": torch.backends.cuda.matmul.fp32_precision,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        },
        "blas": {"torch": torch_blas(), "numpy": numpy_blas()},
        "devices": {device.name: device.title for device in devices},
        "gpus": [_gpu(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else [],
        "absent": dict(absent),
    }


def _cpu() -> dict[str, Any]:
    cpufreq = Path("/sys/devices/system/cpu/cpu0/cpufreq")
    governor, clock = cpufreq / "scaling_governor", cpufreq / "scaling_cur_freq"
    probes = probe_cpu()
    return {
        "name": cpu_name(),
        "cores": usable_cores(),
        "logical": usable_threads()[-1],
        "threads": torch.get_num_threads(),
        "environment": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
        "governor": governor.read_text().strip() if governor.exists() else None,
        "clock_mhz": int(clock.read_text()) / 1e3 if clock.exists() else probes.listed_mhz,
        "max_clock_mhz": probes.max_mhz,
        "peak": cpu_peak(probes, usable_cores()).source,
    }


def torch_blas() -> str:
    """The library that torch multiplies with on the CPU."""
    text = torch.__config__.show()
    for name, word in (("Intel MKL", "Math Kernel Library"), ("OpenBLAS", "BLAS_INFO=open")):
        if word in text:
            return name
    return "Accelerate" if "BLAS_INFO=accelerate" in text else "unknown"


def numpy_blas() -> str:
    """The library that NumPy multiplies with, with its version and threads."""
    found = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    words = [f"{lib['internal_api']} {lib['version']}, {lib['num_threads']} threads" for lib in found]
    return "; ".join(words) or "unknown"


def _gpu(index: int) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(index)
    sensors = NvmlSensors(str(properties.uuid))
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "driver": sensors.driver,
        "max_clock_mhz": sensors.max_clock_mhz,
        "power_limit_w": sensors.power_limit_w,
        "sensors": sensors.absent or sensors.reading(),
        "peak": f"{gpu_peak(properties.name).source} ({DATE})",
    }


def busy_percent() -> float:
    """How much of the CPU other programs use: this one sleeps meanwhile."""
    return psutil.cpu_percent(interval=0.3)


def busy(around: Mapping[str, Any]) -> list[str]:
    """A line of warning where other programs were using the CPU before or after the bench."""
    percent = max(around["busy_percent"])
    if percent < BUSY_PERCENT:
        return []
    return [f"other programs used {percent:.0f} % of this machine's CPU: times on it are not to be relied on"]


def measure(config: HardwareConfig, session: Session) -> None:
    """Nothing to time: the environment record is the result."""
    session.facts["hardware"] = environment(session.devices, session.absent)


def report(config: HardwareConfig, record: Record) -> Report:
    """The environment in lines that say what is well and what is not."""
    found = record.facts["hardware"]
    cpu, memory = found["cpu"], found["memory"]
    rows = [
        (
            "CPU",
            f"{cpu['name']}: {cpu['cores']} cores, {cpu['logical']} logical, torch uses {cpu['threads']}",
        ),
        ("CPU peak, float32", cpu["peak"]),
        ("CPU clock", _clock(cpu)),
        ("memory", f"{in_bytes(memory['total_bytes'])}, free {in_bytes(memory['free_bytes'])}"),
        ("BLAS", f"torch: {found['blas']['torch']}; NumPy: {found['blas']['numpy']}"),
        ("torch", f"{found['versions']['torch']}, CUDA {found['torch']['cuda'] or 'none'}"),
        *((f"GPU {i}", _gpu_words(gpu)) for i, gpu in enumerate(found["gpus"])),
        *(("no GPU" if kind == "cuda" else f"no {kind}", why) for kind, why in found["absent"].items()),
        ("versions", ", ".join(f"{name} {version}" for name, version in found["versions"].items())),
        ("system", found["system"]),
    ]
    return Report(lines=(), tables=(Table("hardware", ("what", "found"), tuple(rows)),), figures=())


def _clock(cpu: Mapping[str, Any]) -> str:
    now = f"{cpu['clock_mhz']:.0f} MHz" if cpu["clock_mhz"] else "not readable"
    most = f"at most {cpu['max_clock_mhz']:.0f} MHz" if cpu["max_clock_mhz"] else "largest not readable"
    return f"{now}, {most}, governor {cpu['governor'] or 'not readable'}"


def _gpu_words(gpu: Mapping[str, Any]) -> str:
    words = f"{gpu['name']}, {in_bytes(gpu['memory_bytes'])}, capability {gpu['capability']}"
    return f"{words}, driver {gpu['driver'] or 'unknown'}; sensors: {gpu['sensors']}; peak: {gpu['peak']}"
