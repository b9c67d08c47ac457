"""Mean, spread and interval of a few seeds, and whether two groups of seeds can be told apart.

Student's t (1908) for the interval of a mean, Welch's test (1947) for the difference of two: both for few
values of roughly normal spread, the second without the assumption of equal variances. The distribution comes
from the continued fraction of the incomplete beta function (Abramowitz and Stegun 26.5.8), by Lentz's method.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05


@dataclass(frozen=True)
class Spread:
    """A mean over `n` values; `sd` (of a sample, n - 1) and `half_width` (95 %) need two of them."""

    n: int
    mean: float
    sd: float | None
    half_width: float | None


def spread(values: Sequence[float]) -> Spread:
    n, mean = len(values), statistics.fmean(values)
    if n < 2:
        return Spread(n, mean, None, None)
    sd = statistics.stdev(values)
    return Spread(n, mean, sd, t_quantile(1 - LEVEL / 2, n - 1) * sd / math.sqrt(n))


def told_apart(one: Sequence[float], other: Sequence[float]) -> bool | None:
    """Whether the means differ at the 5 % level (Welch, two-sided); None where either has fewer than two."""
    p = welch(one, other)
    return None if p is None else p < LEVEL


def welch(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The two-sided p-value of equal means; None where either has fewer than two values."""
    if min(len(one), len(other)) < 2:
        return None
    a, b = (statistics.variance(values) / len(values) for values in (one, other))
    difference = statistics.fmean(one) - statistics.fmean(other)
    if a + b == 0:
        return 1.0 if difference == 0 else 0.0
    freedom = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
    return 2 * (1 - t_cdf(abs(difference) / math.sqrt(a + b), freedom))


def t_cdf(t: float, freedom: float) -> float:
    """Student's t distribution function."""
    tail = incomplete_beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2
    return 1 - tail if t > 0 else tail


def t_quantile(p: float, freedom: float) -> float:
    """The t below which lies the share `p` >= 1/2, by bisection to the last bits."""
    low, high = 0.0, 1.0
    while t_cdf(high, freedom) < p:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return (low + high) / 2


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(1 - x, b, a)
    log = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log) / (a * _fraction(x, a, b))


def _fraction(x: float, a: float, b: float) -> float:
    """1 + d1/(1 + d2/(1 + ...)), the reciprocal of the continued fraction in 26.5.8."""
    tiny = 1e-300
    value, upper, lower = 1.0, 1.0, 0.0
    for step in range(1, 500):
        m = step // 2
        if step % 2:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        else:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        lower = 1 / (1 + term * lower or tiny)
        upper = 1 + term / upper or tiny
        change = upper * lower
        value *= change
        if abs(change - 1) < 1e-15:
            break
    return value
