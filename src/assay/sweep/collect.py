"""From folders on disk to the entries of a leaderboard; needs no torch."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from assay.errors import UserError
from assay.run.folder import RunFolder
from assay.config.load import digest
from assay.sweep.folder import SweepFolder
from assay.sweep.leaderboard import Entry

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def entries_of(folders: Sequence[Path]) -> list[Entry]:
    """All jobs of these sweep folders, or runs of these folders of runs. Raises `UserError` for any other."""
    once = {folder.resolve(): folder for folder in folders}  # a folder named twice would count twice
    found = [entry for folder in once.values() for entry in _entries(folder)]
    if not found:
        raise UserError("leaderboard: there is no job in it yet")
    return found


def _entries(folder: Path) -> Iterator[Entry]:
    sweep = SweepFolder(folder)
    if manifest := sweep.manifest:
        for job in manifest["jobs"]:
            path, state = sweep.job(job["id"]), sweep.state(job["id"])
            yield Entry(
                *(job["id"], job["group"], folder.name, str(path), tuple(job["words"])),
                *(state.status, state.error, state.result, read_config(path)),
            )
        return
    results = (
        [folder / "result.json"]
        if (folder / "result.json").is_file()
        else sorted(folder.glob("*/result.json"))
    )
    if not results:
        raise UserError(
            f"leaderboard={folder}: no sweep folder: it has no sweep.json, and no run is in it\n"
            "  the sweeps are in outputs/sweeps/"
        )
    for path in results:
        run = RunFolder.open(path.parent)
        words = tuple(word for word in run.result["overrides"] if not word.startswith("sweep"))
        config = read_config(run.path)
        yield Entry(
            *(run.path.name, digest(config, without_seed=True), folder.name, str(run.path), words),
            *(run.status, run.result.get("error"), run.result, config),
        )


def read_config(folder: Path) -> dict[str, Any]:
    """`config.yaml` as plain data; empty where the job has not begun, or the file is damaged."""
    try:
        found = yaml.load((folder / "config.yaml").read_bytes(), Loader)
    except (FileNotFoundError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}
