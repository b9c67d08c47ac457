"""Configs, folders and checkpoints of earlier runs: what `resume=` and `ckpt=` stand for."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from assay.config.describe import show
from assay.config.frame import TrainConfig
from assay.config.judge import judge
from assay.config.secrets import redact
from assay.config.stored import FREE, differences, read_config, stored_config
from assay.errors import CannotResume, UserError
from assay.run.folder import BEST, LAST, RunFolder, versions
from assay.run.identity import plain
from assay.run.signals import slurm_job
from assay.training.checkpoint import (
    copy_checkpoint,
    load_checkpoint,
    load_verified,
    previous,
    restore_previous,
    saved_step,
)
from assay.training.history import History
from assay.training.saving import FORMAT

log = logging.getLogger(__name__)
LENGTH = ("trainer.max_epochs", "trainer.max_steps")
# of no effect on what is left to do, or allowed to change, or warned of where it is noticed
FREE_HERE = ("name", "ckpt", *LENGTH, "device.accelerator", "device.devices", "device.deterministic")


def stored_run(config: TrainConfig, overrides: Sequence[str]) -> tuple[TrainConfig, RunFolder | None]:
    """For `resume`, and for `ckpt` of a run of ours: that run's own config, with what was typed on top."""
    if config.resume is not None:
        folder = resumable(config.resume, Path(config.output_dir))
        folder.check_files()
        stored = judge(TrainConfig, stored_config(folder.path, list(overrides)))
        # what it began with matters until it has a checkpoint of its own
        return replace(stored, resume=None, ckpt=read_config(folder.path).get("ckpt")), folder
    if config.ckpt is not None:
        return started_from(config.ckpt, config, overrides), None
    return config, requeued(config, overrides)


def is_complete(folder: RunFolder, config: TrainConfig) -> bool:
    """Whether nothing is left to do: the config asks neither for longer training nor for another stage."""
    if folder.status != "completed":
        return False
    stored, trainer = read_config(folder.path), config.trainer
    length = tuple(stored.get("trainer", {}).get(name) for name in ("max_epochs", "max_steps"))
    return length == (trainer.max_epochs, trainer.max_steps) and set(config.stages) <= set(stored["stages"])


