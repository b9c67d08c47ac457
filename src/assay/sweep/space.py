"""What a search draws its values from: the axes of a command line, as Hydra's grammar reads them.

An interval has both its ends. Numbers whose bounds lie more than two decades apart are drawn on a logarithmic
scale unless they are tagged `linear`. No Optuna here.
"""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from assay.config.messages import nearest
from assay.config.schema import SweepConfig
from assay.errors import UserError
from assay.sweep.grid import Axis, Numbers, name_of

TAGS = ("log", "linear")
DECADES = 2  # between the bounds of what is still drawn on a linear scale
MOST_CORNERS = 1000
PACKAGES = {"cmaes": ("optuna", "cmaes")}  # that a sampler needs; the others need Optuna alone


@dataclass(frozen=True)
class Space:
    """The axes by key; those of one value are the same in all trials."""

    name: str  # that two searches share if and only if they are the same
    axes: Mapping[str, Axis]

    @property
    def drawn(self) -> dict[str, Axis]:
        return {key: axis for key, axis in self.axes.items() if axis.is_swept}

    @property
    def size(self) -> float:
        """How many configs there are."""
        every = self.axes.values()
        return math.inf if any(map(_is_continuous, every)) else math.prod(map(_count, every))

    def overrides(self, drawn: Mapping[str, Any]) -> tuple[str, ...]:
        """The overrides of a trial; numbers are read back as they were."""
        return tuple(
            f"{axis.key}={drawn[key]}" if axis.is_swept else axis.override for key, axis in self.axes.items()
        )


def is_log(numbers: Numbers) -> bool:
    """Whether numbers are drawn on a logarithmic scale."""
    if numbers.tags or numbers.low <= 0 or numbers.step not in (None, 1):
        return "log" in numbers.tags
    return numbers.high > numbers.low * 10**DECADES


def is_whole(numbers: Numbers) -> bool:
    return isinstance(numbers.low, int) and isinstance(numbers.high, int)


def whole_numbers(axis: Axis) -> str | None:
    """How to have whole numbers only, for an interval that may have been meant so."""
    numbers = axis.numbers
    if not axis.is_interval or numbers is None or is_whole(numbers):
        return None
    if not (float(numbers.low).is_integer() and float(numbers.high).is_integer()):
        return None
    return f"for whole numbers: {axis.key}=int(interval({numbers.low:.0f},{numbers.high:.0f}))"


def _is_continuous(axis: Axis) -> bool:
    return axis.is_interval and axis.numbers is not None and not is_whole(axis.numbers)


def _count(axis: Axis) -> int:
    numbers = axis.numbers
    return int(numbers.high - numbers.low) + 1 if axis.is_interval and numbers else len(axis.values)


def scales(axes: Mapping[str, Axis]) -> list[str]:
    """The keys that are drawn on a logarithmic scale though nobody said so."""
    return [
        key for key, axis in axes.items() if axis.numbers and is_log(axis.numbers) and not axis.numbers.tags
    ]


def refuse_search(config: SweepConfig, axes: Mapping[str, Axis]) -> None:
    """Raises `UserError` for a search that cannot be, and for keys of a search without one."""
    if config.search is None:
        for key, unset in {"trials": None, "seeds": 1, "prune": "none"}.items():
            if (value := getattr(config, key)) != unset:
                instead = "; a grid takes them as values, seed=0,1,2" if key == "seeds" else ""
                raise UserError(
                    f"sweep.{key}={value}: only a search has {key}{instead}\n  add sweep.search=tpe"
                )
        return
    search, prune = f"sweep.search={config.search}", f"sweep.prune={config.prune}"
    missing = [name for name in PACKAGES.get(config.search, ("optuna",)) if find_spec(name) is None]
    if missing:
        raise UserError(f"{search} needs the package {missing[0]}\n  pip install -e '.[search]'")
    if config.trials is None:
        raise UserError(f"{search}: how many configs is it to try?\n  add sweep.trials=30")
    if config.mode == "zip":
        raise UserError(f"sweep.mode=zip is for a grid, {search} draws values\n  leave one of them out")
    if config.prune != "none" and config.seeds > 1:
        raise UserError(
            f"{prune}: a trial of {config.seeds} seeds is judged by their mean, not by one while it runs\n"
            "  leave out sweep.prune or sweep.seeds"
        )
    if config.prune != "none" and not (config.metric or "val/").startswith("val/"):
        raise UserError(
            f"{prune}: sweep.metric={config.metric} is not measured while a job trains\n"
            "  give a metric of the validation, as in sweep.metric=val/loss"
        )
    if not any(axis.is_swept for axis in axes.values()):
        raise UserError(f"{search}: no key is searched\n  for example optimizer.lr=interval(1e-4,1e-1)")
    for key, axis in axes.items():
        _refuse_axis(config.search, key, axis)


