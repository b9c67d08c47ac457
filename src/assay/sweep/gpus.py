"""One free GPU for each local job: a queue of lock files that all sweeps of a user on this machine share."""

import getpass
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pynvml
from filelock import FileLock, Timeout

POLL_SECONDS = 0.2


def visible_gpus() -> list[str]:
    """The NVIDIA GPUs this process may use, by the names that tell them apart, in torch's order."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [name.strip() for name in allowed.split(",") if name.strip() not in ("", "-1")]
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, no GPU
        return []
    count = pynvml.nvmlDeviceGetCount()
    pynvml.nvmlShutdown()
    return [str(index) for index in range(count)]


def _lock_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"assay-gpus-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@contextmanager
def one_gpu(names: list[str], jobs_per_gpu: int) -> Generator[int | None]:
    """Waits for a GPU with room for one more job; its index among `names`, None where there is no GPU."""
    if not names:
        yield None
        return
    with ExitStack() as held:
        while (index := _take(names, jobs_per_gpu, held)) is None:
            time.sleep(POLL_SECONDS)
        yield index


def _take(names: list[str], jobs_per_gpu: int, held: ExitStack) -> int | None:
    """The emptiest GPU first: all first places are tried before any second one."""
    for place in range(jobs_per_gpu):
        for index, name in enumerate(names):
            lock = FileLock(_lock_folder() / f"{name}-{place}.lock", is_singleton=False)
            try:
                held.enter_context(lock.acquire(timeout=0))
            except Timeout:
                continue
            return index
    return None
