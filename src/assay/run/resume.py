"""Configs and folders of earlier runs: what `resume=` and `ckpt=` stand for."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.config.messages import show
from assay.config.schema import TrainConfig
from assay.config.judge import judge
from assay.config.redact import redact
from assay.config.stored import FREE, differences, read_config, stored_config
from assay.errors import CannotResume, UserError
from assay.run.folder import RunFolder, versions
from assay.config.load import plain
from assay.run.signals import slurm_job
from assay.run.weights import checkpoint_file
from assay.training.checkpoint import FORMAT
from assay.training.durable import (
    DamagedError,
    copy_checkpoint,
    facts_of,
    load_verified,
    previous,
    restore_previous,
    sidecar,
    verify,
)

log = logging.getLogger(__name__)
FREE_HERE = ("name", "ckpt")  # of no effect on what is left to do


def stored_run(config: TrainConfig, overrides: list[str]) -> tuple[TrainConfig, RunFolder | None]:
    """For `resume`, and for `ckpt` of a run of ours: that run's own config, with what was typed on top."""
    if config.resume is not None:
        folder = resumable(config.resume, Path(config.output_dir))
        stored = judge(TrainConfig, stored_config(folder.path, overrides))
        last = folder.checkpoints / "last.ckpt"
        begun = sidecar(last).exists() or previous(last).exists()
        return replace(stored, resume=None, ckpt=None if begun else _started_from(folder)), folder
    if config.ckpt is not None:
        return started_from(config.ckpt, config, overrides), None
    return config, requeued(config, overrides)


def started_from(ckpt: str, config: TrainConfig, overrides: Sequence[str]) -> TrainConfig:
    """For a checkpoint in a run folder of ours that run's own config, with what was typed on top."""
    path = checkpoint_file(ckpt)
    origin = path.resolve().parent.parent
    if not (origin / "config.yaml").is_file():
        return config
    return replace(judge(TrainConfig, stored_config(origin, overrides)), ckpt=str(path))


def _started_from(folder: RunFolder) -> str | None:
    """The weights that a run began with, which matter until it has a checkpoint of its own."""
    return read_config(folder.path).get("ckpt")


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
        raise UserError(
            f"resume: {resume} has diverged, and would again: {folder.result['error'].splitlines()[0]}\n"
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


def requeued(config: TrainConfig, overrides: list[str]) -> RunFolder | None:
    """The run that this very command had begun before SLURM put its job back into the queue."""
    job = slurm_job()
    if job is None or int(os.environ.get("SLURM_RESTART_COUNT", "0")) == 0:
        return None
    for result in sorted((Path(config.output_dir) / "runs").glob("*/result.json"), reverse=True):
        folder = RunFolder.open(result.parent)
        if folder.result.get("slurm_job") == job and folder.overrides == redact(overrides):
            print(f"resuming {folder.path}: job {job} was put back into the queue")
            return folder if folder.status in ("interrupted", "failed", "completed") else None
    return None


@dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on."""

    state: dict[str, Any]
    warnings: tuple[str, ...]

    @property
    def step(self) -> int:
        return self.state["global_step"]


def resume_point(last: Path, config: TrainConfig) -> ResumePoint | None:
    """The newest undamaged checkpoint of a run; None where it was stopped before its first one.

    Nothing is written. Raises `CannotResume` where checkpoints are damaged one and all, where the config is
    not the one that they were made with, and where they are of a release that keeps another state.
    """
    if not sidecar(last).exists() and not previous(last).exists():
        return None
    state, damage = load_verified(last, map_location="cpu")
    facts = facts_of(last if damage is None else previous(last))
    written, here = facts.get("versions", {}), versions()
    if state.get("assay", {}).get("format") != FORMAT:
        raise CannotResume(
            f"resume: {last} was written by assay {written.get('assay', '(unknown)')}, which keeps another "
            f"state than assay {here['assay']}\n"
            f"its weights can be used: ckpt={last}"
        )
    _same_config(facts, config)
    changed = [
        f"{name} {written[name]} is {here[name]} now"
        for name in ("assay", "torch", "pytorch-lightning", "numpy")
        if name in written and written[name] != here[name]
    ]
    drift = f"the checkpoint is of another release ({', '.join(changed)}): the last bits may differ"
    return ResumePoint(state, tuple(line for line in (damage, drift if changed else None) if line))


def _same_config(facts: dict[str, Any], config: TrainConfig) -> None:
    """Raises `CannotResume`, with what differs, if someone has changed the run's config.yaml since."""
    here = redact(plain(config))  # as it was written
    drift = [
        (key, old, new)
        for key, old, new in differences(facts.get("config", here), here)
        if not any(key == free or key.startswith(f"{free}.") for free in (*FREE, *FREE_HERE))
    ]
    if drift:
        lines = [f"{key}={show(new)}: the checkpoint has {show(old)}" for key, old, new in drift[:8]]
        raise CannotResume(
            "resume: the run's config.yaml has changed since its checkpoint was written\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nput it back, or start a new run from the weights: ckpt= for resume="
        )


def settle(last: Path, state: dict[str, Any]) -> None:
    """Make the files agree with the state that is resumed: `last.ckpt` is it, `best.ckpt` the best it knows.

    A crash between the two saves of an epoch's end leaves the best one behind.
    """
    if _undamaged_step(last) is None:
        restore_previous(last)
    best, wanted = last.with_name("best.ckpt"), state["callbacks"]["Recorder"]["best"].get("step")
    if wanted is None or _undamaged_step(best) == wanted:
        return
    if state["global_step"] == wanted:
        copy_checkpoint(last, best)
    elif _undamaged_step(previous(best)) == wanted:
        restore_previous(best)
    else:
        log.warning("the best checkpoint, of step %d, is lost; the run goes on and may find a better", wanted)


def _undamaged_step(path: Path) -> int | None:
    try:
        verify(path)
        return facts_of(path).get("step")
    except DamagedError:
        return None
