"""What a run may raise on purpose; everything else is a bug and leaves its traceback in `log.txt`."""


class UserError(Exception):
    """The user's config, environment or data is at fault: shown without a traceback, exit code 2.

    The text is one to four lines: what is wrong, the key as typed, the value, what is allowed.
    """


class RunFailed(Exception):
    """The run could not go on for a reason that is known and explained: exit code 1."""

    status = "failed"


class Diverged(RunFailed):
    """The training loss became NaN or infinite."""

    status = "diverged"


class Interrupted(BaseException):
    """A signal asked the run to stop; the state was saved. `signum` gives the exit code 128 + signum."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum
