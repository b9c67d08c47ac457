"""Which earlier run is meant: by `resume`, by `ckpt`, or by a cluster that starts the same command again.

Needs no torch.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from assay.config.redact import redact
from assay.config.saved import LAST
from assay.config.schema import TrainConfig
from assay.errors import UserError
from assay.run.folder import RunFolder
from assay.run.signals import slurm_job


def find_earlier(resume: str | None, ckpt: str | None, output_dir: str) -> Path | None:
    """The folder of the run whose config is wanted; None for a checkpoint from elsewhere."""
    if resume is not None:
        folder = resumable(resume, Path(output_dir))
        folder.check_files()
        return folder.path
    if ckpt is None:
        return None
    if ckpt == LAST:
        return _newest_trained(Path(output_dir) / "runs")
    origin = checkpoint_file(ckpt).resolve().parent.parent
    return origin if (origin / "config.yaml").exists() else None


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
    raise UserError(f"ckpt: {ckpt}: {why}\n  give the folder of a run that was trained, or a .ckpt file")


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
            print(error, file=sys.stderr)
            continue
        if folder.status in ("interrupted", "failed"):
            print(f"resuming {folder.path} ({folder.status})")
            return folder
    raise UserError(f"resume: there is no unfinished run in {runs}")


def _newest_trained(runs: Path) -> Path:
    trained = sorted(runs.glob("*/checkpoints/best.ckpt"))
    if not trained:
        raise UserError(f"ckpt: there is no trained run in {runs}")
    return trained[-1].parent.parent


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
