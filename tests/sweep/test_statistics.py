"""Against tables: Student (1908) as printed in any textbook, and values of R's pt, qt, t.test."""

import math

import pytest

from assay.sweep.statistics import spread, t_cdf, t_quantile, told_apart, welch


@pytest.mark.parametrize(
    ("freedom", "quantile"), [(1, 12.706205), (2, 4.302653), (4, 2.776445), (9, 2.262157), (30, 2.042272)]
)
def test_quantiles_are_those_of_the_table(freedom: int, quantile: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(quantile, abs=2e-6)


def test_the_distribution_is_that_of_cauchy_for_one_degree_of_freedom() -> None:
    for t in (-3.0, -0.5, 0.0, 0.5, 3.0):
        assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-9)


def test_the_spread_of_three_values_by_hand() -> None:
    found = spread([1.0, 2.0, 3.0])
    assert (found.n, found.mean, found.sd) == (3, 2.0, 1.0)
    assert found.half_width == pytest.approx(4.302653 / math.sqrt(3), abs=1e-5)


def test_one_value_has_no_spread() -> None:
    found = spread([0.5])
    assert (found.sd, found.half_width) == (None, None)


def test_welch_needs_two_values_on_each_side() -> None:
    assert welch([1.0], [1.0, 2.0]) is None
    assert told_apart([1.0], [1.0, 2.0]) is None


def test_equal_constants_are_not_told_apart_and_unequal_ones_are() -> None:
    assert told_apart([0.9, 0.9], [0.9, 0.9]) is False
    assert told_apart([0.9, 0.9], [0.8, 0.8]) is True


def test_far_groups_are_told_apart_and_near_ones_are_not() -> None:
    assert told_apart([0.97, 0.971, 0.972], [0.90, 0.905, 0.91]) is True
    assert told_apart([0.90, 0.95, 0.97], [0.91, 0.94, 0.96]) is False
