"""One run: validated config in, run folder out."""

import logging
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from assay.config.load import check_components
from assay.config.schema import TrainConfig
from assay.errors import Interrupted, RunFailed, UserError
from assay.run import bugs, screen
from assay.run.device import Device, launched, resolve
from assay.run.earlier import checkpoint_file, requeued, resumable
from assay.run.evaluate import draw_figures, evaluate, write_test_row
from assay.run.fit import FitJob, fit_as_told, fit_here, fit_in_processes, tell_others
from assay.run.folder import BEST, RunFolder, record_failure
from assay.run.logs import logs_to
from assay.run.memory import explained_out_of_memory
from assay.run.parts import Parts, build_parts, check_loggers
from assay.run.place import WHOLE, Place
from assay.run.preflight import preflight
from assay.run.record import begin_result, ended_result, progress
from assay.run.resume import (
    ResumePoint,
    is_complete,
    load_weights,
    restore_files,
    resume_point,
)
from assay.run.signals import StopRequest, stop_requests
from assay.training.history import History
from assay.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """All that the stages of one run work with, once its folder is there."""

    config: TrainConfig
    overrides: Sequence[str]
    folder: RunFolder
    device: Device
    parts: Parts
    point: ResumePoint | None
    console: Console
    request: StopRequest


def run(config: TrainConfig, overrides: Sequence[str]) -> None:
    """Do what the command line asks.

    Raises `UserError`, before anything is written where that can be known; `RunFailed`; `Interrupted`.
    """
    with stop_requests() as request:
        launch = launched()
        if launch is not None and launch.rank > 0:
            return fit_as_told(launch.rank, request)
        with _others_told(launch is not None):
            resume, output_dir = config.resume, Path(config.output_dir)
            folder = resumable(resume, output_dir) if resume else requeued(config, overrides)
            config = replace(config, resume=None)
            if folder is None:
                run_new(config, overrides, Console(), request)
            elif is_complete(folder, config):
                print(f"{folder.path} is complete: nothing is left to train")
                screen.conclude(Console(), folder.path, folder.result, Path(config.output_dir))
            else:
                run_in(folder, config, overrides, Console(), request, WHOLE)


def run_new(
    config: TrainConfig,
    overrides: Sequence[str],
    console: Console,
    request: StopRequest,
    place: Place = WHOLE,
) -> RunFolder:
    """A run in a new folder, which is made when everything is built; raises as `run` does."""
    began, output_dir = time.perf_counter(), Path(config.output_dir)

    def create() -> RunFolder:
        return RunFolder.create(output_dir, config, overrides)

    with _bugs_recorded(create, config, overrides):
        device, parts = _built(config, place, output_dir, None)
    folder = create()
    with folder.claimed():
        _execute(Run(config, overrides, folder, device, parts, None, console, request), began)
    return folder


def run_in(
    folder: RunFolder,
    config: TrainConfig,
    overrides: Sequence[str],
    console: Console,
    request: StopRequest,
    place: Place,
) -> None:
    """A run in a given folder, from its newest checkpoint if it has one; raises as `run` does."""
    began = time.perf_counter()
    if not folder.result:
        folder.path.mkdir(parents=True, exist_ok=True)
    with folder.claimed():
        point = resume_point(folder, config) if "fit" in config.stages else None
        threads = (folder.result.get("device") or {}).get("threads")
        if isinstance(threads, int):  # another number would change the last bits
            place = replace(place, threads=threads, is_exact=True)
        with _bugs_recorded(lambda: folder, config, overrides):
            device, parts = _built(config, place, folder.path, point)
        _execute(Run(config, overrides, folder, device, parts, point, console, request), began)


@contextmanager
def _bugs_recorded(
    folder: Callable[[], RunFolder], config: TrainConfig, overrides: Sequence[str]
) -> Generator[None]:
    """A bug before a run has begun leaves its traceback and a result in the folder; a refusal nothing."""
    try:
        yield
    except (UserError, RunFailed):
        raise
    except Exception as error:
        failed = folder()
        with logs_to(failed.log):
            log.error("the run failed before it began", exc_info=error)
        record_failure(failed, config, overrides, "failed", bugs.describe(error))
        raise RunFailed(bugs.explained(error, failed.log)) from error