def _refuse_axis(search: str, key: str, axis: Axis) -> None:
    numbers = axis.numbers
    if axis.is_swept and key == "seed":
        raise UserError(f"{axis.override}: no search draws seeds\n  for the mean over three: sweep.seeds=3")
    if numbers is None:
        return
    for tag in numbers.tags - {*TAGS}:
        near = "".join(f", did you mean {name}?" for name in nearest(tag, TAGS)[:1])
        raise UserError(f"{axis.override}: there is no tag {tag}{near}\n  tags are {', '.join(TAGS)}")
    bounds = f"{axis.override}: its bounds are {numbers.low} and {numbers.high}"
    if numbers.low >= numbers.high:
        raise UserError(f"{bounds}\n  the first must be below the second")
    if not (math.isfinite(numbers.low) and math.isfinite(numbers.high)):
        raise UserError(f"{bounds}\n  both must be finite")
    if "log" in numbers.tags and (numbers.low <= 0 or numbers.step not in (None, 1)):
        raise UserError(f"{bounds}\n  a logarithmic scale needs bounds above 0, and a step of 1 if any")
    if search == "grid" and axis.is_interval:
        raise UserError(
            f"{axis.override}: sweep.search=grid needs values one by one\n"
            f"  list them, {axis.key}=a,b, or draw them: sweep.search=tpe"
        )


def corners(axes: Mapping[str, Axis], groups: Sequence[str]) -> list[tuple[str, ...]]:
    """Overrides of configs that stand for all: what is wrong with an option or a bound is wrong in one.

    Of the `groups` all combinations, since a key may be there with one option alone; of all other keys each
    option, or both bounds, beside the first of the rest. Raises `UserError` where those are too many.
    """
    values = {key: _ends(axis) for key, axis in axes.items()}
    chosen = [values[key] if key in groups else values[key][:1] for key in values]
    if math.prod(map(len, chosen)) > MOST_CORNERS:
        raise UserError(f"the options of {', '.join(groups)} make more than {MOST_CORNERS:,} combinations")
    points = list(itertools.product(*chosen))
    first = points[0]
    for at, (key, ends) in enumerate(values.items()):
        if key not in groups:
            points += [(*first[:at], end, *first[at + 1 :]) for end in ends[1:]]
    return points


def _ends(axis: Axis) -> list[str]:
    every = axis.overrides
    return [every[0], every[-1]] if axis.numbers else every


def space_of(axes: Mapping[str, Axis], config: SweepConfig, ids: Sequence[str]) -> Space:
    """The space, named by its words; `ids` are those of the configs at its corners.

    Where it lies, how many trials there are and how many at once is not in the name.
    """
    asked = (config.search, config.seeds, config.prune, config.metric, config.direction)
    domains = [
        (key, axis.values, axis.numbers and (axis.numbers.step, is_log(axis.numbers)))
        for key, axis in axes.items()
        if axis.is_swept
    ]
    digest = hashlib.sha256(json.dumps([sorted(ids), sorted(domains), asked]).encode()).hexdigest()[:12]
    typed = {
        key: [axis.override.partition("=")[2]] if axis.numbers else axis.values
        for key, axis in axes.items()
        if axis.is_swept
    }
    return Space(name_of(typed, "_", digest), axes)
