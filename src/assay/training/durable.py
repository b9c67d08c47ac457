"""A checkpoint on disk: the file, a sidecar that says what it is, and the pair before it.

A checkpoint counts from the moment its sidecar is renamed: `<name>.ckpt.json` holds the SHA-256 and size of
`<name>.ckpt`. A crash at any point leaves either the new pair or the previous one (`<name>.previous.ckpt`)
whole. torch.load checks neither length nor CRC-32 of what it reads, and Lightning's own saving stages in
$TMPDIR without a sync.
"""

import hashlib
import io
import json
import logging
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from assay.errors import CannotResume, UserError
from assay.training.atomic import remove_strays, second_name, sync_folder, write_durably, write_error

log = logging.getLogger(__name__)


class DamagedError(Exception):
    """A checkpoint file that is missing, cut short or changed since it was written."""


def sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def facts_of(path: Path) -> dict[str, Any]:
    """What the sidecar says of a checkpoint: `sha256`, `bytes`, `step` and more. Raises `DamagedError`."""
    if not sidecar(path).is_file():
        raise DamagedError(f"{path} has no {sidecar(path).name} beside it to check it by")
    try:
        facts = json.loads(sidecar(path).read_text())
        _ = facts["sha256"], facts["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{sidecar(path)} cannot be read: {error}") from error
    return facts


def save_checkpoint(checkpoint: Mapping[str, Any], path: Path, facts: Mapping[str, Any]) -> None:
    """Write the checkpoint and its sidecar (`facts`, SHA-256, size); the pair before stays as `.previous`.

    Raises `WriteError`; then the newest undamaged pair is the one before.
    """
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)
    content = buffer.getbuffer()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_strays(path.parent)
    _keep_previous(path)
    described = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), **facts}
    write_durably(path, content)
    write_durably(sidecar(path), json.dumps(described, indent=2).encode())


def copy_checkpoint(source: Path, target: Path) -> None:
    """Give a checkpoint a second name, as durably as it was saved; raises `WriteError`."""
    _keep_previous(target)
    _name_pair(source, target)


def restore_previous(path: Path) -> None:
    """Put the kept pair in the place of a damaged one."""
    _name_pair(previous(path), path)


def _keep_previous(path: Path) -> None:
    """Only an undamaged pair: half of a save that failed must not replace the last good one."""
    try:
        verify(path)
    except DamagedError:
        return
    _name_pair(path, previous(path))


def _name_pair(source: Path, target: Path) -> None:
    try:
        second_name(source, target)
        second_name(sidecar(source), sidecar(target))
        sync_folder(target.parent)
    except OSError as error:
        raise write_error(target, error, source.stat().st_size) from error


def verify(path: Path) -> bytes:
    """The bytes of a checkpoint that are the ones that were written. Raises `DamagedError`."""
    if not path.is_file():
        raise DamagedError(f"{path} does not exist")
    facts = facts_of(path)
    content = path.read_bytes()
    if len(content) != facts["bytes"]:
        raise DamagedError(f"{path} has {len(content):,} bytes, {facts['bytes']:,} were written")
    if hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise DamagedError(
            f"{path} is not the file that was written: its SHA-256 differs from {sidecar(path).name}"
        )
    return content


def load_verified(path: Path, map_location: Any = None) -> tuple[dict[str, Any], str | None]:
    """The newest undamaged checkpoint of `path` and the one kept before it, and a line on what was wrong.

    Raises `CannotResume` where neither is whole, and `UserError` where the file holds anything but plain
    data: it is never loaded in an unsafe way.
    """
    try:
        return _plain_data(path, verify(path), map_location), None
    except DamagedError as damage:
        reason = str(damage)
    try:
        content = verify(previous(path))
    except DamagedError as damage:
        raise CannotResume(f"checkpoint: {reason}\nand {damage}\nno undamaged checkpoint is left") from damage
    return _plain_data(path, content, map_location), f"{reason}; using {previous(path).name} instead"


def load_checkpoint(path: Path, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint of ours, checked against its sidecar, or one from elsewhere that has none.

    Raises `UserError` as `load_verified` does; a fallback to the previous checkpoint is logged as a warning.
    """
    if path.is_file() and not sidecar(path).exists() and not previous(path).exists():
        return _plain_data(path, _archive(path), map_location)
    checkpoint, warning = load_verified(path, map_location)
    if warning is not None:
        log.warning(warning)
    return checkpoint


def _archive(path: Path) -> bytes:
    """A file without a sidecar; its records' CRC-32 are all that can be checked, and torch does not."""
    content = path.read_bytes()
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            broken = archive.testzip()
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
    if not isinstance(loaded, dict) or "state_dict" not in loaded:
        raise UserError(f"checkpoint: {path} was refused: it holds no `state_dict`")
    suspicious = {"_instantiator", "_class_path"} & {str(k) for k in _all_keys(loaded)}
    if suspicious:
        raise UserError(
            f"checkpoint: {path} was refused: it names code to run ({', '.join(sorted(suspicious))})"
        )
    return loaded


def _reason(error: Exception) -> str:
    """What torch found, without its advice on how to load the file all the same."""
    named = re.search(r"GLOBAL ([\w.]+)", str(error))
    if named:
        return f"it names {named[1]}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip()[:200]}" if lines else type(error).__name__


def _all_keys(value: Any) -> list[Any]:
    if not isinstance(value, dict):
        return []
    return [*value, *(key for inner in value.values() for key in _all_keys(inner))]