def _built(config: TrainConfig, place: Place, where: Path, point: ResumePoint | None) -> tuple[Device, Parts]:
    """Device and parts, checked; raises `UserError` before anything is written."""
    check_components(config)
    device = resolve(config.device, place)
    with explained_out_of_memory(config):
        parts = build_parts(config, device, place=place)
    if config.ckpt is not None and point is None:
        load_weights(parts.classifier, checkpoint_file(config.ckpt))
    elif "fit" not in config.stages and config.ckpt is None:
        raise UserError(
            f"stages=[{','.join(config.stages)}] needs trained weights\n"
            "give ckpt=<run folder or checkpoint>, or put fit first: 'stages=[fit,test]'"
        )
    if point is not None and parts.total_steps < point.state["global_step"]:
        raise UserError(
            f"resume: the run has done {point.state['global_step']} steps; trainer.max_epochs and max_steps "
            f"end it after {parts.total_steps}\ngive more, or start a new run"
        )
    check_loggers(config)
    preflight(where, parts, config.trainer.log_every_n_steps)
    return device, parts


def _execute(run: Run, began: float) -> None:
    """The stages of a run whose folder is ours."""
    folder, point = run.folder, run.point
    begin_result(folder, run.config, run.overrides, run.device, run.parts, point)
    try:
        with logs_to(folder.log), ended_result(folder, began), closing(TensorBoard(folder.path)) as view:
            for warning in point.warnings if point else ():
                log.warning(warning)
            if point is not None:
                restore_files(folder.last, point)
            history = point.history() if point else History()
            screen.introduce(run.console, folder.path, run.device, run.parts, run.config.seed)
            with explained_out_of_memory(run.config):
                _stages(run, history, view)
    except Interrupted:
        print(f"interrupted; to go on: {screen.resume_command(folder.path)}", file=sys.stderr)
        raise
    screen.conclude(run.console, folder.path, folder.result, Path(run.config.output_dir))


def _stages(run: Run, history: History, view: TensorBoard) -> None:
    config, folder, parts = run.config, run.folder, run.parts
    if "fit" in config.stages:
        history = _fit(run, history, view)
        load_weights(parts.classifier, folder.checkpoints / "best.ckpt")
    for stage in ("validate", "test"):
        if stage in config.stages:
            began = time.perf_counter()
            metrics = evaluate(stage, config, run.device, parts, folder.path)
            if stage == "test" and metrics:
                write_test_row(folder.path, history, metrics, view)
            seconds = folder.result["seconds"] | {stage: time.perf_counter() - began}
            folder.update(metrics=folder.result["metrics"] | metrics, seconds=seconds)
    draw_figures(folder.path, history, parts, view)


def _fit(run: Run, history: History, view: TensorBoard) -> History:
    """The fit stage; what has been measured, which `result.json` says whatever happens."""
    began, folder, device = time.perf_counter(), run.folder, run.device
    job = FitJob(run.config, device, folder.path.absolute())
    is_parent = device.count > 1 and not device.launched  # of the processes that do the work
    state = run.point.state if run.point else None
    try:
        if device.launched:
            tell_others(job)
        if is_parent:
            fit_in_processes(job, run.request)
        else:
            mine = run.parts, run.console, run.request, view
            fit_here(job, *mine, history, state, folder.mark_checkpoint)
    finally:
        if is_parent:  # what they did is in their checkpoint
            reached = resume_point(folder, run.config)
            history = reached.history() if reached else history
        spent = (folder.result["seconds"]["fit"] or 0.0) + time.perf_counter() - began
        folder.note(**progress(history, folder.result["seconds"] | {"fit": spent}))
    folder.update(checkpoint=BEST)
    return history


@contextmanager
def _others_told(is_launched: bool) -> Generator[None]:
    """A launcher's other processes, which wait for rank 0's word until it fits, are not left waiting."""
    try:
        yield
    finally:
        if is_launched:
            tell_others(None)
