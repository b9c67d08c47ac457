"""What is said of a bug: the error, the line of the person's own code, where the traceback is."""

import sysconfig
import traceback
from pathlib import Path

import assay

ROOMS = Path(assay.__file__).parent
# libraries, and those rooms of Assay that call what a person has written
OTHERS = (
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    *(ROOMS / name for name in ("config", "run", "sweep", "training")),
)


def describe(error: BaseException) -> str:
    """The error's type and the first line of its text."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def own_line(error: BaseException) -> str | None:
    """`file:line` of the innermost frame in code that is neither a library's nor the framework's."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        if file.is_file() and not any(file.is_relative_to(folder) for folder in OTHERS):
            return f"{file}:{frame.lineno}"
    return None


def explained(error: BaseException, log: Path) -> str:
    """The lines for the screen."""
    line = own_line(error)
    where = [f"  at {line}"] if line else []
    return "\n".join([f"failed: {describe(error)}", *where, f"the traceback is in {log}"])
