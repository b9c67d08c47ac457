"""One run: validated config in, run folder out."""

import logging
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from assay.config.load import check_components
from assay.config.schema import TrainConfig
from assay.errors import CannotResume, Interrupted, RunFailed, UserError
from assay.run import failures, screen
from assay.run.device import Device, launched, resolve
from assay.run.earlier import checkpoint_file, requeued, resumable
from assay.run.evaluate import class_accuracy, draw_figures, evaluate, write_test_row
from assay.run.fit import FitJob, fit_as_told, fit_here, fit_in_processes, tell_others
from assay.run.folder import BEST, RunFolder, record_failure
from assay.run.parts import Parts, Run, build_parts, check_loggers
from assay.run.preflight import preflight
from assay.run.record import begin_result, ended_result, progress
from assay.run.report import texts, write_report
from assay.run.resume import ResumePoint, is_complete, load_weights, restore_files, resume_point
from assay.run.signals import StopRequest, stop_requests
from assay.terminal import screen as terminal
from assay.terminal import waiting
from assay.training.history import History
from assay.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


def run(config: TrainConfig, overrides: Sequence[str]) -> None:
    """Do what the command line asks.

    Raises `UserError`, before anything is written where that can be known; `RunFailed`; `Interrupted`.
    """
    with stop_requests() as request:
        launch = launched()
        if launch is not None and launch.rank > 0:
            return fit_as_told(launch.rank, request)
        try:
            _run(config, overrides, terminal(), request)
        finally:
            if launch is not None:  # the others wait for a word until there is one
                tell_others(None)


def _run(config: TrainConfig, overrides: Sequence[str], console: Console, request: StopRequest) -> None:
    resume, output_dir = config.resume, Path(config.output_dir)
    folder = resumable(resume, output_dir) if resume else requeued(config, overrides)
    config = replace(config, resume=None)
    if folder is None:
        run_new(config, overrides, console, request)
    elif is_complete(folder, config):
        print(f"{folder.path} is complete: nothing is left to train")
        screen.say_result(console, folder.result)
        screen.say_next(console, folder.path, folder.result, output_dir)
    else:
        run_in(folder, config, overrides, console, request)


def run_new(
    config: TrainConfig,
    overrides: Sequence[str],
    console: Console,
    request: StopRequest,
    threads: int | None = None,
) -> RunFolder:
    """A run in a new folder, which is made when everything is built; raises as `run` does."""
    began, output_dir = time.perf_counter(), Path(config.output_dir)

    def create() -> RunFolder:
        return RunFolder.create(output_dir, config, overrides)

    with _bugs_recorded(create, config, overrides):
        device, parts = _built(config, output_dir, None, threads, None)
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
    cores: int | None = None,
) -> None:
    """A run in a given folder, from its newest checkpoint if it has one; raises as `run` does.

    `cores` is how many it may use at most; one that goes on takes as many threads as it had.
    """
    began = time.perf_counter()
    if not folder.result:
        folder.path.mkdir(parents=True, exist_ok=True)
    with folder.claimed():
        point = resume_point(folder, config) if "fit" in config.stages else None
        threads = (folder.result.get("device") or {}).get("threads")
        with _bugs_recorded(lambda: folder, config, overrides):
            device, parts = _built(config, folder.path, point, threads, cores)
        if point is not None:
            _same_data(folder, parts)
        _execute(Run(config, overrides, folder, device, parts, point, console, request), began)


@contextmanager
def _bugs_recorded(
    folder: Callable[[], RunFolder],
    config: TrainConfig,
    overrides: Sequence[str],
    stopped: str = "stopped before it began: nothing was written",
) -> Generator[None]:
    """A bug before a run has begun leaves its traceback and a result in the folder; a refusal nothing."""
    try:
        yield
    except (UserError, RunFailed):
        raise
    except Interrupted:
        print(stopped, file=sys.stderr)
        raise
    except Exception as error:
        failed = folder()
        with failures.logs_to(failed.log):
            log.error("the run failed before it began", exc_info=error)
        record_failure(failed, config, overrides, "failed", failures.told(error))
        raise RunFailed(failures.explained(error, failed.log)) from error


def _built(
    config: TrainConfig, where: Path, point: ResumePoint | None, threads: int | None, cores: int | None
) -> tuple[Device, Parts]:
    """Device and parts, checked; raises `UserError` before anything is written."""
    check_components(config)
    device = resolve(config.device)
    with failures.explained_out_of_memory(config), waiting("reading the data, building the model"):
        parts = build_parts(config, device, threads=threads, cores=cores)
    if config.ckpt is not None and point is None:
        load_weights(parts.learner, checkpoint_file(config.ckpt))
    elif "fit" not in config.stages and config.ckpt is None:
        raise UserError(
            f"stages=[{','.join(config.stages)}] needs trained weights\n"
            "give ckpt=<run folder or checkpoint>, or put fit first: 'stages=[fit,test]'"
        )
    if point is not None and parts.data.total_steps < point.state["global_step"]:
        raise UserError(
            f"resume: the run has done {point.state['global_step']} steps; trainer.max_epochs and max_steps "
            f"end it after {parts.data.total_steps}\ngive more, or start a new run"
        )
    _check_stages(config, parts)
    check_loggers(config)
    preflight(where, parts, config.trainer.log_every_n_steps)
    return device, parts


