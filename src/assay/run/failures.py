"""What is kept and said of a failure: the log, the line of one's own code, what to do about memory.

torch is imported where it is used: a sweep, which does without, says what became of its jobs.
"""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

import psutil

from assay.config.schema import TrainConfig
from assay.errors import RunFailed, own_line

CHATTY = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric")
CPU_MESSAGES = ("can't allocate memory", "not enough memory")  # of torch's allocator, a plain RuntimeError


@final
class _LogFile(logging.FileHandler):
    """A disk that is full costs the log one line on the screen, not a traceback for each record."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.failed:
            self.failed = True
            print(f"{self.baseFilename} cannot be written: {error}", file=sys.stderr)

    def close(self) -> None:
        with suppress(OSError):  # it flushes once more what has been reported above
            super().close()


@contextmanager
def logs_to(path: Path) -> Generator[None]:
    """Inside the block, log records and Python warnings go to the file, our own to the screen too."""
    for name in CHATTY:  # they print tips and device tables to the screen by themselves
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    file = _LogFile(path, encoding="utf-8")
    file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    screen = logging.StreamHandler(sys.stderr)
    screen.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    screen.setLevel(logging.WARNING)
    screen.addFilter(lambda record: record.name.startswith("assay.") and not record.exc_info)
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    root.addHandler(file)
    root.addHandler(screen)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.removeHandler(screen)
        root.removeHandler(file)
        root.setLevel(level)
        file.close()


def describe(error: BaseException) -> str:
    """The error's type and the first line of its text."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def told(error: BaseException) -> str:
    """What, what was noted of it, and where in code of a person's own, a line each."""
    line = own_line(error)
    return "\n  ".join([describe(error), *getattr(error, "__notes__", []), *([f"at {line}"] if line else [])])


def explained(error: BaseException, log: Path) -> str:
    """The lines for the screen, with the place of the traceback."""
    return f"failed: {told(error)}\nthe traceback is in {log}"


@contextmanager
def explained_out_of_memory(config: TrainConfig) -> Generator[None]:
    """Turn an allocation that failed inside the block into a `RunFailed` in words."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        import torch

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
    import torch

    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        text in str(error) for text in CPU_MESSAGES
    )


def peak_bytes(on_gpu: bool) -> int:
    """The most memory used so far: of the GPU since the run began, of this process since it was started."""
    import torch

    if on_gpu and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
