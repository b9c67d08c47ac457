"""Ctrl-C and SIGTERM: the first asks the run to save and stop, the second leaves at once."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from assay.errors import Interrupted


class StopRequest:
    """What a signal does at this moment; `ask` is set while there is something worth saving."""

    def __init__(self) -> None:
        self.ask: Callable[[int], None] | None = None
        self.received: int | None = None

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        first = self.received is None
        self.received = signum
        if self.ask is None or not first:
            raise Interrupted(signum)
        self.ask(signum)


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Handle SIGINT and SIGTERM inside the block; the handlers before it are put back.

    Lightning installs its own SIGTERM handler only where there is none: its exits with status 0.
    """
    request = StopRequest()
    before = {signum: signal.signal(signum, request) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
