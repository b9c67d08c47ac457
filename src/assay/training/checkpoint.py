"""A checkpoint on disk: one file that proves itself.

The last bytes of `<name>.ckpt` are the SHA-256 of all before them, as the comment of torch's ZIP archive, so
that `torch.load` reads the file as any other. It is written beside its place, synced and renamed, so the name
always stands for a whole checkpoint; the one before it is kept as `<name>.previous.ckpt`. torch.load checks
neither length nor CRC-32 of what it reads, and Lightning's own saving stages in $TMPDIR without a sync.
"""

import hashlib
import io
import logging
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from assay.errors import CannotResume, UserError
from assay.training.atomic import remove_strays, second_name, sync_folder, write_durably, write_error

log = logging.getLogger(__name__)
MARK = b"assay sha256 "  # before the digest, 64 hex digits


class DamagedError(Exception):
    """A checkpoint file that is missing, cannot be read, or is not as it was written."""


def previous(path: Path) -> Path:
    """Where the checkpoint before this one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Replace the checkpoint whole; the one before stays as `previous`.

    Raises `WriteError`; then the newest undamaged checkpoint is the one before. A run folder that was moved
    away is not made again.
    """
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    content = _signed(buffer.getvalue())
    try:
        path.parent.mkdir(exist_ok=True)
        remove_strays(path.parent)
    except OSError as error:
        raise write_error(path, error, len(content)) from error
    _keep_previous(path)
    write_durably(path, content)


def copy_checkpoint(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, as durably as it was saved; raises `WriteError`."""
    _keep_previous(target)
    _link(source, target)


def restore_previous(path: Path) -> None:
    """Put the kept checkpoint in the place of a damaged one; raises `WriteError`."""
    _link(previous(path), path)


def _keep_previous(path: Path) -> None:
    if path.exists():
        _link(path, previous(path))


def _link(source: Path, target: Path) -> None:
    try:
        second_name(source, target)
        sync_folder(target.parent)
    except OSError as error:
        raise write_error(target, error, source.stat().st_size) from error


def _signed(archive: bytes) -> bytes:
    """The ZIP archive with its digest as comment; the comment's length, 0 before, stands in front of it."""
    length = struct.pack("<H", len(MARK) + 64)
    body = b"".join([archive[:-2], length, MARK])
    return body + hashlib.sha256(body).hexdigest().encode()


def _undamaged(path: Path) -> bytes:
    """The bytes of a checkpoint of ours, as they were written. Raises `DamagedError`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path} cannot be read: {error.strerror or error}") from error
    body, digest = content[:-64], content[-64:]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedError(
            f"{path} is damaged: its {len(content):,} bytes do not have the SHA-256 they end with"
        )
    return content


def load_verified(path: Path, map_location: Any = None) -> tuple[dict[str, Any], str | None]:
    """The newest undamaged checkpoint of `path` and the one kept before it, and a line on what was wrong.

    Raises `CannotResume` where neither is whole, and `UserError` where the file holds anything but plain
    data: it is never loaded in an unsafe way.
    """
    try:
        return _plain_data(path, _undamaged(path), map_location), None
    except DamagedError as damage:
        reason = str(damage)
    try:
        content = _undamaged(previous(path))
    except DamagedError as damage:
        raise CannotResume(f"checkpoint: {reason}\nand {damage}\nno undamaged checkpoint is left") from damage
    return _plain_data(path, content, map_location), f"{reason}; using {previous(path).name} instead"


def load_checkpoint(path: Path, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint of ours, checked by its digest, or one from elsewhere that has none.

    Raises `UserError` as `load_verified` does; a fallback to the previous checkpoint is logged as a warning.
    """
    if path.is_file() and not previous(path).exists():
        content = _read_foreign(path)
        if content[-64 - len(MARK) : -64] != MARK:
            return _plain_data(path, content, map_location)
    checkpoint, warning = load_verified(path, map_location)
    if warning is not None:
        log.warning(warning)
    return checkpoint


def saved_step(path: Path) -> int | None:
    """The optimizer step of an undamaged checkpoint; None where there is none."""
    try:
        step = _plain_data(path, _undamaged(path), "cpu").get("global_step")
    except DamagedError:
        return None
    return step if isinstance(step, int) else None


def _read_foreign(path: Path) -> bytes:
    """A file without our digest: the CRC-32 of its records can be checked, which torch does not do."""
    try:
        content = path.read_bytes()
        broken = None
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                broken = archive.testzip()
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise UserError(f"checkpoint: {path} cannot be read: {error}") from error
    if broken is not None:
        raise UserError(f"checkpoint: {path} is damaged: the CRC-32 of {broken} in it is wrong")
    return content


def _plain_data(path: Path, content: bytes, map_location: Any) -> dict[str, Any]:
    try:
        loaded = torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError and others, for a bad file
        raise UserError(
            f"checkpoint: {path} was refused: it is not a checkpoint of plain data ({_reason(error)})\n"
            "A checkpoint may hold tensors, numbers and text only: anything else could run code when loaded."
        ) from error
    weights = loaded.get("state_dict") if isinstance(loaded, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(one, Tensor) for one in weights.values()):
        raise UserError(f"checkpoint: {path} was refused: it holds no `state_dict` of tensors")
    suspicious = {"_instantiator", "_class_path"} & set(_all_keys(loaded))
    if suspicious:
        raise UserError(
            f"checkpoint: {path} was refused: it names code to run ({', '.join(sorted(suspicious))})"
        )
    return loaded


def _reason(error: Exception) -> str:
    """What torch says, without its advice on how to load the file all the same."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return f"it names {named[1]}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:200]}" if lines else type(error).__name__


def _all_keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _all_keys(inner)
