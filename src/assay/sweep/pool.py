"""The processes of this machine: one a job, and one for each look that needs torch or matplotlib.

They are forked from a server that has torch and Lightning imported (started anew on macOS). What an engine
must be able to do is here too: this machine's pool is one, `clusters.py` has the others.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import cache
from multiprocessing import forkserver, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Protocol, final

from rich.console import Console

from assay.config.components import LIBRARIES, component_keys
from assay.config.explain import value_at
from assay.config.messages import Problem
from assay.config.saved import as_plain
from assay.config.schema import TrainConfig
from assay.errors import RunFailed, UserError
from assay.run.process import this_process, usable_cores
from assay.run.signals import STOP, StopRequest
from assay.sweep.job import Direction, Entry, Job, Ranking, SweepFolder
from assay.sweep.plan import Plan
from assay.sweep.worker import Task, in_process, run_job, validate

PRELOAD = ["assay.sweep.preload"]
OURS = ("assay.", *LIBRARIES)
NODES = "ASSAY_COMPONENTS"  # tells the server of the processes what components a job has
START_METHOD = "forkserver" if sys.platform.startswith("linux") else "spawn"
COMPONENTS = ("data", "model", "task", "optimizer", "scheduler", "logger", "callbacks")


@dataclass(frozen=True)
class Handle:
    """A job that an engine was given."""

    ended: Callable[[], str | None]  # None while it waits or runs; then how it died, empty if by itself
    stop: Callable[[int], None]  # ask it, by a signal, to save and end
    kill: Callable[[], None]


@dataclass(frozen=True)
class Engine:
    """What runs jobs."""

    name: str
    at_once: int  # jobs that it is given at a time
    threads: int | None  # CPU threads of a job at most; None where a job has its machine for itself
    start: Callable[[Sequence[Task]], Sequence[Handle]]
    gpus: tuple[str, ...] = ()  # UUIDs of those that a job chooses one from
    elsewhere: bool = False  # whether jobs run on nodes that may have other files than this machine
    overlaps: bool = False  # whether a job may begin while the one before it draws its pictures


class Source(Protocol):
    """Where the jobs of a sweep come from; what their folders say comes in by their ids."""

    @property
    def jobs(self) -> Sequence[Job]:
        """Those that are known by now, in order."""
        ...

    @property
    def is_over(self) -> bool:
        """Whether no further job will come."""
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know before."""
        ...

    @property
    def outcome(self) -> Sequence[str]:
        """What a person should know after, and no job's folder says."""
        ...

    def begun(self, by: Ranking) -> AbstractContextManager[None]:
        """Inside it jobs may be asked for; raises `UserError`."""
        ...

    def more(self, entries: Mapping[str, Entry]) -> Sequence[Job]:
        """Further jobs, now that there is room for one; none where all are known."""
        ...

    def look(self, entries: Mapping[str, Entry]) -> Mapping[str, str]:
        """Why jobs are to be stopped that are to be, by id."""
        ...


@final
@dataclass(frozen=True)
class Grid:
    """Jobs that are all known from the start."""

    jobs: Sequence[Job]
    is_over: bool = True
    notes: Sequence[str] = ()
    outcome: Sequence[str] = ()

    def begun(self, by: Ranking) -> AbstractContextManager[None]:
        return nullcontext()

    def more(self, entries: Mapping[str, Entry]) -> Sequence[Job]:
        return ()

    def look(self, entries: Mapping[str, Entry]) -> Mapping[str, str]:
        return {}


@dataclass(frozen=True)
class Sweep:
    """All that one command's part of a sweep works with."""

    plan: Plan
    source: Source
    folder: SweepFolder
    engine: Engine
    request: StopRequest
    console: Console
    by: Ranking

    def say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, soft_wrap=True)


def start_server(config: TrainConfig) -> None:
    """Start what the processes are forked from; it reads the data of a job, which all jobs then share.

    Code of a person's own is not run in it: it might be changed while the sweep goes on.
    """
    if START_METHOD != "forkserver":
        return
    plain = as_plain(config)
    nodes = {key: value_at(plain, key) for key in component_keys(plain)}
    os.environ[NODES] = json.dumps({key: node for key, node in nodes.items() if node and _is_ours(node)})
    try:
        _await_server()
    finally:
        del os.environ[NODES]


def _is_ours(node: Any) -> bool:
    """Whether it names no code of a person's own."""
    if isinstance(node, Mapping):
        target: Any = node.get("_target_", OURS[0])
        return str(target).startswith(OURS) and all(map(_is_ours, node.values()))
    return all(map(_is_ours, node)) if isinstance(node, list) else True


