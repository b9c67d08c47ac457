"""From the overrides of a command line to those of each job, and the names that follow from them.

Hydra's own grammar: `key=a,b`, `choice`, `range`, `glob`, `+key=...`, several groups. What a sweep file
lists under `params` comes first; the command line says the last word on a key. As in Hydra the last key
turns fastest.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hydra.core.override_parser.types import Glob, Quote, QuotedString
from hydra.errors import HydraException

from assay.config.compose import parse
from assay.config.explain import key_of, options, unreadable
from assay.config.messages import InvalidConfig, Problem
from assay.errors import UserError

LARGEST = 10_000  # jobs; more are a slip of the keyboard, and folders without end
LONGEST = 120  # characters of a folder's name


def swept_keys(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose overrides differ between jobs, in the order typed."""
    typed = [{key_of(override): override for override in job} for job in jobs]
    keys = dict.fromkeys(key for one in typed for key in one)
    return [key for key in keys if len({one.get(key) for one in typed}) > 1]


def swept(job: Sequence[str], keys: Iterable[str]) -> dict[str, str]:
    """What a job has of its own: its values of the keys that are swept."""
    typed = {key_of(override): override.partition("=")[2] for override in job}
    return {key: typed[key] for key in keys if key in typed}


def label(job: Sequence[str], keys: Iterable[str]) -> str:
    """What a job has of its own, as it would be typed."""
    return " ".join(f"{key}={value}" for key, value in swept(job, keys).items())


def is_for_all(key: str) -> bool:
    """Whether a key is Hydra's or the sweep's, and no job's."""
    return re.split("[./]", key)[0] in ("hydra", "sweep")


def overrides_of(params: Mapping[str, Any]) -> list[str]:
    """The entries of `sweep.params` as they would be typed; a list is a choice of its items.

    Raises `UserError` for a key that no job has, and for a list without items.
    """
    overrides: list[str] = []
    for key, value in params.items():
        if value in ([], {}, ""):
            raise UserError(f"sweep.params: {key} has no values\n  for example {key}: [a, b]")
        if isinstance(value, dict):
            overrides += overrides_of({f"{key}.{below}": inner for below, inner in value.items()})
        elif is_for_all(key):
            raise UserError(f"sweep.params: {key} cannot be swept over: it is the sweep's, not a job's")
        elif isinstance(value, list):
            overrides.append(f"{key}={','.join(map(_item, value))}")
        else:
            overrides.append(f"{key}={value if isinstance(value, str) else _item(value)}")
    return overrides


def _item(value: Any) -> str:
    """One value in Hydra's grammar; a text that would be read as several is quoted."""
    if isinstance(value, list):
        return f"[{','.join(map(_item, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_item(inner)}' for key, inner in value.items())}}}"
    if not isinstance(value, str):
        return "null" if value is None else str(value)
    try:
        is_one = not parse(f"value={value}").is_sweep_override()
    except HydraException:
        is_one = False
    return value if is_one else quoted(value)


def quoted(text: str) -> str:
    """The text as a value that Hydra's grammar reads back as it is."""
    return QuotedString(text, Quote.single).with_quotes()


def axes(overrides: Sequence[str]) -> dict[str, list[str]]:
    """The overrides that a sweep makes of each of these, by key; the last one of a key counts.

    Raises `InvalidConfig` with all that cannot be read, `UserError` for a sweep without values.
    """
    values: dict[str, list[str]] = {}
    problems: list[Problem] = []
    for override in overrides:
        try:
            values[key_of(override)] = _values(override)
        except HydraException:
            problems.append(unreadable(override, "train"))
    if problems:
        raise InvalidConfig(problems)
    return values


def _values(override: str) -> list[str]:
    parsed = parse(override)
    if not parsed.is_sweep_override():
        return [override]
    if not parsed.is_discrete_sweep():
        key = parsed.key_or_group
        raise UserError(f"{override}: a grid needs values one by one\n  for example {key}=a,b")
    choice = parsed.value()
    is_glob = isinstance(choice, Glob)
    values = choice.filter(options(parsed.key_or_group)) if is_glob else parsed.sweep_string_iterator()
    every = [f"{parsed.get_key_element()}={value}" for value in values]
    if not every:
        raise UserError(f"{override}: the sweep is empty: nothing matches")
    return every


def expand(
    overrides: Sequence[str], mode: Literal["product", "zip"], params: Mapping[str, Any] | None = None
) -> list[tuple[str, ...]]:
    """The overrides of each job, in order; zipped, a key with one value holds for all jobs.

    Raises `UserError` as `axes` does, and for what is too large or cannot be zipped.
    """
    columns = axes([*overrides_of(params or {}), *overrides])
    lengths = {key: len(values) for key, values in columns.items() if len(values) > 1}
    if mode == "zip" and len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        raise UserError(f"sweep.mode=zip takes the i-th values together: {counted}\n  give each as many")
    count = max(lengths.values(), default=1) if mode == "zip" else math.prod(lengths.values())
    if count > LARGEST:
        raise UserError(f"the sweep has {count:,} jobs, at most {LARGEST:,} are allowed")
    if mode == "product":
        return list(itertools.product(*columns.values()))
    return [tuple(values[i % len(values)] for values in columns.values()) for i in range(count)]


def job_name(job: Sequence[str], keys: Iterable[str], id: str) -> str:
    """The name of a job's folder: `optimizer=sgd,seed=0-<id>`."""
    return _name({key: [value] for key, value in swept(job, keys).items()}, ",", id)


def grid_name(jobs: Sequence[Sequence[str]], ids: Iterable[str]) -> str:
    """The name of a sweep without one: `optimizer=sgd,adam_seed=0,1,2-<id>`; the same grid has the same."""
    values = {key: [swept(job, [key]).get(key, "") for job in jobs] for key in swept_keys(jobs)}
    return _name(values, "_", hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()[:12])


def _name(values: Mapping[str, Iterable[str]], between: str, id: str) -> str:
    """Safe as a file's name, and short, whatever the values are."""

    def safe(text: str) -> str:
        return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII).strip("_")

    parts = [
        f"{safe(key)}={','.join(dict.fromkeys(safe(value)[:24] for value in every))}"
        for key, every in values.items()
    ]
    return f"{between.join(parts)[: LONGEST - len(id) - 1] or 'all'}-{id}".lstrip(".-")
