"""What is said of a bug: the error, the line of the person's own code, where the traceback is."""

import sysconfig
import traceback
from pathlib import Path

import assay

STDLIB = Path(sysconfig.get_path("stdlib"))
# those parts of Assay that call what a person has written
CALLERS = tuple(Path(assay.__file__).parent / name for name in ("config", "run", "sweep", "training"))


def describe(error: BaseException) -> str:
    """The error's type and the first line of its text."""
    text = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


def own_line(error: BaseException) -> str | None:
    """`file:line` of the innermost frame in code that is neither a library's nor the framework's."""
    if isinstance(error, SyntaxError) and error.filename:  # of a file that could not become code, so no frame
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        of_others = any(file.is_relative_to(folder) for folder in (STDLIB, *CALLERS))
        if file.is_file() and not of_others and "site-packages" not in file.parts:
            return f"{file}:{frame.lineno}"
    return None


def explained(error: BaseException, log: Path) -> str:
    """The lines for the screen."""
    line = own_line(error)
    where = [f"  at {line}"] if line else []
    return "\n".join([f"failed: {describe(error)}", *where, f"the traceback is in {log}"])
