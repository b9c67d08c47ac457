"""What of this machine a run may use; needs no torch."""

import os
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Place:
    """The part of the machine that a run among others may have; a run alone may have all of it."""

    threads: int | None = None  # at most so many CPU threads
    is_exact: bool = False  # exactly so many, because another number would change the last bits
    gpu: int | None = None  # the one to use, where one is used


WHOLE = Place()


def usable_cores() -> int:
    """Physical cores that this process may run on."""
    logical = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(logical, psutil.cpu_count(logical=False) or logical))
