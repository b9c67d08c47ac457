"""From the words of a command line to the words of each job.

Hydra's own grammar: `key=a,b`, `choice`, `range`, `glob`, `+key=...`, several groups. What a sweep file
lists under `params` comes first; the command line says the last word on a key. As in Hydra the last word
turns fastest.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException

from assay.config.words import parsed, swept_words
from assay.errors import UserError

LARGEST = 10_000  # jobs; more are a slip of the keyboard, and folders without end


def words_of(params: Mapping[str, Any]) -> list[str]:
    """The entries of `sweep.params` as they would be typed; a list is a choice of its items.

    Raises `UserError` for a key that no job has, and for a list without items.
    """
    words: list[str] = []
    for key, value in params.items():
        if key.startswith(("sweep.", "hydra.", "hydra/")):
            raise UserError(f"sweep.params: {key} cannot be swept over: it is the sweep's, not a job's")
        if value in ([], {}, ""):
            raise UserError(f"sweep.params: {key} has no values\n  for example {key}: [a, b]")
        if isinstance(value, dict):
            words += words_of({f"{key}.{below}": inner for below, inner in value.items()})
        elif isinstance(value, list):
            words.append(f"{key}={','.join(map(_item, value))}")
        else:
            words.append(f"{key}={value if isinstance(value, str) else _item(value)}")
    return words


def _item(value: Any) -> str:
    """One value; a text that would be read as several is quoted."""
    if isinstance(value, str):
        word = f"value={value}"
        return quoted(value) if not is_readable(word) or parsed(word).is_sweep_override() else value
    text: str = Override._get_value_element_as_str(value)  # pyright: ignore[reportPrivateUsage]
    return text


def is_readable(word: str) -> bool:
    """Whether it is `key=value` by Hydra's grammar."""
    try:
        parsed(word)
    except HydraException:
        return False
    return True


def expand(words: Sequence[str], mode: Literal["product", "zip"]) -> list[tuple[str, ...]]:
    """The words of each job, in order, from words that can be read.

    Raises `UserError` for a sweep that is empty or cannot be zipped.
    """
    axes: dict[str, list[str]] = {}
    for word in words:
        override = parsed(word)
        if override.is_sweep_override() and not override.is_discrete_sweep():
            raise UserError(
                f"{word}: a grid needs values one by one\n  for example {override.key_or_group}=a,b"
            )
        values = swept_words(override)
        if not values:
            raise UserError(f"{word}: the sweep is empty: nothing matches")
        axes[override.get_key_element().lstrip("+~")] = values
    return _zipped(axes) if mode == "zip" else _product(axes)


def _product(axes: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > LARGEST:
        raise UserError(f"the sweep has {count:,} jobs, at most {LARGEST:,} are allowed")
    return list(itertools.product(*axes.values()))


def _zipped(axes: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """The i-th values together; a word with one value holds for all jobs."""
    lengths = {key: len(values) for key, values in axes.items() if len(values) > 1}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        raise UserError(f"sweep.mode=zip takes the i-th values together: {counted}\n  give each as many")
    count = max(lengths.values(), default=1)
    columns = [values if len(values) == count else values * count for values in axes.values()]
    return list(zip(*columns, strict=True)) if columns else [()]


def quoted(text: str) -> str:
    """The text as a value that Hydra's grammar reads back as it is."""
    return QuotedString(text, Quote.single).with_quotes()
