"""Secrets stay out of logs, TensorBoard and reports: `redact` blanks them in what is about to be written."""

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


def is_secret(name: str) -> bool:
    """Whether a key is named like a secret: *TOKEN*, *KEY*, *SECRET*, *PASSWORD*, in any case."""
    return name.lower() not in HARMLESS and SECRET.search(name) is not None


def _secret_values() -> list[str]:
    """What the environment variables named like secrets hold; too short a value would blank innocent text."""
    found = {value for name, value in os.environ.items() if is_secret(name) and len(value) >= 6}
    return sorted(found, key=len, reverse=True)


def redact_text(text: str) -> str:
    """The text without the values of secret environment variables and of secret keys (`token=...`)."""
    for value in _secret_values():
        text = text.replace(value, REDACTED)
    return re.sub(
        r"(?i)([\w.]*(?:token|key|secret|password|passwd|credential)[\w]*)=(?!<redacted>)(\S+)",
        lambda found: f"{found[1]}={REDACTED}" if is_secret(found[1].rpartition(".")[2]) else found[0],
        text,
    )


def redact(value: Any, name: str = "") -> Any:
    """A copy of a plain config (mappings, lists, values) that may be written: `<redacted>` for secrets."""
    if name and is_secret(name) and value is not None and not isinstance(value, Mapping):
        return REDACTED
    if isinstance(value, Mapping):
        return {inner: redact(item, str(inner)) for inner, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact(item) for item in value]
    return redact_text(value) if isinstance(value, str) else value
