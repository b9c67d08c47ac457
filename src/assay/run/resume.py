"""Configs and folders of earlier runs: what `resume=` and `ckpt=` stand for."""

from dataclasses import replace
from pathlib import Path

from assay.config.frame import TrainConfig
from assay.config.judge import judge
from assay.config.stored import stored_config
from assay.errors import UserError
from assay.run.folder import RunFolder
from assay.run.weights import checkpoint_file


def stored_run(config: TrainConfig, overrides: list[str]) -> tuple[TrainConfig, RunFolder | None]:
    """For `resume`, and for `ckpt` of a run of ours: that run's own config, with what was typed on top."""
    if config.resume is not None:
        folder = resumable(config.resume, Path(config.output_dir))
        stored = judge(TrainConfig, stored_config(folder.path, overrides))
        return replace(stored, resume=None), folder
    if config.ckpt is not None:
        path = checkpoint_file(config.ckpt)
        origin = path.resolve().parent.parent
        if (origin / "config.yaml").is_file():
            stored = judge(TrainConfig, stored_config(origin, overrides))
            return replace(stored, ckpt=str(path)), None
    return config, None


def resumable(resume: str, output_dir: Path) -> RunFolder:
    """The run to go on with: a folder, or the newest unfinished one for `last`. Raises `UserError`."""
    if resume == "last":
        return _newest_unfinished(output_dir / "runs")
    if not (Path(resume) / "result.json").is_file():
        raise UserError(f"resume: {resume} is no run folder: it has no result.json")
    folder = RunFolder.open(Path(resume))
    if folder.status == "running":
        holder = folder.result["process"]
        raise UserError(
            f"resume: {resume} is still running (process {holder['pid']} on {holder['host']})\n"
            "stop it first, or wait for its end"
        )
    return folder


def _newest_unfinished(runs: Path) -> RunFolder:
    for result in sorted(runs.glob("*/result.json"), reverse=True):
        folder = RunFolder.open(result.parent)
        if folder.status in ("interrupted", "failed"):
            print(f"resuming {folder.path}")
            return folder
    raise UserError(f"resume: there is no unfinished run in {runs}")
