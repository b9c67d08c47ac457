"""Files that survive a crash: written beside their place, synced, renamed over, the one before kept.

A checkpoint counts from the moment its sidecar is renamed: `<name>.ckpt.json` holds the SHA-256 and size of
`<name>.ckpt`. A crash at any point leaves either the new pair or the previous one whole. torch.load checks
neither length nor CRC-32 of what it reads, and Lightning's own saving stages in $TMPDIR without a sync.
"""

import hashlib
import io
import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from assay.errors import UserError
from assay.training.atomic import sync_folder, write_durably

log = logging.getLogger(__name__)


class DamagedError(Exception):
    """A checkpoint file that is missing, cut short or changed since it was written."""


def sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> None:
    """Write the checkpoint and its sidecar (`facts`, SHA-256, size); the pair before stays as `.previous`."""
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    content = buffer.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    for stray in path.parent.glob(".*.tmp"):
        stray.unlink()  # left by a run that was killed while saving
    if path.exists() and sidecar(path).exists():
        _link(path, previous(path))
        _link(sidecar(path), sidecar(previous(path)))
    described = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **facts}
    write_durably(path, content)
    write_durably(sidecar(path), json.dumps(described, indent=2).encode())


def copy_checkpoint(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, as durably as it was saved."""
    if target.exists() and sidecar(target).exists():
        _link(target, previous(target))
        _link(sidecar(target), sidecar(previous(target)))
    _link(source, target)
    _link(sidecar(source), sidecar(target))
    sync_folder(target.parent)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes, replacing `target` whole; a copy where there are no links."""
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    scratch.unlink(missing_ok=True)
    try:
        os.link(source, scratch)
    except OSError:
        shutil.copyfile(source, scratch)
    scratch.replace(target)


def verify(path: Path) -> bytes:
    """The bytes of a checkpoint that are the ones that were written. Raises `DamagedError`."""
    if not path.is_file():
        raise DamagedError(f"{path} does not exist")
    if not sidecar(path).is_file():
        raise DamagedError(f"{path} has no {sidecar(path).name} beside it to check it by")
    try:
        expected = json.loads(sidecar(path).read_text())
        wanted, size = expected["sha256"], expected["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{sidecar(path)} cannot be read: {error}") from error
    content = path.read_bytes()
    if len(content) != size:
        raise DamagedError(f"{path} has {len(content):,} bytes, {size:,} were written")
    if hashlib.sha256(content).hexdigest() != wanted:
        raise DamagedError(
            f"{path} is not the file that was written: its SHA-256 differs from {sidecar(path).name}"
        )
    return content


def load_verified(path: Path, map_location: Any = None) -> tuple[dict[str, Any], str | None]:
    """The newest undamaged checkpoint of `path` and the one kept before it, and a line on what was wrong.

    Raises `UserError` where neither is whole, or where the file holds anything but plain data: it is never
    loaded in an unsafe way.
    """
    try:
        return _plain_data(path, verify(path), map_location), None
    except DamagedError as damage:
        reason = str(damage)
    try:
        content = verify(previous(path))
    except DamagedError as damage:
        raise UserError(f"ckpt: {reason}\nand {damage}") from damage
    return _plain_data(path, content, map_location), f"{reason}; using {previous(path).name} instead"


def load_checkpoint(path: Path, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint of ours, checked against its sidecar, or one from elsewhere that has none.

    Raises `UserError` as `load_verified` does; a fallback to the previous checkpoint is logged as a warning.
    """
    if path.is_file() and not sidecar(path).exists() and not previous(path).exists():
        return _plain_data(path, path.read_bytes(), map_location)
    checkpoint, warning = load_verified(path, map_location)
    if warning is not None:
        log.warning(warning)
    return checkpoint


def _plain_data(path: Path, content: bytes, map_location: Any) -> dict[str, Any]:
    try:
        loaded = torch.load(io.BytesIO(content), map_location=map_location, weights_only=True)
    except (
        Exception
    ) as error:  # torch raises UnpicklingError, RuntimeError, EOFError and others for a bad file
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"ckpt: {path} was refused: it is not a checkpoint of plain data\n{reason[:300]}\n"
            "A checkpoint may hold tensors, numbers and text only: anything else could run code when loaded."
        ) from error
    if not isinstance(loaded, dict) or "state_dict" not in loaded:
        raise UserError(f"ckpt: {path} was refused: it holds no `state_dict`")
    suspicious = {"_instantiator", "_class_path"} & {str(k) for k in _all_keys(loaded)}
    if suspicious:
        raise UserError(f"ckpt: {path} was refused: it names code to run ({', '.join(sorted(suspicious))})")
    return loaded


def _all_keys(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    return [*value, *(key for inner in value.values() for key in _all_keys(inner))]
