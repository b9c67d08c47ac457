"""What is derived from raw times: median, interval, outliers, ratios with intervals, and verdicts.

Times come as groups, one sequence a process. Times of one process are not independent of each other, so where
there are several, their medians are resampled (Kalibera and Jones, Rigorous Benchmarking in Reasonable Time).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import bdtr

FEWEST_TIMES = 6  # that give a median's interval
FEWEST_PROCESSES = 4  # a side: that 4 + 4 stand apart by chance is less likely than 5 %
OUTLIER_SCORE = 3.5  # Iglewicz and Hoaglin's threshold
BOOTSTRAPS = 4_000
MARGIN = 0.02  # that a difference must exceed to be one

Groups = Sequence[Sequence[float]]
Verdict = Literal["SAME", "FASTER", "SLOWER", "UNCLEAR"]


class Interval(NamedTuple):
    low: float
    high: float


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its 95 % interval, or why there is none."""

    value: float
    interval: Interval | None
    reason: str = ""

    def __str__(self) -> str:
        around = f"{self.interval.low:.3g} .. {self.interval.high:.3g}" if self.interval else self.reason
        return f"{self.value:.3g} ({around})"


def median_interval(times: Sequence[float]) -> Interval | None:
    """The exact interval that covers the true median with at least 95 %; None for too few times.

    From order statistics: Conover, Practical Nonparametric Statistics, ch. 3.
    """
    rank = int((bdtr(np.arange(len(times)), len(times), 0.5) <= 0.025).sum())  # of the binomial distribution
    ordered = sorted(times)
    return Interval(ordered[rank - 1], ordered[-rank]) if rank else None


def relative_width(times: Sequence[float]) -> float:
    """Half the median's interval over the median; infinite where there are too few times for one."""
    interval = median_interval(times)
    return (interval.high - interval.low) / 2 / median(times) if interval else math.inf


def outliers(times: Sequence[float]) -> list[int]:
    """The positions of times whose modified z-score is large (Iglewicz and Hoaglin, 1993)."""
    middle = median(times)
    deviation = median(abs(t - middle) for t in times)
    return [i for i, t in enumerate(times) if 0.6745 * abs(t - middle) > OUTLIER_SCORE * deviation > 0]


def group_median(groups: Groups) -> float:
    """The median of the processes' medians."""
    return median(median(times) for times in groups)


def group_interval(groups: Groups) -> Interval | None:
    """The interval of one side; None for too few times or processes."""
    if len(groups) == 1:
        return median_interval(groups[0])
    return None if too_few(groups) else _middle(_resampled(groups, np.random.default_rng(0)))


def too_few(groups: Groups) -> str:
    """Why these times allow no interval, else nothing."""
    count = min(len(times) for times in groups)
    if 1 < len(groups) < FEWEST_PROCESSES:
        return f"{len(groups)} processes: no interval"
    if len(groups) == 1 and count < FEWEST_TIMES:
        return f"{count} time{'s' if count > 1 else ''}: no interval"
    return ""


def ratio(over: Groups, under: Groups, seed: int = 0) -> Ratio:
    """The ratio of two medians, with a percentile bootstrap of both sides."""
    value = group_median(over) / group_median(under)
    if reason := too_few(over) or too_few(under):
        return Ratio(value, None, reason)
    random = np.random.default_rng(seed)
    return Ratio(value, _middle(_resampled(over, random) / _resampled(under, random)))


def _resampled(groups: Groups, random: np.random.Generator) -> Any:
    """Medians of so many resamplings: of the processes' medians, or of the times of a single process."""
    drawn = groups[0] if len(groups) == 1 else [median(times) for times in groups]
    return np.median(random.choice(np.asarray(drawn), size=(BOOTSTRAPS, len(drawn))), axis=1)


def _middle(values: Any) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return Interval(float(low), float(high))


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """The median of the ratios within each round that both have, with its exact interval."""
    ratios = [a / b for a, b in zip(over, under, strict=False)]
    return Ratio(median(ratios), median_interval(ratios), too_few([ratios]))


def verdict(change: Ratio) -> Verdict:
    """What the interval of after over before allows to say: it must lie wholly on one side of the margin."""
    if change.interval is None:
        return "UNCLEAR"
    low, high = change.interval
    if high < 1 - MARGIN:
        return "FASTER"
    if low > 1 + MARGIN:
        return "SLOWER"
    return "SAME" if low >= 1 - MARGIN and high <= 1 + MARGIN else "UNCLEAR"


def crossover(ours: Mapping[int, float], theirs: Mapping[int, float]) -> int | None:
    """The smallest size from which our time is less at all larger sizes that both have; None if at none.

    As GPU-BLOB defines it (PMBS 2024): one lucky small size is no crossover.
    """
    smallest: int | None = None
    for size in sorted(ours.keys() & theirs.keys(), reverse=True):
        if ours[size] >= theirs[size]:
            break
        smallest = size
    return smallest
