"""What is derived from raw times: median, interval, outliers, ratios with intervals, and verdicts.

Medians, because a computer's delays only ever add time. The interval of a median is the exact one from order
statistics (Conover, Practical Nonparametric Statistics, ch. 3); outliers are flagged by the modified z-score
of Iglewicz and Hoaglin (1993), never dropped. Times of one process are not independent of each other, so
where there are several processes their medians are resampled, not their times (Kalibera and Jones, Rigorous
Benchmarking in Reasonable Time, 2013). Times come as groups: one sequence a process.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, NamedTuple

import numpy as np

CONFIDENCE = 0.95
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
        around = (
            self.reason if self.interval is None else f"{self.interval.low:.3g} .. {self.interval.high:.3g}"
        )
        return f"{self.value:.3g} ({around})"


def iqr(times: Sequence[float]) -> float:
    """The distance between the quartiles; 0 for a single value."""
    low, high = np.percentile(times, (25, 75))
    return float(high - low)


def median_interval(times: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval that covers the true median with at least `confidence`; None for too few times."""
    n = len(times)
    missed = (1 - confidence) / 2
    rank, tail = 0, 0.0
    while rank < n // 2:
        tail += _probability(n, rank)
        if tail > missed:
            break
        rank += 1
    if rank == 0:
        return None
    ordered = sorted(times)
    return Interval(ordered[rank - 1], ordered[n - rank])


def _probability(n: int, rank: int) -> float:
    """The binomial probability of `rank` of `n` at one half; by logarithms, as 0.5**n underflows."""
    log = math.lgamma(n + 1) - math.lgamma(rank + 1) - math.lgamma(n - rank + 1) - n * math.log(2)
    return math.exp(log)


def relative_width(times: Sequence[float]) -> float:
    """Half the median's interval over the median; infinite where there are too few times for one."""
    interval = median_interval(times)
    return math.inf if interval is None else (interval.high - interval.low) / 2 / median(times)


def outliers(times: Sequence[float]) -> list[int]:
    """The positions of times far from the median, in units of the median absolute deviation."""
    middle = median(times)
    deviation = median(abs(t - middle) for t in times)
    if deviation == 0:
        return []
    return [i for i, t in enumerate(times) if 0.6745 * abs(t - middle) / deviation > OUTLIER_SCORE]


def group_median(groups: Groups) -> float:
    """The median of the processes' medians."""
    return median(median(times) for times in groups)


def group_interval(groups: Groups) -> Interval | None:
    """The interval of one side; None for too few times or processes."""
    if len(groups) == 1:
        return median_interval(groups[0])
    if too_few(groups):
        return None
    low, high = np.percentile(_resampled(groups, np.random.default_rng(0)), (2.5, 97.5))
    return Interval(float(low), float(high))


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
    low, high = np.percentile(_resampled(over, random) / _resampled(under, random), (2.5, 97.5))
    return Ratio(value, Interval(float(low), float(high)))


def _resampled(groups: Groups, random: np.random.Generator) -> Any:
    """Medians of so many resamplings: of the processes' medians, or of the times of a single process."""
    drawn = groups[0] if len(groups) == 1 else [median(times) for times in groups]
    return np.median(random.choice(np.asarray(drawn), size=(BOOTSTRAPS, len(drawn))), axis=1)


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> Ratio:
    """The median of the ratios within each round that both have, with its exact interval."""
    ratios = [a / b for a, b in zip(over, under, strict=False)]
    return Ratio(median(ratios), median_interval(ratios), too_few([ratios]))


def verdict(found: Ratio) -> Verdict:
    """What the interval of after over before allows to say: it must lie wholly on one side of the margin."""
    if found.interval is None:
        return "UNCLEAR"
    low, high = found.interval
    if high < 1 - MARGIN:
        return "FASTER"
    if low > 1 + MARGIN:
        return "SLOWER"
    return "SAME" if low >= 1 - MARGIN and high <= 1 + MARGIN else "UNCLEAR"


def crossover(ours: Sequence[tuple[int, float]], theirs: Sequence[tuple[int, float]]) -> int | None:
    """The smallest size from which we are faster at all larger sizes that both measured; None if at none.

    The definition of GPU-BLOB (Performance Modeling, Benchmarking and Simulation 2024): one lucky small size
    is no crossover.
    """
    other = dict(theirs)
    smallest: int | None = None
    for size, time in sorted(ours, reverse=True):
        if size not in other:
            continue
        if time >= other[size]:
            break
        smallest = size
    return smallest
