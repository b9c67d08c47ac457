"""The original MNIST-style files: checked by SHA-256, extracted once, repaired where possible."""

import gzip
import hashlib
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

from filelock import FileLock

from assay.errors import UserError

TIMEOUT = 60.0  # seconds without a byte


def stamp(path: Path) -> tuple[int, int, int]:
    """Size, time and place of a file: as long as they are the same, so is what was read of it.

    Zeros for what cannot be looked at: who reads it meets the reason.
    """
    try:
        found = path.stat()
    except OSError:
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino


def sha256(path: Path) -> str:
    return _sha256(path, stamp(path))


@lru_cache(maxsize=16)
def _sha256(path: Path, _: tuple[int, int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def damaged(folder: Path, checksums: Mapping[str, str]) -> dict[str, str]:
    """Of the files in `checksums` (name to SHA-256) those missing or different, each with what is there."""
    digests = {
        name: sha256(folder / name) if (folder / name).is_file() else "no such file" for name in checksums
    }
    return {name: digest for name, digest in digests.items() if digest != checksums[name]}


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


def fetch(folder: Path, checksums: Mapping[str, str], mirrors: Sequence[str]) -> None:
    """Download those of the packed files (name to MD5) that are missing, from the first mirror that has them.

    Processes that start at once wait for one another, and each file is fetched once. Raises OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for name, digest in checksums.items():
            if not (folder / name).exists():
                _replace(folder / name, _download([f"{one.rstrip('/')}/{name}" for one in mirrors], digest))


def _download(addresses: Sequence[str], digest: str) -> bytes:
    failures: list[str] = []
    for address in addresses:
        try:
            with urlopen(address, timeout=TIMEOUT) as response:
                content: bytes = response.read()
            got = hashlib.md5(content, usedforsecurity=False).hexdigest()
            if got == digest:
                return content
            failures.append(f"{address}: its MD5 is {got}, not {digest}")
        except (OSError, HTTPException) as error:
            failures.append(f"{address}: {error}")
    raise OSError("; ".join(failures))


def _extract(packed: Path, target: Path) -> None:
    if not packed.is_file():
        return  # `ensure` reports the target as missing
    try:
        _replace(target, gzip.decompress(packed.read_bytes()))
    except (EOFError, gzip.BadGzipFile, zlib.error):
        target.unlink(missing_ok=True)  # the .gz is damaged: `ensure` reports it


def _replace(target: Path, content: bytes) -> None:
    """Write beside the target and rename over it: a killed run leaves no half file under the real name.

    The holder of the lock alone comes here, so what a killed holder left beside the target is overwritten.
    """
    scratch = target.with_name(f".{target.name}.part")
    try:
        scratch.write_bytes(content)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)
