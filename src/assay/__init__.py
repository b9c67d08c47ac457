"""Assay: a config-driven experiment framework for PyTorch."""

import atexit
import gc
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

PROJECT = Path(__file__).resolve().parents[2]  # the checkout: an editable install runs from it
CONF = PROJECT / "conf"
# How long a thread of torch's OpenMP (libgomp, on Linux) spins for the next piece of work before it sleeps.
# Its default is right while a process has the cores to itself; two trainings on the same two cores wait for
# each other's spinning instead, and both took sixty times as long. Read when torch is imported, so set here.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# glibc gives the top of its heap back to the system and takes it again, page by page: up to thirty pages a
# step of the default network, a tenth of an epoch, or none, as the heap happens to lie. Once it has freed a
# block as large as this it keeps twice as much (mallopt(3), M_MMAP_THRESHOLD); nothing of it is ever touched.
bytes(31 * 2**20)
# Lightning sets it, and then every step of Adam looks for NVML's library: where there is none, a tenth
# of a millisecond, as long as the rest of the optimizer's work. Without it torch asks CUDA itself.
BY_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"
_by_nvml = os.environ.get(BY_NVML)  # as a person has set it
_codes: list[int] = []  # with which this process is to end


@contextmanager
def imports() -> Generator[None]:
    """Look for no garbage while torch and Lightning are imported, nor ever in what they have made.

    They are half a million objects, which all stay: to look through them takes a fifth of the import's time.
    """
    is_first = "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if is_first:
            gc.freeze()
        gc.enable()
        restore_nvml()


def restore_nvml() -> None:
    """Take back what Lightning has set in `BY_NVML`, not what a person has."""
    if _by_nvml is None:
        os.environ.pop(BY_NVML, None)


def leave(code: int) -> NoReturn:
    """End this process as `sys.exit` does, but take nothing apart: with torch that is a second."""
    _codes.append(code)
    sys.exit(code)


@atexit.register  # before all others, and so called after them
def _end() -> None:
    if _codes:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(_codes[-1])
    gc.unfreeze()  # or some libraries call what is left a leak of theirs, on the screen
