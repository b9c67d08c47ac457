"""What a run may raise on purpose; everything else is a bug and leaves its traceback in `log.txt`."""

import shutil
import signal
import sys
import sysconfig
import textwrap
import traceback
from pathlib import Path

STDLIB = Path(sysconfig.get_path("stdlib"))
# those parts of Assay that call what a person has written
CALLERS = tuple(Path(__file__).parent / name for name in ("config", "run", "sweep", "training"))


class UserError(Exception):
    """The user's config, environment or data is at fault: shown without a traceback, exit code 2.

    The text is one to four lines: what is wrong, the key as typed, the value, what is allowed.
    """


class CannotResume(UserError):
    """What a run has saved cannot be gone on with: it can only begin anew."""


class RunFailed(Exception):
    """The run could not go on for a reason that is known and explained: exit code 1."""

    status = "failed"


class Diverged(RunFailed):
    """The training loss became NaN or infinite."""

    status = "diverged"


class Interrupted(BaseException):
    """A signal asked the run to stop; its argument is the signal's number, the exit code 128 more."""

    @property
    def signum(self) -> int:
        return self.args[0]

    def __str__(self) -> str:
        return f"stopped by {signal.Signals(self.signum).name}"


def own_line(error: BaseException) -> str | None:
    """`file:line` of the innermost frame in code that is no library's nor a part of Assay that calls it."""
    if isinstance(error, SyntaxError) and error.filename:  # of a file that could not become code, so no frame
        return f"{error.filename}:{error.lineno}"
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        file = Path(frame.filename)
        of_others = any(file.is_relative_to(folder) for folder in (STDLIB, *CALLERS))
        if file.is_file() and not of_others and "site-packages" not in file.parts:
            return f"{file}:{frame.lineno}"
    return None


def was_interrupted(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: in the midst of its work, a library may say something else then."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def say(text: str) -> None:
    """On standard error; a terminal breaks it between words, never in one, and goes on further in."""
    lines = text.splitlines()
    if sys.stderr.isatty():
        width = shutil.get_terminal_size().columns
        unbroken = textwrap.TextWrapper(width, break_long_words=False, break_on_hyphens=False)
        for i, line in enumerate(lines):
            unbroken.subsequent_indent = " " * (len(line) - len(line.lstrip()) + 4)
            lines[i] = unbroken.fill(line)
    print("\n".join(lines), file=sys.stderr)
