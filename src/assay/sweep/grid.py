"""From the overrides of a command line to those of each job, and the names that follow from them.

Hydra's own grammar: `key=a,b`, `choice`, `range`, `glob`, `+key=...`, several groups. What a sweep file
lists under `params` comes first; the command line says the last word on a key. As in Hydra the last key
turns fastest.
"""

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException

from assay.config.explain import key_of, options
from assay.errors import UserError

LARGEST = 10_000  # jobs; more are a slip of the keyboard, and folders without end
LONGEST = 120  # characters of a folder's name


def value_of(override: str) -> str:
    return override.partition("=")[2]


def swept_keys(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys whose overrides differ between jobs, in the order typed."""
    values: dict[str, set[str]] = {}
    count: dict[str, int] = {}
    for job in jobs:
        for key, override in {key_of(override): override for override in job}.items():
            values.setdefault(key, set()).add(override)
            count[key] = count.get(key, 0) + 1
    return [key for key, different in values.items() if len(different) > 1 or count[key] < len(jobs)]


def swept(job: Sequence[str], keys: Iterable[str]) -> dict[str, str]:
    """What a job has of its own: its values of the keys that are swept."""
    typed = {key_of(override): value_of(override) for override in job}
    return {key: typed[key] for key in keys if key in typed}


def split(overrides: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The overrides of Hydra, those of the sweep, and those of the jobs."""
    hydra = [one for one in overrides if key_of(one).startswith(("hydra.", "hydra/"))]
    sweep = [one for one in overrides if key_of(one).partition(".")[0] == "sweep"]
    return hydra, sweep, [one for one in overrides if one not in (*hydra, *sweep)]


def overrides_of(params: Mapping[str, Any]) -> list[str]:
    """The entries of `sweep.params` as they would be typed; a list is a choice of its items.

    Raises `UserError` for a key that no job has, and for a list without items.
    """
    overrides: list[str] = []
    for key, value in params.items():
        if key.startswith(("sweep.", "hydra.", "hydra/")):
            raise UserError(f"sweep.params: {key} cannot be swept over: it is the sweep's, not a job's")
        if value in ([], {}, ""):
            raise UserError(f"sweep.params: {key} has no values\n  for example {key}: [a, b]")
        if isinstance(value, dict):
            overrides += overrides_of({f"{key}.{below}": inner for below, inner in value.items()})
        elif isinstance(value, list):
            overrides.append(f"{key}={','.join(map(_item, value))}")
        else:
            overrides.append(f"{key}={value if isinstance(value, str) else _item(value)}")
    return overrides


def _item(value: Any) -> str:
    """One value in Hydra's grammar; a text that would be read as several is quoted."""
    if isinstance(value, str):
        override = f"value={value}"
        return quoted(value) if not is_readable(override) or _parsed(override).is_sweep_override() else value
    if isinstance(value, list):
        return f"[{','.join(map(_item, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{key}:{_item(inner)}' for key, inner in value.items())}}}"
    return "null" if value is None else str(value)


def quoted(text: str) -> str:
    """The text as a value that Hydra's grammar reads back as it is."""
    return QuotedString(text, Quote.single).with_quotes()


def _parsed(override: str) -> Override:
    return OverridesParser.create().parse_override(override)


def is_readable(override: str) -> bool:
    """Whether it is `key=value` by Hydra's grammar."""
    try:
        _parsed(override)
    except HydraException:
        return False
    return True


def expand(overrides: Sequence[str], mode: Literal["product", "zip"]) -> list[tuple[str, ...]]:
    """The overrides of each job, in order, from overrides that can be read.

    Raises `UserError` for a sweep that is empty, too large, or cannot be zipped.
    """
    axes = {key_of(override): _values(override) for override in overrides}
    return _zipped(axes) if mode == "zip" else _product(axes)


def _values(override: str) -> list[str]:
    """The overrides that a sweep over this one makes."""
    parsed = _parsed(override)
    if not parsed.is_sweep_override():
        return [override]
    if not parsed.is_discrete_sweep():
        key = parsed.key_or_group
        raise UserError(f"{override}: a grid needs values one by one\n  for example {key}=a,b")
    choice = parsed.value()
    values = (
        choice.filter(options(parsed.key_or_group))
        if isinstance(choice, Glob)
        else list(parsed.sweep_string_iterator())
    )
    if not values:
        raise UserError(f"{override}: the sweep is empty: nothing matches")
    return [f"{parsed.get_key_element()}={value}" for value in values]


def _product(axes: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > LARGEST:
        raise UserError(f"the sweep has {count:,} jobs, at most {LARGEST:,} are allowed")
    return list(itertools.product(*axes.values()))


def _zipped(axes: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """The i-th values together; a key with one value holds for all jobs."""
    lengths = {key: len(values) for key, values in axes.items() if len(values) > 1}
    if len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        raise UserError(f"sweep.mode=zip takes the i-th values together: {counted}\n  give each as many")
    count = max(lengths.values(), default=1)
    columns = [values if len(values) == count else values * count for values in axes.values()]
    return list(zip(*columns, strict=True)) if columns else [()]


def job_name(job: Sequence[str], keys: Iterable[str], id: str) -> str:
    """The name of a job's folder: `optimizer=sgd,seed=0-<id>`."""
    return _name([f"{key}={_safe(value)}" for key, value in swept(job, keys).items()], ",", id)


def grid_name(jobs: Sequence[Sequence[str]], ids: Iterable[str]) -> str:
    """The name of a sweep without one: `optimizer=sgd,adam_seed=0,1,2-<id>`; the same grid has the same."""
    values = {
        key: dict.fromkeys(_safe(swept(job, [key]).get(key, "")) for job in jobs) for key in swept_keys(jobs)
    }
    digest = hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()[:12]
    return _name([f"{key}={','.join(different)}" for key, different in values.items()], "_", digest)


def _safe(value: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", value, flags=re.ASCII).strip("_")[:24]


def _name(parts: Sequence[str], between: str, id: str) -> str:
    text = between.join(re.sub(r"[^\w.+=,-]+", "_", part, flags=re.ASCII) for part in parts)
    return f"{text[: LONGEST - len(id) - 1] or 'all'}-{id}".lstrip(".-")