def _same_data(folder: RunFolder, parts: Parts) -> None:
    """Raises `CannotResume` if the run was trained on other data than is there now."""
    before = (folder.result.get("data") or {}).get("sha256")
    if (
        before is not None and before != parts.data_sha256
    ):  # None: result.json was lost, or there are no files
        raise CannotResume(
            f"resume: the data are not those that {folder.path} was trained on: {parts.data.source.name} has "
            f"changed since\nput them back, or start a new run from its weights: ckpt= for resume="
        )


def _check_stages(config: TrainConfig, parts: Parts) -> None:
    """Raises `UserError` for what the stages after training will need; what they import, they alone need."""
    if "predict" in config.stages:
        from assay.run import predict

        predict.files_of(config, parts.data.source, parts.learner.task)
    if "export" in config.stages:
        from assay.run import export

        export.check(config)


def _execute(run: Run, began: float) -> None:
    """The stages of a run whose folder is ours; pictures and report when its result is known."""
    folder, point = run.folder, run.point
    with _bugs_recorded(lambda: folder, run.config, run.overrides, "stopped as it began"):
        begin_result(run)
    with failures.logs_to(folder.log), closing(TensorBoard(folder.path)) as view:
        try:
            with ended_result(folder, began), failures.explained_out_of_memory(run.config):
                for warning in point.warnings if point else ():
                    log.warning(warning)
                if point is not None:
                    restore_files(folder.last, point)
                screen.introduce(run)
                history = _stages(run, view)
        except Interrupted:
            print(screen.kept(folder), file=sys.stderr)
            raise
        screen.say_result(run.console, folder.result)
        run.request.ask = lambda _: None  # a first signal lets the pictures of a whole result be finished
        with _views_only():
            draw_figures(run, history, view)
        with _views_only():
            write_report(folder)
        run.request.ask = None
    screen.say_next(run.console, folder.path, folder.result, Path(run.config.output_dir))


@contextmanager
def _views_only() -> Generator[None]:
    """Whatever goes wrong inside costs a warning: the result stands without its pictures."""
    try:
        yield
    except Exception as error:
        log.warning("pictures or report are not complete: %s", failures.describe(error))
        log.info("where that was", exc_info=True)


def _stages(run: Run, view: TensorBoard) -> History:
    folder = run.folder
    history = run.point.history() if run.point else History.of(run.parts.learner.task)
    if "fit" in run.config.stages:
        history = _fit(run, history, view)
        load_weights(run.parts.learner, folder.checkpoints / "best.ckpt")
    else:
        view.log_texts(texts(folder), 0)
    for stage in ("validate", "test"):
        if stage in run.config.stages:
            began = time.perf_counter()
            metrics = evaluate(run, stage)
            if stage == "test" and metrics:
                write_test_row(run, history, metrics, view)
            seconds = folder.result["seconds"] | {stage: time.perf_counter() - began}
            folder.update(metrics=folder.result["metrics"] | metrics, seconds=seconds)
            if stage == "test" and metrics:
                folder.note(class_accuracy=class_accuracy(run))
    if "predict" in run.config.stages:
        from assay.run import predict

        predict.show(run, predict.predict(run))
    if "export" in run.config.stages:
        from assay.run import export

        folder.update(export=export.export(run))
    return history


def _fit(run: Run, history: History, view: TensorBoard) -> History:
    """The fit stage; what has been measured, which `result.json` says whatever happens."""
    began, folder, device = time.perf_counter(), run.folder, run.device
    job = FitJob(run.config, device, folder.path.absolute(), run.parts.threads)
    is_parent = device.count > 1 and not device.launched  # of the processes that do the work
    try:
        if device.launched:
            tell_others(job)
        if is_parent:
            fit_in_processes(job, run.request)
        else:
            fit_here(run, history, view)
    finally:
        if is_parent:  # what they did is in their checkpoint
            reached = resume_point(folder, run.config)
            history = reached.history() if reached else history
        spent = (folder.result["seconds"]["fit"] or 0.0) + time.perf_counter() - began
        folder.note(**progress(history, folder.result["seconds"] | {"fit": spent}))
    folder.update(checkpoint=BEST)
    return history
