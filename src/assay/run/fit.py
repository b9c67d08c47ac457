"""The fit stage, in this process or in one for each device."""

import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.multiprocessing as mp
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import LambdaCallback
from rich.console import Console
from torch.multiprocessing.spawn import ProcessExitedException, start_processes

from assay.config.schema import TrainConfig
from assay.errors import Diverged, Interrupted, RunFailed, UserError
from assay.run.device import Device
from assay.run.logs import logs_to
from assay.run.memory import explained_out_of_memory
from assay.run.parts import Parts, build_callbacks, build_loggers, build_parts, make_trainer
from assay.run.resume import resume_point, settle
from assay.run.signals import StopRequest, stop_requests
from assay.training.checkpoint import Checkpoints, DurableIO
from assay.training.durable import facts_of, load_verified, previous, sidecar
from assay.training.progress import ProgressLine
from assay.training.record import History, Recorder
from assay.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FitJob:
    """All that a process needs to fit; plain values, so that it can be sent to another process."""

    config: TrainConfig
    device: Device
    folder: Path
    facts: dict[str, Any]  # for the sidecars of checkpoints

    @property
    def last(self) -> Path:
        return self.folder / "checkpoints" / "last.ckpt"


def fit(job: FitJob, parts: Parts, console: Console, request: StopRequest, view: TensorBoard) -> History:
    """Train to the end, from `last.ckpt` if there is one; on the number of devices that the job says.

    Raises `Interrupted` after saving, `Diverged`, or `RunFailed` when the memory does not suffice.
    """
    point = resume_point(job.last, job.config)
    if point is not None:
        settle(job.last, point.state)
    if job.device.count == 1:
        return fit_here(job, parts, console, request, view)
    _fit_in_processes(job, request)
    history = saved_history(job.last)
    assert history is not None
    return history


def saved_history(checkpoint: Path) -> History | None:
    """What had been measured when the newest undamaged checkpoint was written; None where there is none."""
    if not (checkpoint.exists() or previous(checkpoint).exists()):
        return None
    try:
        state, _ = load_verified(checkpoint, map_location="cpu")
    except UserError as error:
        log.warning("%s", error)
        return None
    return History.from_state(state["callbacks"]["Recorder"])


def fit_here(job: FitJob, parts: Parts, console: Console, request: StopRequest, view: TensorBoard) -> History:
    config, trainer_config = job.config, job.config.trainer
    recorder = Recorder(job.folder / "metrics.csv", trainer_config.log_every_n_steps)
    steps, seconds = _every(trainer_config.checkpoint_every)
    checkpoints = Checkpoints(job.last.parent, recorder, steps, seconds)
    started = sidecar(job.last).exists()
    if any(job.folder.glob("events.out.tfevents.*")):  # the points after the checkpoint are of a lost run
        view.purge_step = facts_of(job.last)["step"] + 1 if started else 0
    trainer = make_trainer(
        config,
        job.device,
        job.folder,
        devices=job.device.all,
        strategy="auto" if job.device.count == 1 else "ddp",
        max_epochs=parts.max_epochs,
        check_val_every_n_epoch=trainer_config.check_val_every_n_epoch,
        limit_val_batches=0 if trainer_config.limit_val_batches in (0, 0.0) else 1.0,
        detect_anomaly=trainer_config.detect_anomaly,
        profiler=trainer_config.profiler,
        # this environment and no other: under SLURM, Lightning would take the job's signals for itself
        plugins=[DurableIO(job.facts), LightningEnvironment()],
        logger=[view, *build_loggers(config, job.folder)],
        callbacks=[
            recorder,
            ProgressLine(console, recorder, parts.total_steps, parts.max_epochs),
            *build_callbacks(config),
            LambdaCallback(on_train_start=lambda *_: request.take_sigterm()),
            checkpoints,
        ],
    )

    def ask(signum: int) -> None:
        checkpoints.signum = signum
        parts.classifier.stop_requested = True

    request.ask = ask
    try:
        with explained_out_of_memory(config), kept_last(job.last):
            trainer.fit(
                parts.classifier,
                datamodule=parts.data,
                ckpt_path=str(job.last) if started else None,
                weights_only=True,
            )
        if parts.classifier.stop_requested:  # asked after the last checkpoint
            raise Interrupted(checkpoints.signum or signal.SIGTERM)
    finally:
        request.ask = None
        recorder.close()
    return recorder.history


def _every(text: str | None) -> tuple[int | None, float | None]:
    """`500 steps` or `60 seconds`, as the schema has judged it."""
    if text is None:
        return None, None
    number, unit = text.split()
    return (int(number), None) if unit == "steps" else (None, float(number))


@contextmanager
def kept_last(last: Path) -> Generator[None]:
    """Say of a run that diverges inside the block which finite checkpoint is left."""
    try:
        yield
    except Diverged as error:
        left = (
            f"the last finite checkpoint is kept: {last}" if last.exists() else "there is no checkpoint yet"
        )
        raise Diverged(f"{error}\n{left}") from error


def _fit_in_processes(job: FitJob, request: StopRequest) -> None:
    """One process a device, each with the same code as a single one; the first failure is raised here."""
    context = mp.get_context("spawn")
    outcomes = context.SimpleQueue()
    processes = start_processes(
        _fit_rank, (job, _free_port(), outcomes), job.device.count, join=False, start_method="spawn"
    )
    assert processes is not None

    def ask(signum: int) -> None:
        for pid in processes.pids():
            os.kill(pid, signal.SIGTERM)

    request.ask = ask
    try:
        while not processes.join(timeout=1.0):
            pass
    except ProcessExitedException as error:
        if not outcomes.empty():
            raise outcomes.get() from None
        raise RunFailed(f"a training process ended without a word: {error}") from error
    finally:
        request.ask = None
        for pid in processes.pids():  # none may outlive the run, also after a second Ctrl-C
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if request.received is not None:
        raise Interrupted(request.received)


def _fit_rank(rank: int, job: FitJob, port: int, outcomes: Any) -> None:
    os.environ |= {
        "LOCAL_RANK": str(rank),  # so that Lightning takes the processes as started
        "NODE_RANK": "0",
        "WORLD_SIZE": str(job.device.count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    name = "log.txt" if rank == 0 else f"log-process-{rank}.txt"
    with stop_requests() as request, logs_to(job.folder / name):
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a terminal's Ctrl-C reaches all: the parent passes it on
        view = TensorBoard(job.folder)
        try:
            fit_here(job, build_parts(job.config, job.device, rank), Console(), request, view)
        except Interrupted:
            return
        except Exception as error:
            log.exception("process %d failed", rank)
            outcomes.put(_sendable(error))
            os._exit(1)  # the others wait for this one in a collective call
        finally:
            view.close()


def _sendable(error: Exception) -> Exception:
    """The error without what cannot be sent to another process."""
    return (
        type(error)(*error.args)
        if isinstance(error, RunFailed)
        else RunFailed(f"{type(error).__name__}: {error}")
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
