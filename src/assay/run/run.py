"""One run: judged config in, run folder out."""

import logging
import sys
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from assay.config.schema import TrainConfig
from assay.config.redact import redact
from assay.errors import Interrupted, RunFailed, UserError
from assay.run import screen
from assay.run.device import Device, resolve
from assay.run.evaluate import draw_figures, evaluate
from assay.run.fit import FitJob, fit, saved_history
from assay.run.folder import RunFolder, provenance, versions
from assay.config.load import config_id, plain
from assay.run.logs import logs_to
from assay.run.memory import explained_out_of_memory, give_back_memory
from assay.run.parts import Parts, build_parts, check_loggers
from assay.run.place import WHOLE, Place
from assay.run.preflight import preflight
from assay.run.resume import resume_point, stored_run
from assay.run.signals import StopRequest, stop_requests
from assay.run.weights import checkpoint_file, load_weights
from assay.training.atomic import WriteError
from assay.training.durable import DamagedError, facts_of
from assay.training.record import History
from assay.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """All that the stages of one run work with, once its folder is there."""

    config: TrainConfig
    overrides: list[str]
    folder: RunFolder
    device: Device
    parts: Parts
    start: Path | None  # the checkpoint that `ckpt` names
    console: Console
    request: StopRequest


def main(config: TrainConfig, overrides: list[str]) -> int:
    """Do what the command line asks; returns the exit code of the contract."""
    with stop_requests() as request:
        try:
            config, folder = stored_run(config, overrides)
            if folder is not None and folder.status == "completed":
                return _show_completed(folder, Path(config.output_dir))
            return execute(config, overrides, Console(), request, folder)
        except (UserError, RunFailed) as error:
            print(error, file=sys.stderr)
            return 2 if isinstance(error, UserError) else 1
        except Interrupted as stop:
            return 128 + stop.signum


def _show_completed(folder: RunFolder, output_dir: Path) -> int:
    console = Console()
    console.print(f"{folder.path} is complete: nothing is left to train", highlight=False, soft_wrap=True)
    screen.conclude(console, folder.path, folder.result, output_dir)
    return 0


def execute(
    config: TrainConfig,
    overrides: list[str],
    console: Console,
    request: StopRequest,
    folder: RunFolder | None = None,
    place: Place = WHOLE,
) -> int:
    """One run from start to end, in `folder` or a new one. Raises `UserError` before anything is written."""
    began = time.perf_counter()
    device = resolve(config.device, place)
    if folder is not None and "device" in folder.result:  # another number would change the last bits
        place = replace(place, threads=folder.result["device"]["threads"])
    with explained_out_of_memory(config):
        parts = build_parts(config, device, place=place)
    start = _start_weights(config, parts)
    check_loggers(config)
    where = folder.path if folder is not None else Path(config.output_dir)
    preflight(where, parts, config.trainer.log_every_n_steps)
    if folder is None:
        folder = RunFolder.create(Path(config.output_dir), config.name)
    run = Run(config, overrides, folder, device, parts, start, console, request)
    with folder.claimed():
        code = _run(run, began)
    if code:
        del parts, run
        give_back_memory()
    return code