def process(log: Path | None, function: Callable[..., None], *args: Any) -> BaseProcess:
    """Start a process of the pool; SIGINT and SIGTERM wait in it until the function unblocks them."""
    context: Any = multiprocessing.get_context(START_METHOD)
    resource_tracker.ensure_running()  # started later, it would unblock the signals too early
    if START_METHOD == "forkserver":
        _await_server()
    started = context.Process(target=in_process, args=(log, this_process(), function, *args))
    try:
        with _signals_wait():
            started.start()
    except BaseException:
        if started.pid is not None:
            kill(started)
        raise
    return started


@cache
def _await_server() -> None:
    """Return when the server has imported and read all that it is to; a signal is answered meanwhile."""
    context: Any = multiprocessing.get_context(START_METHOD)
    context.set_forkserver_preload(PRELOAD)
    resource_tracker.ensure_running()
    with _signals_wait():  # as they do in all that it forks
        forkserver.ensure_running()
    first = context.Process(target=int)
    first.start()
    first.join()


@contextmanager
def _signals_wait() -> Generator[None]:
    """SIGINT and SIGTERM that come inside are raised at the end, and wait in processes started inside."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)


def kill(started: BaseProcess) -> None:
    """With all that it started."""
    for send in (os.killpg, os.kill):  # in its first moment it leads no group yet
        with suppress(ProcessLookupError):
            send(started.pid or 0, signal.SIGKILL)
    started.join()


def start_here(tasks: Sequence[Task]) -> list[Handle]:
    return [_handle(process(task.folder / "log.txt", run_job, task)) for task in tasks]


def _handle(started: BaseProcess) -> Handle:
    def ended() -> str | None:
        code = started.exitcode
        if code is None or code == 0:
            return None if code is None else ""
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def stop(signum: int) -> None:
        if started.is_alive() and started.pid is not None:
            os.kill(started.pid, signum)

    return Handle(ended, stop, lambda: kill(started))


def local_engine(plan: Plan) -> Engine:
    """This machine, for a sweep of so many jobs in all.

    The share of a job follows from the command alone, not from what is left to do: a sweep that is finished
    later gives each of its jobs the threads that it would have had at once.
    """
    sweep, devices = plan.config, [job.config.device for job in plan.jobs]
    # who asks for several GPUs gets all of them
    shares = any(one.devices == 1 and one.accelerator in ("auto", "gpu") for one in devices)
    here = () if all(one.accelerator == "cpu" for one in devices) else visible_gpus()
    gpus = here if shares else ()
    automatic = len(gpus) * sweep.jobs_per_gpu or usable_cores()
    workers = min(automatic if sweep.workers == "auto" else sweep.workers, plan.count)
    threads = None if workers == 1 else max(1, usable_cores() // workers)
    # a GPU's memory is not free before the process has ended, unless jobs wait for their turn on it
    overlaps = START_METHOD == "forkserver" and (bool(gpus) or not here)
    return Engine("on this machine", workers, threads, start_here, gpus, overlaps=overlaps)


def visible_gpus() -> tuple[str, ...]:
    """The UUIDs of the NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES allows."""
    try:
        import pynvml  # left out where there can be no NVIDIA GPU, as on macOS
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, no GPU
        return ()
    handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
    uuids = [str(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles]
    pynvml.nvmlShutdown()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(uuids)).split(",")
    return tuple(uuid for name in allowed if (uuid := _uuid_of(name.strip(), uuids)))


def _uuid_of(name: str, uuids: Sequence[str]) -> str | None:
    """The GPU that CUDA takes a name for: a number, a UUID or the beginning of one, a part of a GPU."""
    if name.isdigit():
        return uuids[int(name)] if int(name) < len(uuids) else None
    if name.startswith("MIG-"):
        return name
    return next((uuid for uuid in uuids if name and uuid.startswith(name)), None)


def validated(jobs: Sequence[Job], with_files: bool) -> tuple[list[list[Problem]], dict[str, Direction]]:
    """Of each job what is wrong with its components, and with the files of its data; what its task measures.

    Jobs whose components are alike are looked at once.
    """
    keys = [json.dumps([getattr(job.config, name) for name in COMPONENTS]) for job in jobs]
    distinct = {key: job.config for key, job in zip(keys, jobs, strict=True)}
    ours, theirs = multiprocessing.Pipe(duplex=False)
    started = process(None, validate, list(distinct.values()), with_files, theirs)
    theirs.close()
    try:
        answer = ours.recv()
    except EOFError:
        started.join()
        raise RuntimeError(f"the process that validates died, exit code {started.exitcode}") from None
    except BaseException:  # Ctrl-C above all
        kill(started)
        raise
    if isinstance(answer, (RunFailed, UserError)):
        raise answer
    problems, directions = answer
    of_key = dict(zip(distinct, problems, strict=True))
    return [of_key[key] for key in keys], directions