def started_from(ckpt: str, config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """For a checkpoint in a run folder of ours that run's own config, with what was typed on top."""
    path = checkpoint_file(ckpt)
    origin = path.resolve().parent.parent
    if not (origin / "config.yaml").is_file():
        return config
    return replace(judge(TrainConfig, stored_config(origin, overrides)), ckpt=str(path))


def resumable(resume: str, output_dir: Path) -> RunFolder:
    """The run to go on with: a folder, or the newest unfinished one for `last`. Raises `UserError`."""
    if resume == "last":
        return _newest_unfinished(output_dir / "runs")
    try:
        folder = RunFolder.open(Path(resume))
    except UserError as error:
        raise UserError(f"resume: {error}") from error
    if folder.status == "running":
        holder = folder.result["process"]
        raise UserError(
            f"resume: {resume} is still running (process {holder['pid']} on {holder['host']})\n"
            "stop it first, or wait for its end"
        )
    if folder.status == "diverged":
        why = str(folder.result["error"]).partition("\n")[0]
        raise UserError(
            f"resume: {resume} has diverged, and would again: {why}\n"
            f"start a new run from its last finite weights, more slowly: ckpt={resume} optimizer.lr=..."
        )
    return folder


def _newest_unfinished(runs: Path) -> RunFolder:
    for result in sorted(runs.glob("*/result.json"), reverse=True):
        try:
            folder = RunFolder.open(result.parent)
        except UserError as error:
            log.warning("%s", str(error))
            continue
        if folder.status in ("interrupted", "failed"):
            print(f"resuming {folder.path} ({folder.status})")
            return folder
    raise UserError(f"resume: there is no unfinished run in {runs}")


def requeued(config: TrainConfig, overrides: Sequence[str]) -> RunFolder | None:
    """The run that this very command had begun before SLURM put its job back into the queue."""
    job = slurm_job()
    if job is None or int(os.environ.get("SLURM_RESTART_COUNT", "0")) == 0:
        return None
    for result in sorted((Path(config.output_dir) / "runs").glob("*/result.json"), reverse=True):
        folder = RunFolder.open(result.parent)
        if folder.result.get("slurm_job") == job and folder.result["overrides"] == redact(list(overrides)):
            print(f"resuming {folder.path}: job {job} was put back into the queue")
            return folder if folder.status in ("interrupted", "failed", "completed") else None
    return None


@dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on: the state of its newest undamaged checkpoint, read once."""

    state: dict[str, Any]
    damage: str | None  # of the checkpoint after it
    drift: str | None  # of the releases that it was written by

    @property
    def warnings(self) -> list[str]:
        return [line for line in (self.damage, self.drift) if line]

    def history(self) -> History:
        """What had been measured when it was written."""
        return History.from_state(self.state["callbacks"]["Recorder"])


def resume_point(folder: RunFolder, config: TrainConfig) -> ResumePoint | None:
    """The newest undamaged checkpoint of a run; None where it was stopped before its first one.

    Nothing is written. Raises `CannotResume` where checkpoints are damaged or gone, where the config is not
    the one that they were made with, and where they are of a release that keeps another state.
    """
    last = folder.last
    if not last.exists() and not previous(last).exists():
        _refuse_lost(folder)
        return None
    state, damage = load_verified(last, map_location="cpu")
    metadata = state.get("assay")
    if not isinstance(metadata, Mapping) or metadata.get("format") != FORMAT:
        written = metadata.get("versions", {}).get("assay") if isinstance(metadata, Mapping) else None
        raise CannotResume(
            f"resume: {last} was written by assay {written or '(unknown)'}, which keeps another "
            f"state than assay {versions()['assay']}\n"
            f"its weights can be used: ckpt={last}"
        )
    _same_config(metadata["config"], config)
    written, here = metadata["versions"], versions()
    changed = [
        f"{name} {written[name]} is {here[name]} now"
        for name in ("assay", "torch", "pytorch-lightning", "numpy")
        if name in written and written[name] != here[name]
    ]
    drift = f"the checkpoint is of another release ({', '.join(changed)}): the last bits may differ"
    return ResumePoint(state, damage, drift if changed else None)


def _refuse_lost(folder: RunFolder) -> None:
    """Raises `CannotResume` where the run has had a checkpoint: it must not start over in silence."""
    if folder.result.get("checkpoint") not in (LAST, BEST):
        return
    best = folder.checkpoints / "best.ckpt"
    again = f"start a new run from its best weights: ckpt={best}" if best.is_file() else "start a new run"
    raise CannotResume(
        f"resume: {folder.last} is gone, and so is the checkpoint before it: what was trained is lost\n"
        f"put them back, or {again}"
    )


def _same_config(written: Mapping[str, Any], config: TrainConfig) -> None:
    """Raises `CannotResume`, with what differs, if someone has changed the run's config.yaml since."""
    drift = [
        (key, old, new)
        for key, old, new in differences(dict(written), redact(plain(config)))
        if not any(key == free or key.startswith(f"{free}.") for free in (*FREE, *FREE_HERE))
    ]
    if drift:
        lines = [f"{key}={show(new)}: the checkpoint has {show(old)}" for key, old, new in drift[:8]]
        raise CannotResume(
            "resume: the run's config.yaml has changed since its checkpoint was written\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nput it back, or start a new run from the weights: ckpt= for resume="
        )


def restore_files(last: Path, point: ResumePoint) -> None:
    """Make the files agree with the state that is resumed: `last.ckpt` is it, `best.ckpt` the best it knows.

    A crash between the two saves of an epoch's end leaves the best one behind.
    """
    if point.damage is not None:
        restore_previous(last)
    best, kept = last.with_name("best.ckpt"), point.state["callbacks"]["Recorder"]
    wanted = kept["best"].get("step")
    if wanted is None or saved_step(best) == wanted:
        return
    if point.state["global_step"] == wanted:
        copy_checkpoint(last, best)
    elif saved_step(previous(best)) == wanted:
        restore_previous(best)
    else:
        log.warning(
            "the best checkpoint, of step %d, is lost: until an epoch ends the last stands for it", wanted
        )
        copy_checkpoint(last, best)
        kept["best"] = {}


def checkpoint_file(ckpt: str) -> Path:
    """The checkpoint that a run folder or a file stands for: of a run its best one. Raises `UserError`."""
    path = Path(ckpt)
    if "://" in ckpt:
        raise UserError(f"ckpt: {ckpt} is an address; a checkpoint is loaded from a file here only")
    if path.is_file():
        return path
    for name in ("best.ckpt", "last.ckpt"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    why = "there is no checkpoint in it" if path.is_dir() else "no such file or folder"
    raise UserError(f"ckpt: {ckpt}: {why}\ngive a run folder (outputs/runs/...) or a .ckpt file")


def load_weights(module: nn.Module, path: Path) -> None:
    """Raises `UserError` for a damaged or refused file, and where the weights do not fit the module."""
    state = load_checkpoint(path, map_location="cpu")["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise UserError("\n".join([f"ckpt: the weights of {path} do not fit this model", *lines])) from error
