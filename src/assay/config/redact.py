"""Secrets stay out of files, logs, TensorBoard and reports. Only text can be a secret: a number never is."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

REDACTED = "<redacted>"
SECRET = re.compile(r"(?i)token|key|secret|password|passwd|credential")
# keys of ours or of torch that only sound so
HARMLESS = {
    "monkey",
    "keys",
    "key_padding_mask",
    "tokens",
    "num_tokens",
    "tokenizer",
    "max_tokens",
    "keypoints",
}
TYPED = re.compile(rf"([\w.]*(?:{SECRET.pattern[4:]})\w*)=(?!<redacted>)(\S+)", re.IGNORECASE)
NUMBER = re.compile(r"[-+]?[\d_]*\.?[\d_]+([eE][-+]?\d+)?|true|false|null", re.IGNORECASE)


def is_secret(name: str) -> bool:
    """Whether a key is named like a secret: *TOKEN*, *KEY*, *SECRET*, *PASSWORD*, in any case."""
    return name.lower() not in HARMLESS and SECRET.search(name) is not None


def _held() -> list[str]:
    """The values of secret environment variables, the longest first; a short one would blank text."""
    values = [value for name, value in os.environ.items() if is_secret(name) and len(value) >= 6]
    return sorted(values, key=len, reverse=True)


def redact_text(text: str, held: Sequence[str] | None = None) -> str:
    """The text without the values of secret environment variables and of secret keys (`token=...`)."""
    for value in _held() if held is None else held:
        text = text.replace(value, REDACTED)

    def blanked(found: re.Match[str]) -> str:
        is_text = NUMBER.fullmatch(found[2]) is None
        return f"{found[1]}={REDACTED}" if is_text and is_secret(found[1].rpartition(".")[2]) else found[0]

    return TYPED.sub(blanked, text)


def redact(value: Any, name: str = "", held: Sequence[str] | None = None) -> Any:
    """A copy of a plain config (mappings, lists, values) that may be written: secret texts are blanked."""
    held = _held() if held is None else held
    if isinstance(value, Mapping):
        names = {inner: redact_text(inner, held) if isinstance(inner, str) else inner for inner in value}
        return {names[inner]: redact(item, str(inner), held) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, name, held) for item in value]
    if not isinstance(value, str):
        return value
    return REDACTED if is_secret(name) else redact_text(value, held)