def _run(run: Run, began: float) -> int:
    """The stages of a run whose folder is ours, and its exit code."""
    config, folder = run.config, run.folder
    point = resume_point(folder.checkpoints / "last.ckpt", config) if "fit" in config.stages else None
    try:
        _open_books(run)
        with (
            logs_to(folder.path / "log.txt"),
            _status(folder, began),
            closing(TensorBoard(folder.path)) as view,
        ):
            for warning in point.warnings if point else ():
                log.warning(warning)
            screen.introduce(run.console, folder.path, run.device, run.parts, config.seed)
            with explained_out_of_memory(config):
                _stages(run, view)
    except (RunFailed, UserError) as error:
        status = error.status if isinstance(error, RunFailed) else "failed"
        print(f"{status}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except Interrupted as stop:
        print(f"interrupted; to go on: {screen.resume_command(folder.path)}", file=sys.stderr)
        return 128 + stop.signum
    except Exception as error:
        print(
            f"failed: {type(error).__name__}: {error}\nthe traceback is in {folder.path / 'log.txt'}",
            file=sys.stderr,
        )
        return 1
    screen.conclude(run.console, folder.path, folder.result, Path(config.output_dir))
    return 0


def _stages(run: Run, view: TensorBoard) -> None:
    config, folder, device, parts = run.config, run.folder, run.device, run.parts
    start, history = run.start, History()
    if "fit" in config.stages:
        began = time.perf_counter()
        facts = {
            "config_id": folder.result["config_id"],
            "config": redact(plain(config)),
            "versions": versions(),
        }
        try:
            history = fit(FitJob(config, device, folder.path, facts), parts, run.console, run.request, view)
        except BaseException:
            reached = saved_history(folder.checkpoints / "last.ckpt")
            if reached is not None and reached.last:
                folder.result |= _progress(folder, reached)
            raise
        finally:
            before = folder.result["seconds"]["fit"] or 0.0
            folder.result["seconds"] |= {"fit": before + time.perf_counter() - began}
        start = folder.checkpoints / "best.ckpt"
        folder.update(**_progress(folder, history), checkpoint="checkpoints/best.ckpt")
    assert start is not None
    for split in ("validate", "test"):
        if split in config.stages:
            began = time.perf_counter()
            evaluate(split, config, folder, device, parts, start, history, view)
            folder.result["seconds"] |= {split: time.perf_counter() - began}
    draw_figures(folder, parts, view)


def _start_weights(config: TrainConfig, parts: Parts) -> Path | None:
    """Load what `ckpt` names, if anything. Raises `UserError`, also where no stage gives weights to test."""
    if config.ckpt is not None:
        path = checkpoint_file(config.ckpt)
        load_weights(parts.classifier, path)
        return path
    if "fit" not in config.stages:
        raise UserError(
            f"stages=[{','.join(config.stages)}] needs trained weights\n"
            "give ckpt=<run folder or checkpoint>, or put fit first: 'stages=[fit,test]'"
        )
    return None


def _progress(folder: RunFolder, history: History) -> dict[str, Any]:
    """What `result.json` says of a fit, be it done or not."""
    best = {name: value for name, value in history.best.items() if "/" in name}
    seconds = sum(history.epoch_seconds)
    return {
        "metrics": best,
        "last": {name: value for name, value in history.last.items() if "/" in name},
        "best": {name: int(history.best[name]) for name in ("epoch", "step")},
        "epochs": int(history.last["epoch"]),
        "steps": int(history.last["step"]),
        "seconds": folder.result["seconds"] | {"epochs": history.epoch_seconds},
        "samples_per_second": history.samples / seconds if seconds else None,
    }


def _open_books(run: Run) -> None:
    """Write config and a first `result.json`; a resumed run keeps what it has, and its history."""
    config, folder, device, source = run.config, run.folder, run.device, run.parts.data.source
    if not (folder.path / "config.yaml").exists():
        folder.write_config(plain(config), run.overrides)
    before = folder.result.get("seconds", {})
    fitted = max(before.get("fit") or 0.0, _seconds_saved(folder.checkpoints / "last.ckpt"))
    folder.update(
        status="running",
        error=None,
        metrics={},
        epochs=0,
        steps=0,
        seconds={
            "total": max(before.get("total", 0.0), fitted),
            "fit": fitted,
            "test": None,
            "epochs": [],
        },
        samples_per_second=None,
        seed=config.seed,
        overrides=folder.overrides,
        resumed=folder.result.get("resumed", -1) + 1,
        config_id=folder.result.get("config_id", config_id(config)),
        device={
            "name": device.name,
            "accelerator": device.accelerator,
            "count": device.count,
            "threads": run.parts.threads,
            "precision": device.precision,
        },
        data={"name": source.name, "sha256": run.parts.data_sha256},
        checkpoint=config.ckpt,
        **provenance(),
    )


def _seconds_saved(last: Path) -> float:
    """How long had been trained when the newest checkpoint was written; a killed run cannot say more."""
    try:
        return float(facts_of(last).get("seconds", 0.0))
    except DamagedError:
        return 0.0


@contextmanager
def _status(folder: RunFolder, began: float) -> Generator[None]:
    """Whatever happens inside, `result.json` says it; a bug leaves its traceback in `log.txt`."""

    def close(status: str, error: str | None = None) -> None:
        folder.result["seconds"]["total"] += time.perf_counter() - began
        try:
            folder.update(status=status, error=error)
        except WriteError as unwritten:
            if status == "completed":
                raise
            log.error("%s: it goes on saying `running`, and the next command sees that it is not", unwritten)

    try:
        yield
    except Interrupted as stop:
        close("interrupted", str(stop))
        raise
    except RunFailed as error:
        log.error("%s", error)
        close(error.status, str(error))
        raise
    except UserError as error:
        close("failed", str(error))
        raise
    except BaseException as error:
        log.exception("the run failed")
        close("failed", f"{type(error).__name__}: {error}")
        raise
    close("completed")
