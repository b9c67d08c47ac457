"""Which earlier run `resume` or `ckpt` means. Needs no torch."""

from pathlib import Path

from assay.errors import UserError
from assay.run.folder import RunFolder


def find_earlier(resume: str | None, ckpt: str | None, output_dir: str) -> Path | None:
    """The folder of the run whose config is wanted; None for a checkpoint from elsewhere. Raises `UserError`."""
    if resume is not None:
        return _newest_unfinished(Path(output_dir) / "runs") if resume == "last" else Path(resume)
    if ckpt is None:
        return None
    origin = Path(ckpt) if Path(ckpt).is_dir() else Path(ckpt).resolve().parent.parent
    return origin if (origin / "config.yaml").is_file() else None


def _newest_unfinished(runs: Path) -> Path:
    for result in sorted(runs.glob("*/result.json"), reverse=True):
        try:
            if RunFolder.open(result.parent).status in ("interrupted", "failed"):
                return result.parent
        except UserError:
            continue
    raise UserError(f"resume: there is no unfinished run in {runs}")
