"""The fit stage, in this process, in one for each device, or in those that a launcher has started."""

import json
import logging
import os
import signal
import socket
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch.multiprocessing as mp
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.callbacks import LambdaCallback
from rich.console import Console
from torch.distributed.rendezvous import rendezvous
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from assay import leave, restore_nvml
from assay.config.redact import redact
from assay.config.saved import as_plain, config_id
from assay.config.schema import TrainConfig
from assay.config.validate import validate
from assay.errors import Diverged, Interrupted, RunFailed, UserError
from assay.run.device import Device, resolve
from assay.run.failures import explained_out_of_memory, logs_to
from assay.run.folder import RunFolder
from assay.run.parts import Run, build_loggers, build_parts, make_trainer
from assay.run.process import age
from assay.run.provenance import versions
from assay.run.report import texts
from assay.run.resume import resume_point
from assay.run.signals import StopRequest, stop_requests
from assay.training.history import History, Recorder
from assay.training.progress import ProgressLine
from assay.training.saving import Checkpoints, DurableIO
from assay.training.state import follow_new_length
from assay.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)
WORD = "assay/job"  # where rank 0 leaves its word for the others
PATIENCE = 20.0  # seconds that processes have to end after the first of them has


@dataclass(frozen=True)
class FitJob:
    """All that another process needs to fit; plain values, so that it can be sent there."""

    config: TrainConfig
    device: Device
    folder: Path
    threads: int


def fit_here(run: Run, history: History, view: TensorBoard) -> None:
    """Train to the end in this process, from `run.point` if there is one; `history` grows meanwhile.

    Raises `Interrupted` after saving, `Diverged`, or `RunFailed` when the memory does not suffice.
    """
    config, device, folder, parts = run.config.trainer, run.device, run.folder, run.parts
    learner, data = parts.learner, parts.data
    state = run.point.state if run.point else None
    recorder = Recorder(folder.path / "metrics.csv", learner.task, config.log_every_n_steps, history)
    plain = as_plain(run.config)
    metadata = {"config_id": config_id(plain), "config": redact(plain), "versions": versions()}
    save_every = _interval(config.checkpoint_every)
    checkpoints = Checkpoints(folder.last, recorder, save_every, metadata, folder.mark_checkpoint)
    if any(folder.path.glob("events.out.tfevents.*")):  # the points after the checkpoint are of a lost run
        view.purge_step = state["global_step"] + 1 if state else 0
    view.log_texts(texts(folder), state["global_step"] if state else 0)
    if state and state["assay"]["total_steps"] != data.total_steps:
        follow_new_length(state, learner.optimizer, learner.scheduler)
    trainer = make_trainer(
        run,
        devices=device.per_node,
        num_nodes=device.count // device.per_node,
        strategy="auto" if device.count == 1 else "ddp",
        max_epochs=data.max_epochs,
        check_val_every_n_epoch=config.check_val_every_n_epoch,
        limit_val_batches=0 if config.limit_val_batches in (0, 0.0) else 1.0,
        detect_anomaly=config.detect_anomaly,
        profiler=config.profiler,
        # these environments and no other: under SLURM, Lightning would take the job's signals for itself
        plugins=[
            DurableIO(state),
            LightningEnvironment() if device.count == 1 else TorchElasticEnvironment(),
        ],
        logger=[view, *build_loggers(run.config, folder.path)],
        callbacks=[
            recorder,
            *parts.callbacks,
            LambdaCallback(on_train_start=lambda *_: begin(), on_train_epoch_end=recorder.end_epoch),
            ProgressLine(run.console, recorder, data),
            checkpoints,
        ],
    )

    def begin() -> None:
        run.request.take_sigterm()
        folder.note(seconds=folder.result["seconds"] | {"start": age()})

    def ask(signum: int) -> None:
        checkpoints.signum = signum
        learner.stop_requested = True

    run.request.ask = ask
    resumed = str(folder.last) if state else None
    try:
        with explained_out_of_memory(run.config):
            trainer.fit(learner, datamodule=data, ckpt_path=resumed, weights_only=True)
        if learner.stop_requested:  # asked after the last checkpoint
            raise Interrupted(checkpoints.signum or signal.SIGTERM)
    except Diverged as error:
        there = folder.last.exists()
        kept = f"the last finite checkpoint is kept: {folder.last}" if there else "there is no checkpoint yet"
        raise Diverged(f"{error}\n{kept}") from error
    finally:
        run.request.ask = None
        recorder.close()


def _interval(text: str | None) -> tuple[int | None, float | None]:
    """Steps or seconds: `500 steps` or `60 seconds`, as the schema has validated it."""
    if text is None:
        return None, None
    number, unit = text.split()
    return (int(number), None) if unit == "steps" else (None, float(number))


