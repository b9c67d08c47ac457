"""Names and paths from outside: a run's name cannot leave `outputs/`, a checkpoint is a local file."""

import os
import re
from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator

from assay.errors import UserError

LONGEST_NAME = 100  # a folder's name also carries a date and an id; common file systems take 255 bytes
LETTERS = re.compile(r"[\w.+=,@-][\w.+=,@ -]*", re.ASCII)
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def safe_name(text: str) -> str:
    """The text unchanged if it can name a folder anywhere; raises `ValueError` if not."""
    if len(text) > LONGEST_NAME:
        raise ValueError(f"a name has at most {LONGEST_NAME} characters, this one has {len(text)}")
    if not LETTERS.fullmatch(text) or text.startswith((".", "-")) or text.endswith((".", " ")):
        raise ValueError("a name is one word of letters, digits and _ - + = , @ . and cannot be a path")
    if text.partition(".")[0].lower() in RESERVED:
        raise ValueError("the name is reserved on Windows")
    return text


def local_path(text: str) -> str:
    """The path, `~` expanded; raises `ValueError` for an address and for what can be no path."""
    if "\0" in text or not text.strip():
        raise ValueError("a path has at least one character, and no NUL")
    if re.match(r"[A-Za-z][\w+.-]*:(//|:)", text):
        raise ValueError("only a file or folder on this machine can be read, no address")
    return str(Path(text).expanduser()) if text.startswith("~") else text


def inside(root: Path, name: str, key: str) -> Path:
    """The folder `name` of `root`; raises `UserError` if a link of that name leads out of `root`."""
    folder = root / name
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
        raise UserError(
            f"{key}={name} leads out of {root}: {folder} is a link to {os.path.realpath(folder)}\n"
            f"  choose another name, or remove the link"
        )
    return folder


SafeName: TypeAlias = Annotated[str, AfterValidator(safe_name)]
LocalPath: TypeAlias = Annotated[str, AfterValidator(local_path)]
