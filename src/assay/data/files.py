"""The original MNIST-style files: checked by SHA-256, extracted once, repaired where possible."""

import gzip
import hashlib
import os
import shutil
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from assay.errors import UserError


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(folder: Path, checksums: Mapping[str, str]) -> dict[str, str]:
    """Of the files in `checksums` (name to SHA-256) those missing or different, each with what is there."""
    found = {
        name: sha256(folder / name) if (folder / name).is_file() else "no such file" for name in checksums
    }
    return {name: what for name, what in found.items() if what != checksums[name]}


def ensure(folder: Path, checksums: Mapping[str, str]) -> None:
    """Leave every file of `checksums` extracted and undamaged in `folder`, from the `.gz` files beside them.

    Processes that start at once wait for one another. Raises `UserError` for what cannot be repaired.
    """
    if not damaged(folder, checksums):
        return
    try:
        with FileLock(folder / ".lock"):
            for name in damaged(folder, checksums):
                _extract(folder / f"{name}.gz", folder / name)
            left = damaged(folder, checksums)
    except OSError as error:
        raise UserError(
            f"data.root: cannot write the extracted files to {folder}: {error.strerror or error}\n"
            "Set data.root to a folder that you may write to, with the .gz files in it."
        ) from error
    for name, what in left.items():
        raise UserError(
            f"data.root: {folder / name} is damaged\nexpected SHA-256 {checksums[name]}\ngot {what}\n"
            f"Delete it and {name}.gz, then get the original {name}.gz again (git checkout, or a download)."
        )


def _extract(packed: Path, target: Path) -> None:
    """Extract beside the target and rename over it: a killed run leaves no half file under the real name."""
    if not packed.is_file():
        return  # `ensure` reports the target as missing
    handle, scratch = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with gzip.open(packed) as source, os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(source, file)
        Path(scratch).chmod(0o644)
        Path(scratch).replace(target)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        target.unlink(missing_ok=True)  # the .gz is damaged: `ensure` reports it
    finally:
        Path(scratch).unlink(missing_ok=True)
