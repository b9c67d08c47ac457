"""What hardware is here, why CUDA is not, and what the device config means on this machine."""

import os
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch

from assay.config.schema import DeviceConfig
from assay.errors import UserError

FLOP_PER_THREAD = 64e6  # of one training step: below it a second thread costs more than it gives


@dataclass(frozen=True)
class CudaProbes:
    """What can be seen of an NVIDIA GPU without touching it."""

    built_with: str | None  # the CUDA version torch was built with
    gpu_present: bool | None  # None where this system gives no way to tell
    driver_present: bool


def probe_cuda() -> CudaProbes:
    return CudaProbes(torch.version.cuda, _nvidia_on_pci(), _nvidia_driver())


def why_no_cuda(probes: CudaProbes) -> str:
    """Which of the three usual causes it is, in one line, with what to do."""
    if probes.gpu_present is False:
        return "this machine has no NVIDIA GPU"
    if not probes.driver_present:
        found = "an NVIDIA GPU is there, but its" if probes.gpu_present else "no NVIDIA"
        return f"{found} driver is not installed (or this system hides it): `nvidia-smi` must work first"
    if probes.built_with is None:
        return "this torch was built without CUDA: install a CUDA build of torch (see pytorch.org)"
    return (
        f"the NVIDIA driver is too old for CUDA {probes.built_with}, which torch was built with, "
        "or CUDA_VISIBLE_DEVICES hides the GPU"
    )


def _nvidia_on_pci() -> bool | None:
    devices = Path("/sys/bus/pci/devices")
    if not devices.is_dir():
        return True if shutil.which("nvidia-smi") else None
    displays = (d for d in devices.iterdir() if (d / "class").read_text().startswith("0x03"))
    return any((d / "vendor").read_text().strip() == "0x10de" for d in displays)


def _nvidia_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


@dataclass(frozen=True)
class Launch:
    """The processes that a launcher such as torchrun has started for one run; this one is `rank`."""

    rank: int
    world_size: int
    per_node: int


def launched() -> Launch | None:
    """What torchrun's environment variables say; None for a process that stands alone."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in names) or os.environ["WORLD_SIZE"] == "1":
        return None
    return Launch(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))


@dataclass(frozen=True)
class Device:
    """The device config as it applies to this machine."""

    accelerator: str  # cpu, gpu or mps: never auto
    count: int  # of all machines, one process each
    precision: str
    deterministic: bool
    name: str
    per_node: int = 1  # of `count`, those of this machine
    launched: bool = False  # whether a launcher has started the processes


def resolve(config: DeviceConfig) -> Device:
    """Raises `UserError` for a device that is not here, or that cannot do what is asked."""
    accelerator = config.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if torch.cuda.is_available() else "mps" if _mps() else "cpu"
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError(f"device: no GPU can be used: {why_no_cuda(probe_cuda())}\ndevice=cpu works here")
    if accelerator == "mps" and not _mps():
        raise UserError("device: no Apple GPU (MPS) can be used on this machine\ndevice=cpu works here")
    if config.precision in ("16-mixed", "16-true") and accelerator == "cpu":
        raise UserError(
            f"device.precision: {config.precision} needs a GPU; on the CPU use bf16-mixed or 32-true"
        )
    launch = launched()
    count = _count(config.devices, accelerator, launch)
    return Device(
        accelerator=accelerator,
        count=launch.world_size if launch else count,
        precision=config.precision,
        deterministic=config.deterministic,
        name=_name(accelerator),
        per_node=count,
        launched=launch is not None,
    )


def _count(asked: int | str, accelerator: str, launch: Launch | None) -> int:
    """How many devices of this machine the run uses."""
    available = torch.cuda.device_count() if accelerator == "gpu" else 1
    if launch and asked not in ("auto", launch.per_node):
        raise UserError(
            f"device.devices={asked}: the launcher has started {launch.per_node} processes on this machine\n"
            "type device=ddp, which takes them as they are"
        )
    if launch is None and asked == "auto" and accelerator == "cpu":
        raise UserError(
            "device.devices=auto: on the CPU it must be said how many processes share the work\n"
            "for example device=ddp device.accelerator=cpu device.devices=2"
        )
    count = launch.per_node if launch else available if asked == "auto" else int(asked)
    if accelerator != "cpu" and count > available:
        raise UserError(f"device.devices: {count} were asked for, {available} are here")
    return count


def _mps() -> bool:
    return torch.backends.mps.is_available()


def _name(accelerator: str) -> str:
    if accelerator == "gpu":
        return torch.cuda.get_device_name()
    return "Apple GPU" if accelerator == "mps" else cpu_name()


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def choose_threads(config: DeviceConfig, forward_flop: float, at_most: int) -> int:
    """One thread for each 64 MFLOP of a training step, but `at_most` so many.

    A rule, not a trial run: the number of threads changes the last bits of a sum, and the same command must
    give the same weights. Threads wait for each other several times a step, and as soon as one other process
    is busy, for a core: docs/training.md has what was measured. `forward_flop` are those of one batch.
    """
    if config.threads != "auto":
        return config.threads
    step_flop = forward_flop * 3  # backward costs about twice forward
    return max(1, min(round(step_flop / FLOP_PER_THREAD), at_most))
