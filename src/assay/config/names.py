"""Names and paths from outside: a run's or sweep's name cannot leave `outputs/`, a checkpoint is local."""

import os
import re
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from assay.errors import UserError

LONGEST = (
    100  # the folder's name also carries a date and an id; 255 bytes is the limit of common file systems
)
LETTERS = re.compile(r"[\w.+=,@-][\w.+=,@ -]*", re.ASCII)
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def _name(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"a name has at most {LONGEST} characters, this one has {len(text)}")
    if not LETTERS.fullmatch(text) or text.startswith((".", "-")) or text.endswith((".", " ")):
        raise ValueError("a name is one word of letters, digits and _ - + = , @ . and cannot be a path")
    if text.partition(".")[0].lower() in RESERVED:
        raise ValueError("the name is reserved on Windows")
    return text


def _local(text: str) -> str:
    if "\0" in text or not text.strip():
        raise ValueError("a path has at least one character, and no NUL")
    if re.match(r"[A-Za-z][\w+.-]*:(//|:)", text):
        raise ValueError("only a file or folder on this machine can be read, no address")
    return text


SafeName: TypeAlias = Annotated[str, AfterValidator(_name)]
LocalPath: TypeAlias = Annotated[str, AfterValidator(_local)]


def safe_name(key: str, value: str) -> str:
    """The name unchanged if it is a plain word that can name a folder anywhere; raises `UserError` if not."""
    try:
        return _name(value)
    except ValueError as error:
        raise UserError(f"{key}={value[:60]!r} cannot name a folder: {error}") from None


def inside(root: Path, name: str, key: str) -> Path:
    """The folder `name` of `root`; raises `UserError` if the name, or a link so named, leads out."""
    folder = root / safe_name(key, name)
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{key}={name} leads out of {root}: {folder} is a link to {os.path.realpath(folder)}\n"
            f"  choose another name, or remove the link"
        )
    return folder
