"""The leaderboard: a pure function of what the folders of jobs say.

Rows are jobs: completed ones by the metric, then those that are not finished, failed ones last with their
reason. Groups are the jobs that differ in their seed alone; one whose mean cannot be told from that of the
best group (Welch's test at 5 %) is marked.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from assay.sweep.jobs import key_of, swept_keys, value_of
from assay.sweep.statistics import Spread, spread, told_apart

METRICS = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
PLACE = {"completed": 0, "running": 1, "interrupted": 2, "pending": 3, "diverged": 4, "failed": 5}


@dataclass(frozen=True)
class Entry:
    """A job as its folders tell it: the raw data of the leaderboard."""

    id: str
    group: str
    sweep: str  # the name of its sweep
    folder: str
    words: tuple[str, ...]
    status: str
    reason: str | None
    result: Mapping[str, Any]
    config: Mapping[str, Any]  # resolved; empty before the job has begun

    def metric(self, name: str) -> float | None:
        """The best checkpoint's; only of a job that completed."""
        return self.result["metrics"].get(name) if self.status == "completed" else None

    def last(self, name: str) -> float | None:
        return self.result.get("last", {}).get(name) if self.status == "completed" else None

    def value(self, key: str) -> str:
        """The value of a key as typed, else that of the config."""
        typed = next((value_of(word) for word in self.words if key_of(word) == key), None)
        if typed is not None:
            return typed
        node: Any = self.config
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        return "" if node is None or isinstance(node, Mapping) else str(node)


@dataclass(frozen=True)
class Row:
    rank: int | None  # None for a job without the metric
    entry: Entry


@dataclass(frozen=True)
class Group:
    """The jobs that differ in their seed alone."""

    id: str
    entries: tuple[Entry, ...]
    spreads: Mapping[str, Spread]  # by metric, over the jobs that completed
    seconds: float | None  # mean over the jobs that completed
    # against the group with the best mean; None where either has fewer than two values
    is_apart: bool | None
    is_best: bool = False

    @property
    def completed(self) -> int:
        return sum(one.status == "completed" for one in self.entries)


@dataclass(frozen=True)
class Leaderboard:
    metric: str
    direction: Literal["max", "min"]
    keys: tuple[str, ...]  # those that differ between jobs
    rows: tuple[Row, ...]
    groups: tuple[Group, ...]

    @property
    def failures(self) -> list[Entry]:
        return [row.entry for row in self.rows if row.entry.status in ("failed", "diverged", "interrupted")]

    @property
    def group_keys(self) -> list[str]:
        return [key for key in self.keys if key != "seed"]


def direction_of(metric: str, wanted: str) -> Literal["max", "min"]:
    """`auto` means less of a loss, more of anything else."""
    if wanted == "auto":
        return "min" if metric.endswith("loss") else "max"
    return "max" if wanted == "max" else "min"


def leaderboard(
    entries: Sequence[Entry], metric: str = "val/accuracy", direction: str = "auto"
) -> Leaderboard:
    """Rows and groups, sorted; equal ones stay in the order given."""
    end = direction_of(metric, direction)
    sign = -1 if end == "max" else 1

    def order(entry: Entry) -> tuple[int, bool, float]:
        value = entry.metric(metric)
        return PLACE.get(entry.status, 9), value is None, sign * (value or 0.0)

    ordered = sorted(entries, key=order)
    rows = tuple(
        Row(None if one.metric(metric) is None else at, one) for at, one in enumerate(ordered, start=1)
    )
    keys = [key for key in swept_keys([one.words for one in entries]) if key not in ("output_dir", "name")]
    if len({entry.sweep for entry in entries}) > 1:
        keys = ["sweep", *keys]
    return Leaderboard(metric, end, tuple(keys), rows, _groups(entries, metric, sign))


def _groups(entries: Sequence[Entry], metric: str, sign: int) -> tuple[Group, ...]:
    members: dict[str, list[Entry]] = {}
    for entry in entries:
        members.setdefault(entry.group, []).append(entry)

    def order(item: tuple[str, list[Entry]]) -> tuple[bool, float]:
        values = values_of(item[1], metric)
        return not values, sign * statistics.fmean(values) if values else 0.0

    ordered = sorted(members.items(), key=order)
    best = values_of(ordered[0][1], metric) if ordered else []
    return tuple(
        _group(id, found, best, metric, is_best=at == 0 and bool(best))
        for at, (id, found) in enumerate(ordered)
    )


def _group(id: str, entries: list[Entry], best: list[float], metric: str, is_best: bool) -> Group:
    spreads = {
        name: spread(values)
        for name in dict.fromkeys((metric, *METRICS))
        if (values := values_of(entries, name))
    }
    seconds = [one.result["seconds"]["total"] for one in entries if one.status == "completed"]
    apart = None if is_best else told_apart(values_of(entries, metric), best)
    return Group(id, tuple(entries), spreads, statistics.fmean(seconds) if seconds else None, apart, is_best)


def values_of(entries: Sequence[Entry], metric: str) -> list[float]:
    """The metric of the jobs that have it; a config that several sweeps have run is one measurement."""
    once = {one.result.get("config_id", one.id): one for one in reversed(entries)}
    return [value for one in reversed(once.values()) if (value := one.metric(metric)) is not None]


def mark(group: Group) -> str:
    """What the comparison with the best group says, in a word."""
    if group.is_best:
        return "best"
    if not group.spreads:
        return ""
    return {None: "n too small to tell", False: "not told apart from the best", True: ""}[group.is_apart]
