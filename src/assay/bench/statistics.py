"""What is derived from raw times: median, spread, interval, outliers, and how two sets compare.

Medians, because a computer's delays only ever add time: the mean follows the worst interruption. The interval
of a median is the exact one from order statistics (Conover, Practical Nonparametric Statistics, ch. 3), which
assumes nothing of the distribution. Outliers are flagged by the modified z-score of Iglewicz and Hoaglin
(1993), as hyperfine does, and never dropped. Two sets are compared by a bootstrap of the ratio of their
medians.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

CONFIDENCE = 0.95
OUTLIER_SCORE = 3.5  # Iglewicz and Hoaglin's threshold
BOOTSTRAPS = 4_000


class Interval(NamedTuple):
    low: float
    high: float


def median(times: Sequence[float]) -> float:
    return statistics.median(times)


def iqr(times: Sequence[float]) -> float:
    """The distance between the quartiles; 0 for a single value."""
    low, high = np.percentile(times, (25, 75))
    return float(high - low)


def median_interval(times: Sequence[float], confidence: float = CONFIDENCE) -> Interval | None:
    """The interval that covers the true median with at least `confidence`; None for too few times.

    Six times are the fewest that give 95 %.
    """
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
    if interval is None:
        return math.inf
    return (interval.high - interval.low) / 2 / median(times)


def outliers(times: Sequence[float]) -> list[int]:
    """The positions of times far from the median, in units of the median absolute deviation."""
    middle = median(times)
    deviation = median([abs(t - middle) for t in times])
    if deviation == 0:
        return []
    return [i for i, t in enumerate(times) if 0.6745 * abs(t - middle) / deviation > OUTLIER_SCORE]


def ratio_interval(before: Sequence[float], after: Sequence[float], seed: int = 0) -> Interval:
    """Where the ratio of the medians, after over before, lies with 95 %: a percentile bootstrap."""
    random = np.random.default_rng(seed)
    medians = [
        np.median(random.choice(np.asarray(times), size=(BOOTSTRAPS, len(times))), axis=1)
        for times in (before, after)
    ]
    low, high = np.percentile(medians[1] / medians[0], (2.5, 97.5))
    return Interval(float(low), float(high))


def crossover(ours: Sequence[tuple[int, float]], theirs: Sequence[tuple[int, float]]) -> int | None:
    """The smallest size from which we are faster at all larger sizes that both measured; None if at none.

    The definition of GPU-BLOB (Performance Modeling, Benchmarking and Simulation 2024): one lucky small size
    is no crossover.
    """
    other = dict(theirs)
    found: int | None = None
    for size, seconds in sorted(ours, reverse=True):
        if size not in other:
            continue
        if seconds >= other[size]:
            break
        found = size
    return found
