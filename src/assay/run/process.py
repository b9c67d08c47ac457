"""Which process holds a run, and whether it still does; which cores this one may use. Needs no torch.

A pid alone is soon given to another process, and the wall clock may be set back: a process is known by the
boot of its machine, its pid namespace, its pid, and the moment it started as the kernel counts it.
"""

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

PROC = Path("/proc")


def this_process() -> dict[str, Any]:
    """What names this process among all there ever were; plain data, to be kept in a file."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "system": _system(),
        "started": _started(os.getpid()),
        "created": psutil.Process().create_time(),
    }


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether a process that `this_process` once described still runs; None where this cannot be known here.

    That is so for a process of another machine or container, and after a reboot.
    """
    if process.get("system", _system()) != _system() or process["host"] != socket.gethostname():
        return None
    try:
        found = psutil.Process(process["pid"])
        if found.status() == psutil.STATUS_ZOMBIE:
            return False  # ended, and its parent has not asked yet
        if process.get("started") is not None:
            return _started(process["pid"]) == process["started"]
        return abs(found.create_time() - process["created"]) < 1.0
    except psutil.NoSuchProcess:
        return False


def _system() -> str | None:
    """This boot of this machine and this pid namespace; None where the system does not tell."""
    boot = PROC / "sys/kernel/random/boot_id"
    if not boot.exists():
        return None
    return f"{boot.read_text().strip()} {os.readlink(PROC / 'self/ns/pid')}"  # noqa: PTH115 (no file, a name)


def _started(pid: int) -> int | None:
    """When a process started, in clock ticks since the boot; None where the system does not tell."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except FileNotFoundError:
        return None
    return int(text.rpartition(")")[2].split()[19])  # field 22 of proc(5); the name before may hold anything


def age() -> float:
    """Seconds since this process was started, to the tick where the system counts them."""
    started = _started(os.getpid())
    if started is None:
        return time.time() - psutil.Process().create_time()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")


def usable_cores() -> int:
    """Physical cores that this process may run on."""
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(logical, psutil.cpu_count(logical=False) or logical))
