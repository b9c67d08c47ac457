"""The leaderboard: a pure function of what the folders of jobs say.

Jobs stand in order: completed ones by the metric, then those that are not finished, failed ones last. Groups
are the jobs that differ in their seed alone. Each group is compared with the best one by Student's paired
t-test where both have the same seeds, else by Welch's; the p values are corrected for their number by Holm's
method (1979). The best is chosen after the fact, so a p value is a hint, no proof.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.errors import UserError
from assay.sweep.grid import swept_keys
from assay.sweep.job import Direction, Entry, SweepFolder

ORDER = {
    name: at
    for at, name in enumerate(
        ("completed", "pruned", "running", "interrupted", "pending", "diverged", "failed")
    )
}
LEVEL = 0.05
FEWEST = 3  # seeds: with two, an interval is 13 times the deviation, and a test finds nothing


@dataclass(frozen=True)
class Spread:
    """A mean over `n` seeds; `sd` (n - 1) needs two, the half width of the 95 % interval (Student) three."""

    n: int
    mean: float
    sd: float | None
    half_width: float | None


@dataclass(frozen=True)
class Comparison:
    """A group's mean against the best one's."""

    test: str
    p: float  # two-sided, corrected for the number of comparisons

    @property
    def text(self) -> str:
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        what = "differs from the best" if self.p < LEVEL else "no clear difference from the best"
        return f"{what} ({self.test}, {p})"


@dataclass(frozen=True)
class Group:
    """The jobs that differ in their seed alone; `comparison` is None where no test can be made."""

    id: str
    entries: tuple[Entry, ...]
    spreads: Mapping[str, Spread]  # by metric, over the jobs that completed
    note: str = ""
    comparison: Comparison | None = None

    @property
    def completed(self) -> list[Entry]:
        return [one for one in self.entries if one.status == "completed"]

    @property
    def seconds(self) -> float | None:
        """The mean over the jobs that completed."""
        every = [one.seconds for one in self.entries if one.seconds is not None]
        return statistics.fmean(every) if every else None


@dataclass(frozen=True)
class Leaderboard:
    metric: str
    direction: Direction
    metrics: tuple[str, ...]  # that one first, then all that the jobs have measured but in training
    keys: tuple[str, ...]  # those that differ between jobs
    entries: tuple[Entry, ...]  # the best first
    groups: tuple[Group, ...]

    @property
    def failures(self) -> list[Entry]:
        return [one for one in self.entries if one.failed or one.status == "interrupted"]

    @property
    def test_metric(self) -> str:
        """The same on the test images."""
        return f"test/{self.metric.rpartition('/')[2]}"

    @property
    def curves(self) -> tuple[str, ...]:
        """What is drawn over the steps: the loss, and what the board is sorted by."""
        names = dict.fromkeys(("loss", self.metric.rpartition("/")[2]))
        return tuple(f"{split}/{name}" for split in ("train", "val") for name in names)

    @property
    def group_keys(self) -> list[str]:
        return [key for key in self.keys if key != "seed"]


def leaderboard(
    entries: Sequence[Entry], metric: str = "val/accuracy", direction: Direction = "max"
) -> Leaderboard:
    """Jobs and groups, sorted; equal ones stay in the order given."""
    sign = -1 if direction == "max" else 1

    def of_job(entry: Entry) -> tuple[int, bool, float]:
        value = entry.metric(metric)
        return ORDER.get(entry.status, 9), value is None, sign * (value or 0.0)

    def of_group(group: Group) -> tuple[bool, float]:
        measured = group.spreads.get(metric)
        return measured is None, sign * measured.mean if measured else 0.0

    keys = [
        key for key in swept_keys([one.overrides for one in entries]) if key not in ("output_dir", "name")
    ]
    if len({entry.value("sweep") for entry in entries}) > 1:
        keys = ["sweep", *keys]
    members: dict[str, list[Entry]] = {}
    for entry in entries:
        members.setdefault(entry.group, []).append(entry)
    measured = dict.fromkeys([metric, *(name for one in entries for name in one.result.get("metrics", {}))])
    metrics = tuple(name for name in measured if not name.startswith("train/") or name == metric)
    groups = sorted((_group(id, ones, metrics) for id, ones in members.items()), key=of_group)
    ordered = tuple(sorted(entries, key=of_job))
    return Leaderboard(metric, direction, metrics, tuple(keys), ordered, tuple(_compared(groups, metric)))


def _group(id: str, entries: Sequence[Entry], metrics: Sequence[str]) -> Group:
    measured = {name: list(by_seed(entries, name).values()) for name in metrics}
    return Group(id, tuple(entries), {name: spread(values) for name, values in measured.items() if values})


def by_seed(entries: Sequence[Entry], metric: str) -> dict[Any, float]:
    """The metric of the jobs that have it; a config that several sweeps have run is one measurement."""
    values: dict[Any, float] = {}
    for one in entries:
        value = one.metric(metric)
        if value is not None:
            values.setdefault(one.result.get("seed", one.id), value)
    return values


def spread(values: Sequence[float]) -> Spread:
    n, mean = len(values), statistics.fmean(values)
    sd = statistics.stdev(values) if n > 1 else None
    if sd is None or n < FEWEST:
        return Spread(n, mean, sd, None)
    from scipy.special import stdtrit  # scipy.stats is half a second and 75 MB

    return Spread(n, mean, sd, float(stdtrit(n - 1, 1 - LEVEL / 2)) * sd / math.sqrt(n))


def _compared(groups: Sequence[Group], metric: str) -> list[Group]:
    """The groups with what is to be said of each beside the first, which is the best."""
    measured = [group for group in groups if metric in group.spreads]
    values = [by_seed(group.entries, metric) for group in measured]
    tests = [compare(one, values[0]) for one in values[1:]]
    corrected = iter(holm([one.p for one in tests if isinstance(one, Comparison)]))
    compared = [replace(group, note="best") for group in measured[:1]]
    for group, test in zip(measured[1:], tests, strict=True):
        comparison = Comparison(test.test, next(corrected)) if isinstance(test, Comparison) else None
        note = comparison.text if comparison else str(test)
        compared.append(replace(group, note=note, comparison=comparison))
    return [*compared, *groups[len(measured) :]]


def compare(one: Mapping[Any, float], other: Mapping[Any, float]) -> Comparison | str:
    """The test of equal means, or why there is none; values by seed."""
    if min(len(one), len(other)) < FEWEST:
        return "too few seeds"
    paired = one.keys() == other.keys()
    differences = [one[seed] - other[seed] for seed in one] if paired else []
    if _is_constant(differences) if paired else _is_constant(one.values()) and _is_constant(other.values()):
        return "same at every seed" if paired and not any(differences) else "no spread to test by"
    if paired:
        return Comparison("paired t-test", _p_value([differences]))
    return Comparison("Welch's t-test", _p_value([list(one.values()), list(other.values())]))


def _p_value(samples: Sequence[Sequence[float]]) -> float:
    """Of one sample's mean being 0, or of two having the same (Welch's degrees of freedom); two-sided."""
    from scipy.special import stdtr

    errors = [statistics.variance(one) / len(one) for one in samples]  # of each mean, squared
    freedom = sum(errors) ** 2 / sum(e**2 / (len(one) - 1) for e, one in zip(errors, samples, strict=True))
    first, *second = map(statistics.fmean, samples)
    t = (first - sum(second)) / math.sqrt(sum(errors))
    return 2 * float(stdtr(freedom, -abs(t)))


def _is_constant(values: Any) -> bool:
    """Equal but for rounding: their deviation is no estimate of anything."""
    return max(values) - min(values) <= 1e-9 * max(map(abs, values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: the k-th least of m times m - k + 1, and none below the one before it."""
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[at]))
        corrected[at] = least
    return corrected


def entries_of(folders: Sequence[Path]) -> list[Entry]:
    """All jobs of these sweep folders. Raises `UserError` for any other folder."""
    once = {folder.resolve(): folder for folder in folders}  # a folder named twice would count twice
    entries: list[Entry] = []
    for folder in once.values():
        sweep = SweepFolder(folder)
        manifest = sweep.manifest
        if manifest is None:
            raise UserError(
                f"leaderboard={folder}: no sweep folder: it has no sweep.json\n"
                "  the sweeps are in outputs/sweeps/"
            )
        entries += sweep.entries(manifest.jobs).values()
    return entries
