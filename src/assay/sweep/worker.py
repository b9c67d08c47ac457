"""What runs in a job's process, whoever started it: the pool, submitit or Ray.

Whatever happens is written to the job's folder, where the sweep looks.
"""

import getpass
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from assay import imports
from assay.config.components import build
from assay.config.load import trial_problems
from assay.config.messages import Problem
from assay.config.saved import as_plain
from assay.config.schema import TrainConfig
from assay.errors import CannotResume, Interrupted, RunFailed, UserError, own_line
from assay.run.failures import describe, told
from assay.run.folder import RunFolder, record_failure
from assay.run.process import is_alive
from assay.run.signals import STOP, StopRequest, stop_requests
from assay.sweep.job import Direction, Job, opened

GRACE_SECONDS = 6.0  # for a job to save what it has when the sweep itself was killed
LOOK_SECONDS = 0.5
GPU_SECONDS = 0.1  # between two looks for a free one: the job that has it may be about to end
KEPT = (".lock", "log.txt")  # of a job that begins anew


@dataclass(frozen=True)
class Task:
    """All that a job's process is told: plain data of about a kilobyte."""

    folder: Path
    job: Job
    threads: int | None  # CPU threads at most; None where the job has its machine for itself
    gpus: tuple[str, ...]  # UUIDs of those to choose one from; none where something else chooses
    again: bool  # it had failed before this command, and is to begin anew
    env: Mapping[str, str]
    argv: tuple[str, ...]  # what was typed, for the record


def in_process(
    log: Path | None, sweep: Mapping[str, Any] | None, function: Callable[..., None], *args: Any
) -> None:
    """The whole life of a process that works for a sweep, and ends with the sweep's process if there is one.

    What it and those beneath it say, from Python or below, goes to the log: the screen is the sweep's.
    """
    if sweep is not None:
        _end_with(sweep)
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
    function(*args)


def _end_with(sweep: Mapping[str, Any]) -> None:
    """Lead a process group, and end with the sweep's process: its jobs save and stop, and can go on."""
    os.setpgid(0, 0)

    def watch() -> None:
        while is_alive(sweep) is not False:
            time.sleep(LOOK_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def run_job(task: Task) -> None:
    """Run the job, unless another process has it or has run it meanwhile. It raises for no failed job.

    SIGINT and SIGTERM that the process was started with blocked are unblocked where they are handled.
    """
    task.folder.mkdir(parents=True, exist_ok=True)
    folder = opened(task.folder)
    os.environ.update(task.env)
    sys.argv = list(task.argv)
    with stop_requests() as request:  # on leaving it, a job that SLURM pre-empts is queued again
        try:
            with folder.claimed():
                _run_claimed(folder, task, request)
        except UserError:
            if not folder.is_locked():
                raise


def _run_claimed(folder: RunFolder, task: Task, request: StopRequest) -> None:
    folder.result = opened(task.folder).result  # as it is now that nobody else writes it
    before = dict(folder.result)
    has_failed = before.get("status") in ("failed", "diverged")
    if before.get("status") in ("completed", "pruned") or (has_failed and not task.again):
        return
    if has_failed or not (task.folder / "config.yaml").is_file():
        _empty(task.folder)
        folder.result, before = {}, {}
    config, overrides = task.job.config, task.job.overrides
    with ExitStack() as stack:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)  # one that waited is raised here
            if task.gpus:
                gpu = stack.enter_context(one_gpu(task.gpus, config.sweep.jobs_per_gpu))
                os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            with imports():
                from assay.run.run import run_in  # torch and Lightning, in the process that needs them

            console = Console(file=sys.stdout, width=110)
            run_in(folder, config, overrides, console, request, task.threads)
        except BaseException as error:
            _record(task, before, error)


def _empty(folder: Path) -> None:
    """Remove all that an attempt that failed has left but its log."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in KEPT:
            path.unlink()


def _record(task: Task, before: Mapping[str, Any], error: BaseException) -> None:
    """Write what the run itself has not: it raised before its folder was in use, or was told to stop.

    A job that was to go on and cannot for a reason outside of it stays interrupted: what it has saved waits.
    """
    folder = opened(task.folder)
    if folder.result != before and folder.result.get("status") != "running":
        return
    stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
    if not stopped:
        traceback.print_exception(error)
    waits = before.get("status") in ("interrupted", "running") and not isinstance(error, CannotResume)
    is_explained = isinstance(error, (Interrupted, RunFailed, UserError))
    reason = str(error) if is_explained else told(error)
    status = "interrupted" if stopped or waits else "failed"
    record_failure(folder, task.job.config, task.job.overrides, status, reason)


@contextmanager
def one_gpu(uuids: Sequence[str], jobs_per_gpu: int) -> Generator[str]:
    """Wait for a GPU with room for one more job: a queue that all sweeps of a user on a machine share."""
    locks = Path(tempfile.gettempdir()) / f"assay-gpus-{getpass.getuser()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    # the emptiest first: all GPUs are tried for a first job before any for a second
    rooms = [(uuid, FileLock(locks / f"{uuid}-{n}.lock")) for n in range(jobs_per_gpu) for uuid in uuids]
    while True:
        for uuid, lock in rooms:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield uuid
            finally:
                lock.release()
            return
        time.sleep(GPU_SECONDS)


def validate(configs: Sequence[TrainConfig], with_files: bool, answer: Any) -> None:
    """Send the problems of each config's components, or those of its data's files: both need torch.

    And what the task of the first measures, with the end that is best; or else the `RunFailed` of a bug.
    """
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP)
    try:
        answer.send(_validated(configs, with_files))
    except UserError as error:
        answer.send(UserError(str(error)))
    except Exception as error:  # a bug in code of a person's own, which all jobs would meet
        if own_line(error) is None:
            traceback.print_exc()
        answer.send(RunFailed(f"failed: {told(error)}\nno job was started"))


def _validated(
    configs: Sequence[TrainConfig], with_files: bool
) -> tuple[list[list[Problem]], dict[str, Direction]]:
    problems = [trial_problems(as_plain(config)) for config in configs]
    if any(problems):
        return problems, {}
    if with_files:
        keys = [json.dumps(config.data) for config in configs]
        distinct = dict(zip(keys, configs, strict=True))  # files are read once, whatever else differs
        of_data = {key: _file_problems(config) for key, config in distinct.items()}
        problems = [of_data[key] for key in keys]
    from assay.run.forward import check_directions  # torch

    task = build(configs[0].task, "task")
    check_directions(task)
    return problems, dict(task.directions)


def _file_problems(config: TrainConfig) -> list[Problem]:
    try:
        build(config.data, "data", seed=config.seed).prepare()
    except UserError as error:
        first, *notes = str(error).splitlines()
        return [Problem("data", first, tuple(note.strip() for note in notes))]
    except Exception as error:  # a bug of the data set's own: each job leaves its traceback in its log
        print(f"data: {describe(error)}", file=sys.stderr)
    return []
