"""Secrets stay out of files, logs, TensorBoard and reports. Only text can be a secret: a number never is."""

import os
import re
from collections.abc import Mapping
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


def redact_text(text: str) -> str:
    """The text without the values of secret environment variables and of secret keys (`token=...`)."""
    held = [value for name, value in os.environ.items() if is_secret(name) and len(value) >= 6]
    for value in sorted(held, key=len, reverse=True):  # a shorter value would blank innocent text
        text = text.replace(value, REDACTED)

    def blanked(found: re.Match[str]) -> str:
        is_text = NUMBER.fullmatch(found[2]) is None
        return f"{found[1]}={REDACTED}" if is_text and is_secret(found[1].rpartition(".")[2]) else found[0]

    return TYPED.sub(blanked, text)


def redact(value: Any, name: str = "") -> Any:
    """A copy of a plain config (mappings, lists, values) that may be written: secret texts are blanked."""
    if isinstance(value, Mapping):
        names = {inner: redact_text(inner) if isinstance(inner, str) else inner for inner in value}
        return {names[inner]: redact(item, str(inner)) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item, name) for item in value]
    if not isinstance(value, str):
        return value
    return REDACTED if is_secret(name) else redact_text(value)
