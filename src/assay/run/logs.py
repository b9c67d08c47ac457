"""Where messages go: all of them into the run's `log.txt`, our own warnings to the screen as well."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final

CHATTY = ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "lightning.fabric")


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
    """Inside the block, log records and Python warnings are appended to the file."""
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
