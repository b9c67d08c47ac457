"""Files that survive a crash: written beside their place, synced, renamed over. Needs no torch.

A crash at any point leaves the file as it was or as it was to become, never a part of it.
"""

import os
import shutil
from pathlib import Path

from assay.errors import RunFailed


class WriteError(RunFailed, OSError):
    """A file could not be written: which, why, how much it needed and how much its disk has left."""


def write_error(path: Path, error: OSError, needed: int) -> WriteError:
    """The error in words for a person; `needed` in bytes."""
    try:
        free = f"{shutil.disk_usage(path.parent).free:,} are free on its disk"
    except OSError:
        free = "its disk does not say how many it has"
    reason = error.strerror or str(error)
    return WriteError(f"{path} cannot be written: {reason}\n{needed:,} bytes are needed, {free}")


def write_durably(path: Path, content: bytes | memoryview) -> None:
    """Replace the file whole; then it is on the disk, or `WriteError` was raised and the old one stands."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
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
    except OSError as error:
        raise write_error(path, error, len(content)) from error


def sync_folder(folder: Path) -> None:
    """Make renames in the folder last; Windows has no such call and needs none."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def second_name(source: Path, target: Path) -> None:
    """A second name for the same bytes, replacing `target` whole; a copy where there are no links."""
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    scratch.unlink(missing_ok=True)
    try:
        os.link(source, scratch)
    except OSError:
        write_durably(target, source.read_bytes())
    else:
        scratch.replace(target)
        scratch.unlink(missing_ok=True)  # where both names were one file already, the rename does nothing


def remove_strays(folder: Path) -> None:
    """Remove what a process that was killed while writing left beside its target."""
    for stray in folder.glob(".*.tmp"):
        stray.unlink()
