"""Replacing a file whole: written beside its place, synced, renamed over. Needs no torch."""

import os
from pathlib import Path


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Replace the file whole; then it is on the disk, or an OSError was raised and the old one stands."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with scratch.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in the folder last; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
