"""The derived numbers against cases that can be done by hand."""

import numpy as np
import pytest

from assay.bench.statistics import (
    crossover,
    group_interval,
    median_interval,
    outliers,
    paired_ratio,
    ratio,
    relative_width,
)


def test_the_interval_of_a_median_needs_six_times() -> None:
    assert median_interval([1.0] * 5) is None
    assert relative_width([1.0] * 5) == float("inf")
    assert median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0]) == (1.0, 6.0)


def test_the_interval_has_the_ranks_of_the_binomial_table() -> None:
    times = [float(i) for i in range(1, 21)]
    assert median_interval(times) == (6.0, 15.0)  # n = 20: ranks 6 and 15 (Conover, table A3)


def test_the_interval_covers_the_true_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        interval = median_interval(list(random.exponential(size=25)))
        assert interval is not None
        covered += interval.low <= np.log(2) <= interval.high
    assert covered / 500 >= 0.94


def test_the_interval_of_many_times_is_narrow() -> None:
    random = np.random.default_rng(0)
    assert relative_width(list(random.normal(10, 1, size=5_000))) < 0.005


def test_outliers_are_far_in_units_of_the_usual_deviation() -> None:
    assert outliers([1.0, 1.01, 0.99, 1.02, 0.98, 5.0]) == [5]
    assert outliers([1.0, 1.0, 1.0]) == []


def test_the_ratio_of_equal_sets_holds_one_and_of_shifted_ones_does_not() -> None:
    random = np.random.default_rng(0)
    before, after = random.normal(10, 0.1, 50), random.normal(10, 0.1, 50)
    same = ratio([list(before)], [list(after)])
    assert same.interval is not None and same.interval.low < 1 < same.interval.high
    slower = ratio([list(1.1 * after)], [list(before)])
    assert slower.interval is not None and slower.interval.low > 1.08
    assert ratio([list(before)], [list(after)]) == same  # seeded


def test_processes_are_resampled_and_not_their_times() -> None:
    random = np.random.default_rng(0)
    groups = [list(middle + random.normal(0, 0.01, 100)) for middle in (10, 11, 12, 13, 14)]
    interval = group_interval(groups)
    assert interval is not None and interval.low < 11 and interval.high > 13
    assert group_interval(groups[:3]) is None


def test_rounds_are_compared_within_themselves() -> None:
    speed = [1.0, 5.0, 2.0, 9.0, 3.0, 1.5, 4.0]  # of the machine, round by round
    found = paired_ratio([1.1 * s for s in speed], speed)
    assert found.value == pytest.approx(1.1)
    assert found.interval == pytest.approx((1.1, 1.1))
    few = paired_ratio([1.0, 2.0], [1.0, 1.0, 1.0])  # a third round that only one of them reached
    assert (few.value, few.interval, few.reason) == (1.5, None, "2 times: no interval")


@pytest.mark.parametrize(
    ("ours", "found"),
    [
        ({1: 9.0, 2: 9.0, 4: 1.0, 8: 1.0}, 4),
        ({1: 1.0, 2: 9.0, 4: 1.0, 8: 1.0}, 4),  # one lucky small size is no crossover
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 9.0}, None),  # slower at the largest: never
        ({1: 1.0, 2: 1.0, 4: 1.0, 8: 1.0}, 1),
        ({16: 1.0}, None),  # no size in common
    ],
)
def test_crossover_is_the_size_from_which_all_larger_ones_win(
    ours: dict[int, float], found: int | None
) -> None:
    theirs = {1: 5.0, 2: 5.0, 4: 5.0, 8: 5.0}
    assert crossover(ours, theirs) == found
