"""The process in which Hydra's launcher runs, a child of the sweep's own.

The sweep itself stays small: no torch, no launcher, nothing that a job can bring down. A job that crashes
beneath Python takes this process with it, never the sweep, which starts another for what is left. The child
leads a process group, so that a Ctrl-C reaches the sweep alone, which passes it on; it ends with the sweep.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess, SpawnProcess
from pathlib import Path

from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict

from assay.sweep.folder import Job, SweepFolder
from assay.sweep.judgement import ended_workers, judged
from assay.sweep.work import Worker

PROCESS = ForkProcess if sys.platform.startswith("linux") else SpawnProcess
GRACE_SECONDS = 10.0  # for the jobs to save what they have when the sweep itself was killed


@dataclass(frozen=True)
class Launch:
    """All that the child needs; it can be pickled, for systems that start processes anew."""

    config: DictConfig  # of the sweep, with the node `hydra`
    context: HydraContext
    hydra: tuple[str, ...]  # the words that steer Hydra


@dataclass(frozen=True)
class Order:
    """Jobs to run: what the launcher calls, and the words of each call."""

    worker: Worker
    words: Sequence[Sequence[str]]


class Child:
    """A child process that judges what needs torch, then runs one order."""

    def __init__(self, launch: Launch, judge: Sequence[Job]) -> None:
        """Start it; with `judge`, it first judges these jobs down to their constructors."""
        self._pipe, theirs = multiprocessing.Pipe()
        self.judged = False
        self.process = PROCESS(target=_live, args=(launch, tuple(judge), theirs, self._pipe), name="launcher")
        sys.stdout.flush()
        self.process.start()
        theirs.close()

    def verdict(self) -> str | None:
        """Waits for the judgement; the problems, or None. Raises `RuntimeError` if the child died over it."""
        self.judged = True
        try:
            return self._pipe.recv()
        except EOFError:
            raise RuntimeError("the launcher's process died before it had judged the jobs") from None

    def run(self, order: Order) -> None:
        self._pipe.send(order)

    def error(self) -> str | None:
        """What the launcher itself raised; call it when the process has ended."""
        try:
            return self._pipe.recv() if self._pipe.poll() else None
        except EOFError:
            return None

    def kill(self) -> None:
        """End the whole group at once."""
        if self.process.pid is None:
            return
        with suppress(ProcessLookupError):  # the group is empty already, or not there yet
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()

    def dismiss(self) -> None:
        """Without an order the child ends."""
        self._pipe.close()
        self.process.join()


def _live(launch: Launch, judge: Sequence[Job], pipe: Connection, parents: Connection) -> None:
    """The child's life."""
    parents.close()  # or the end of the parent would never be felt on `pipe`
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.default_int_handler)
    with ended_workers():
        pipe.send(judged(judge, launch.hydra, launch.config.hydra.launcher))
        try:
            order: Order = pipe.recv()
        except EOFError:
            return
        _obey(launch, order, pipe)


def _obey(launch: Launch, order: Order, pipe: Connection) -> None:
    sweep = SweepFolder(order.worker.folder)
    _into(sweep.path / "log.txt")
    threading.Thread(target=_end_with_parent, args=(sweep, order.worker), daemon=True).start()
    try:
        _launch(launch, order)
    except BaseException as error:
        traceback.print_exc()
        pipe.send(f"{type(error).__name__}: {error}")


def _into(log: Path) -> None:
    """All that this process and its own children say, from Python or beneath it, goes to the log."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)


def _launch(launch: Launch, order: Order) -> None:
    config = launch.config.copy()
    with open_dict(config):
        OmegaConf.update(config, "hydra.sweep.dir", str(order.worker.folder))
        config.hydra.job.name = order.worker.folder.name
    launcher = Plugins.instance().instantiate_launcher(launch.context, order.worker, config)
    for returned in launcher.launch(order.words, initial_job_idx=0):
        _ = returned.return_value  # raises what the worker raised, and a worker that is right raises nothing


def _end_with_parent(sweep: SweepFolder, worker: Worker) -> None:
    """When the sweep is killed its jobs save and stop; they are interrupted, and can go on.

    Jobs in a cluster's queue are left to it. The launcher is not told: joblib's would kill its workers.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    if worker.engine.is_local:
        sweep.stop(worker.session)
        end = time.monotonic() + GRACE_SECONDS
        if sweep.signal_running(worker.jobs, worker.session, signal.SIGTERM):
            while time.monotonic() < end and any(sweep.state(id).status == "running" for id in worker.jobs):
                time.sleep(0.3)
    os.killpg(0, signal.SIGKILL)