def fit_rank(job: FitJob, rank: int, request: StopRequest) -> None:
    """The part of a fit of several processes that one of them does; all read the same checkpoint."""
    folder = RunFolder.open(job.folder)
    point = resume_point(folder, job.config)
    name = "log.txt" if rank == 0 else f"log-process-{rank}.txt"
    with logs_to(job.folder / name), closing(TensorBoard(job.folder)) as view:
        try:
            parts = build_parts(job.config, job.device, rank, job.threads)
            run = Run(job.config, (), folder, job.device, parts, point, Console(), request)
            fit_here(run, point.history() if point else History.of(parts.learner.task), view)
        except Exception:
            log.exception("process %d failed", rank)
            raise


def fit_in_processes(job: FitJob, request: StopRequest) -> None:
    """One process a device of this machine, each with the same code as a single one.

    The first failure is raised here. A process that is stopped alone stops all: that is `Interrupted`.
    """
    context = mp.get_context("spawn")
    outcomes = context.SimpleQueue()
    arguments = (job, _free_port(), outcomes)
    processes = start_processes(_spawned, arguments, job.device.count, join=False, start_method="spawn")
    assert processes is not None

    def ask(signum: int) -> None:
        for pid in processes.pids():
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGTERM)

    request.ask = ask
    ended: list[BaseException] = []
    give_up = float("inf")
    try:
        while time.monotonic() < give_up and not processes.join(timeout=0.5):
            if not outcomes.empty():
                ended.append(outcomes.get())
                give_up = min(give_up, time.monotonic() + PATIENCE)
    except ProcessExitedException as error:
        if error.exit_code == -signal.SIGTERM:  # before it could handle the signal
            raise Interrupted(signal.SIGTERM) from None
        if outcomes.empty() and not ended:
            raise RunFailed(f"a training process ended without a word: {error}") from error
    finally:
        request.ask = None
        for pid in processes.pids():  # none may outlive the run, also after a second Ctrl-C
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    while not outcomes.empty():
        ended.append(outcomes.get())
    failures = [error for error in ended if not isinstance(error, Interrupted)]
    if failures:
        raise failures[0]
    if ended:
        raise Interrupted(request.received or ended[0].args[0])


def _spawned(rank: int, job: FitJob, port: int, outcomes: Any) -> None:
    """A process of `fit_in_processes`, with the environment that torchrun would give it."""
    count = str(job.device.count)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0", "WORLD_SIZE": count}
    os.environ |= {"LOCAL_WORLD_SIZE": count, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    restore_nvml()  # Lightning was imported before anything of ours ran
    try:
        with stop_requests() as request:
            # a terminal's Ctrl-C reaches all: the parent passes it on
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            fit_rank(job, rank, request)
    except Interrupted as stop:
        outcomes.put(stop)
    except Exception as error:
        outcomes.put(_sendable(error))
        os._exit(1)  # the others wait for this one in a collective call
    leave(0)  # to take torch's threads of communication apart ends, now and then, in an abort


def _sendable(error: Exception) -> Exception:
    """The error as it can be sent to another process; a bug without its traceback, which is in the log."""
    known = isinstance(error, (RunFailed, UserError))
    return type(error)(str(error)) if known else RunFailed(f"{type(error).__name__}: {error}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tell_others(job: FitJob | None) -> None:
    """Rank 0 of a launcher's processes tells the others what to fit, or that there is nothing; once."""
    plain = as_plain(job.config) if job else None
    told = {"config": plain, "folder": str(job.folder), "threads": job.threads} if job else None
    _store().compare_set(WORD, "", json.dumps(told))


def fit_as_told(rank: int, request: StopRequest) -> None:
    """What the launcher's other processes do: wait for rank 0's word, and fit with it.

    Raises `UserError` where the run folder, which rank 0 has made, cannot be seen from here.
    """
    store = _store()
    store.wait([WORD], timedelta(hours=1))
    told = json.loads(store.get(WORD))
    if told is None:
        return
    config, folder = validate(TrainConfig, told["config"])[0], Path(told["folder"])
    if not folder.is_dir():
        raise UserError(f"output_dir: {folder} is not on this machine\nall machines of a run must share it")
    with suppress(Interrupted):  # rank 0 says it, once the record is written
        fit_rank(FitJob(config, resolve(config.device), folder, told["threads"]), rank, request)


@cache
def _store() -> Any:
    """What the launcher's processes share; kept, for rank 0 may be its server."""
    return next(iter(rendezvous("env://")))[0]
