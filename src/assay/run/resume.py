"""Where a run goes on: its newest undamaged checkpoint, read once, and the weights of another."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from assay.config.messages import show
from assay.config.redact import redact
from assay.config.saved import as_plain, read_config, result_differences
from assay.config.schema import TrainConfig
from assay.errors import CannotResume, UserError
from assay.run.folder import BEST, LAST, RunFolder
from assay.run.provenance import versions
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


def is_complete(folder: RunFolder, config: TrainConfig) -> bool:
    """Whether nothing is left to do: the config asks neither for longer training nor for another stage."""
    if folder.status != "completed":
        return False
    stored, trainer = read_config(folder.path), config.trainer
    length = tuple(stored.get("trainer", {}).get(name) for name in ("max_epochs", "max_steps"))
    return length == (trainer.max_epochs, trainer.max_steps) and set(config.stages) <= set(stored["stages"])


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
    metrics = folder.path / "metrics.csv"
    is_all_there_is = not folder.result and metrics.is_file()  # result.json is lost, too
    rows = metrics.read_text(encoding="utf-8", errors="replace").splitlines() if is_all_there_is else []
    was_saved = any(re.match(r"[1-9]\d*,", row) for row in rows)  # at the end of the first epoch
    if folder.result.get("checkpoint") not in (LAST, BEST) and not was_saved:
        return
    best = folder.checkpoints / "best.ckpt"
    again = f"start a new run from its best weights: ckpt={best}" if best.is_file() else "start a new run"
    raise CannotResume(
        f"resume: {folder.last} is gone, and so is the checkpoint before it: what was trained is lost\n"
        f"put them back, or {again}"
    )


def _same_config(written: Mapping[str, Any], config: TrainConfig) -> None:
    """Raises `CannotResume`, with what differs, if someone has changed the run's config.yaml since."""
    drift = result_differences(written, redact(as_plain(config)))
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


def load_weights(module: nn.Module, path: Path) -> None:
    """Raises `UserError` for a damaged or refused file, and where the weights do not fit the module."""
    state = load_checkpoint(path, map_location="cpu")["state_dict"]
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]]
        raise UserError("\n".join([f"ckpt: the weights of {path} do not fit this model", *lines])) from error
