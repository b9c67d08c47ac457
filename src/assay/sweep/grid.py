"""From the overrides of a command line to those of each job, and the names that follow from them.

Hydra's own grammar: `key=a,b`, `choice`, `range`, `glob`, `interval`, `+key=...`, several groups. What a
sweep file lists under `params` comes first; the command line says the last word on a key. As in Hydra the
last key turns fastest.
"""

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from hydra.core.override_parser.types import Glob, IntervalSweep, Quote, QuotedString, RangeSweep
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


@dataclass(frozen=True)
class Numbers:
    """A range of numbers, its ends included; whole ones where both ends are."""

    low: float
    high: float
    step: float | None  # None: all between
    tags: frozenset[str]  # `log` and the like, as typed


@dataclass(frozen=True)
class Axis:
    """What is typed of one key: its values one by one, of an interval its ends."""

    override: str
    key: str  # as it stands before the `=`
    values: tuple[str, ...]
    numbers: Numbers | None = None

    @property
    def overrides(self) -> list[str]:
        return [f"{self.key}={value}" if self.is_swept else self.override for value in self.values]

    @property
    def is_swept(self) -> bool:
        return parse(self.override).is_sweep_override()

    @property
    def is_interval(self) -> bool:
        return self.numbers is not None and self.numbers.step is None


def axes(overrides: Sequence[str]) -> dict[str, Axis]:
    """The axis that each of these makes, by key; the last one of a key counts.

    Raises `InvalidConfig` with all that cannot be read, `UserError` for one without values.
    """
    read: dict[str, Axis] = {}
    problems: list[Problem] = []
    for override in overrides:
        try:
            read[key_of(override)] = _axis(override)
        except HydraException:
            problems.append(unreadable(override, "train"))
    if problems:
        raise InvalidConfig(problems)
    return read


def _axis(override: str) -> Axis:
    parsed = parse(override)
    key = parsed.get_key_element()
    if not parsed.is_sweep_override():
        return Axis(override, key, (override.partition("=")[2],))
    value: Any = parsed.value()
    if isinstance(value, IntervalSweep):
        low, high = cast(float, value.start), cast(float, value.end)
        numbers = Numbers(low, high, None, frozenset(value.tags))
        return Axis(override, key, (repr(low), repr(high)), numbers)
    is_glob = isinstance(value, Glob)
    every = value.filter(options(parsed.key_or_group)) if is_glob else parsed.sweep_string_iterator()
    values = tuple(map(str, every))
    if not values:
        raise UserError(f"{override}: the sweep is empty: nothing matches")
    if not isinstance(value, RangeSweep) or len(values) < 2 or value.step < 0:
        return Axis(override, key, values)
    is_whole = all(isinstance(one, int) for one in (value.start, value.step))
    low, high = (int(one) if is_whole else float(f"{float(one):.12g}") for one in (values[0], values[-1]))
    return Axis(override, key, values, Numbers(low, high, value.step, frozenset(value.tags)))


def expand(
    overrides: Sequence[str], mode: Literal["product", "zip"], params: Mapping[str, Any] | None = None
) -> list[tuple[str, ...]]:
    """The overrides of each job, in order; zipped, a key with one value holds for all jobs.

    Raises `UserError` as `axes` does, for an interval, and for what is too large or cannot be zipped.
    """
    columns = axes([*overrides_of(params or {}), *overrides])
    for axis in columns.values():
        if axis.is_interval:
            raise UserError(
                f"{axis.override}: a grid needs values one by one, as in {axis.key}=a,b\n"
                "  to draw them from an interval, add sweep.search=tpe sweep.trials=30"
            )
    lengths = {key: len(axis.values) for key, axis in columns.items() if len(axis.values) > 1}
    if mode == "zip" and len(set(lengths.values())) > 1:
        counted = ", ".join(f"{key} has {count}" for key, count in lengths.items())
        raise UserError(f"sweep.mode=zip takes the i-th values together: {counted}\n  give each as many")
    count = max(lengths.values(), default=1) if mode == "zip" else math.prod(lengths.values())
    if count > LARGEST:
        raise UserError(f"the sweep has {count:,} jobs, at most {LARGEST:,} are allowed")
    values = [axis.overrides for axis in columns.values()]
    if mode == "product":
        return list(itertools.product(*values))
    return [tuple(column[i % len(column)] for column in values) for i in range(count)]


def job_name(job: Sequence[str], keys: Iterable[str], id: str) -> str:
    """The name of a job's folder: `optimizer=sgd,seed=0-<id>`."""
    return name_of({key: [value] for key, value in swept(job, keys).items()}, ",", id)


def grid_name(jobs: Sequence[Sequence[str]], ids: Iterable[str]) -> str:
    """The name of a sweep without one: `optimizer=sgd,adam_seed=0,1,2-<id>`; the same grid has the same."""
    values = {key: [swept(job, [key]).get(key, "") for job in jobs] for key in swept_keys(jobs)}
    return name_of(values, "_", hashlib.sha256(" ".join(sorted(ids)).encode()).hexdigest()[:12])


def name_of(values: Mapping[str, Iterable[str]], between: str, id: str) -> str:
    """Safe as a file's name, and short, whatever the values are."""

    def safe(text: str) -> str:
        return re.sub(r"[^\w.+-]+", "_", text, flags=re.ASCII).strip("_")

    parts = [
        f"{safe(key)}={','.join(dict.fromkeys(safe(value)[:24] for value in every))}"
        for key, every in values.items()
    ]
    return f"{between.join(parts)[: LONGEST - len(id) - 1] or 'all'}-{id}".lstrip(".-")
