"""Out of memory: what was asked, the most that was used, and what to try."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

import psutil
import torch

from assay.config.schema import TrainConfig
from assay.errors import RunFailed

CPU_MESSAGES = ("can't allocate memory", "not enough memory")  # of torch's allocator, a plain RuntimeError


@contextmanager
def explained_out_of_memory(config: TrainConfig) -> Generator[None]:
    """Turn an allocation that failed inside the block into a `RunFailed` in words."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        on_gpu = isinstance(error, torch.OutOfMemoryError)
        size, width = config.data.get("batch_size", 1), config.model.get("width")
        peak = peak_bytes(on_gpu) / 2**30
        smaller = f"model.width={max(1, width // 2)}" if isinstance(width, int) else "a smaller model"
        raise RunFailed(
            f"out of memory with data.batch_size={size} "
            f"(peak {peak:.2f} GiB {'on the GPU' if on_gpu else 'of this process'})\n"
            f"try data.batch_size={max(1, size // 2)}, or {smaller}"
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error) for text in CPU_MESSAGES
    )


def peak_bytes(on_gpu: bool) -> int:
    """The most memory used so far: of the GPU since the run began, of this process since it was started."""
    if on_gpu and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
