"""Signals: the first asks the run to save and stop, a second Ctrl-C or SIGTERM leaves at once.

A cluster announces the end of a job's time by SIGUSR1 or SIGUSR2: the run saves, then the job is put back
into the queue, by submitit where submitit started it, by `scontrol requeue` under SLURM without it.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from assay.errors import Interrupted

STOP = (signal.SIGINT, signal.SIGTERM)
REQUEUE = tuple(getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name))


class StopRequest:
    """What a signal does at this moment; `ask` is set while there is something worth saving."""

    def __init__(self) -> None:
        self.ask: Callable[[int], None] | None = None
        self.received: int | None = None
        self.requeue: int | None = None  # the signal that asked for it
        self.installed = False
        self._process = os.getpid()

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a loader's worker: Ctrl-C reaches all, and the process that started it decides
        announced, first = self.requeue is not None, self.received is None
        if signum in REQUEUE:
            self.requeue = signum
        if announced and signum == signal.SIGTERM:
            return  # SLURM sends it along with the announcement: it is not a second wish
        self.received = signum if first else self.received
        if self.ask is None or (not first and signum not in REQUEUE):
            raise Interrupted(signum)
        if first:
            self.ask(signum)

    def take_sigterm(self) -> None:
        """Put this back in the place of Lightning's SIGTERM handler, which ends a run with status 0.

        Among several processes it would even wait for the others, in the middle of what they do together.
        """
        if self.installed:
            signal.signal(signal.SIGTERM, self)


@contextmanager
def stop_requests() -> Generator[StopRequest]:
    """Handle the signals inside the block; the handlers before it are put back.

    After a run that was stopped by a cluster's announcement, the job is put back into the queue here.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request  # Python lets only the main thread handle signals
        return
    handlers: dict[int, Any] = {signum: signal.getsignal(signum) for signum in (*STOP, *REQUEUE)}
    taken = [*STOP, *(signum for signum in REQUEUE if _announces(handlers[signum]))]
    for signum in taken:
        signal.signal(signum, request)
    request.installed = True
    try:
        yield request
    finally:
        request.installed = False
        for signum in taken:
            signal.signal(signum, handlers[signum])
        if request.requeue is not None and request.received is not None:
            _requeue(request.requeue, handlers[request.requeue])


def slurm_job() -> str | None:
    """The id of the SLURM job that this process is part of; one task of an array has its own."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")
    return job if re.fullmatch(r"\d+(_\d+)?", job) else None


def _announces(handler: Any) -> bool:
    """Whether the signal means the end of the job's time: another's handler, or SLURM's default."""
    return callable(handler) or (handler is signal.SIG_DFL and slurm_job() is not None)


def _requeue(signum: int, handler: Any) -> None:
    """By the handler that was there before, submitit's, which ends the process; else by SLURM's command."""
    if callable(handler):
        handler(signum, None)
        return
    command = ["scontrol", "requeue", slurm_job() or ""]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", None) or error
        print(f"the job could not be put back into the queue: {' '.join(command)}: {reason}", file=sys.stderr)
    else:
        print(f"put back into the queue: {' '.join(command)}", file=sys.stderr)
