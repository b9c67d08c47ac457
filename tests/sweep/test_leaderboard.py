"""The pure function, on made-up results."""

import json
import math
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from assay.sweep.job import Entry
from assay.sweep.leaderboard import Comparison, compare, holm, leaderboard, spread
from assay.sweep.plan import ranking
from assay.sweep.report import files, groups_table, jobs_of, jobs_table
from tests.runs import config

ACCURACY = {"sgd": (0.95, 0.96, 0.97), "adam": (0.90, 0.905, 0.91)}


def entry(
    optimizer: str, seed: int, accuracy: float, status: str = "completed", reason: str | None = None
) -> Entry:
    result: dict[str, Any] = {
        "metrics": {"val/accuracy": accuracy, "val/loss": 1 - accuracy, "test/accuracy": accuracy - 0.01},
        "last": {"val/accuracy": accuracy},
        "seconds": {"fit": 1.0, "total": 2.0},
        "epochs": 2,
        "steps": 10,
        "samples_per_second": 5.0,
        "seed": seed,
    }
    words = (f"optimizer={optimizer}", f"seed={seed}", "trainer.max_epochs=2")
    folder = Path("sweeps/demo/jobs", f"{optimizer}{seed}")
    return Entry(folder.name, optimizer, folder.name, words, folder, status, reason, result)


@pytest.fixture
def entries() -> list[Entry]:
    return [entry(name, seed, value) for name in ACCURACY for seed, value in enumerate(ACCURACY[name])]


def test_rows_are_ranked_by_the_metric_and_show_changed_keys_only(entries: list[Entry]) -> None:
    board = leaderboard(entries)
    assert [one.id for one in board.entries] == ["sgd2", "sgd1", "sgd0", "adam2", "adam1", "adam0"]
    assert [job["rank"] for job in jobs_of(board)] == [1, 2, 3, 4, 5, 6]
    assert board.keys == ("optimizer", "seed")


def test_groups_have_mean_and_deviation_over_seeds(entries: list[Entry]) -> None:
    best, other = leaderboard(entries).groups
    assert (best.id, other.id) == ("sgd", "adam")
    found = best.spreads["val/accuracy"]
    assert found.n == 3
    assert found.mean == statistics.fmean(ACCURACY["sgd"])
    assert found.sd == statistics.stdev(ACCURACY["sgd"])
    assert found.half_width == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-5)
    assert best.note == "best" and best.comparison is None
    assert other.note.startswith("differs from the best (paired t-test, p = 0.00")


def test_with_two_seeds_nothing_is_claimed() -> None:
    board = leaderboard(
        [entry("sgd", 0, 0.96), entry("sgd", 1, 0.96), entry("adam", 0, 0.91), entry("adam", 1, 0.91)]
    )
    assert [group.note for group in board.groups] == ["best", "too few seeds"]
    assert "96.00%" in groups_table(board).rows[0]


def test_failures_come_last_with_their_reason(entries: list[Entry]) -> None:
    bad = [entry("sgd", 9, 1.0, "failed", "boom\nat step 3"), entry("sgd", 8, 1.0, "pending")]
    board = leaderboard([*bad, *entries])
    assert [one.status for one in board.entries][-2:] == ["pending", "failed"]
    assert jobs_of(board)[-1]["rank"] is None
    assert files(board)["leaderboard.csv"].splitlines()[-1].endswith("boom; at step 3")
    assert [one.id for one in board.failures] == ["sgd9"]


def test_a_loss_is_better_when_it_is_less(entries: list[Entry]) -> None:
    assert ranking(config("sweep.metric=val/loss"), {"accuracy": "max"}).direction == "min"
    assert leaderboard(entries, "val/loss", "min").entries[0].id == "sgd2"
    assert leaderboard(entries, "val/accuracy", "min").entries[0].id == "adam0"


def test_the_files_hold_full_precision(entries: list[Entry]) -> None:
    board = leaderboard(entries)
    whole = json.loads(files(board)["leaderboard.json"])
    assert whole["rows"][0]["val/accuracy"] == 0.97
    assert whole["groups"][0]["metrics"]["val/accuracy"]["sd"] == statistics.stdev(ACCURACY["sgd"])
    assert whole["groups"][1]["comparison"]["test"] == "paired t-test"
    assert "| sgd | 3 | 96.00% ± 2.48 | 1.00 |" in files(board)["leaderboard.md"]


def test_what_a_user_typed_is_no_markup_in_markdown() -> None:
    board = leaderboard([entry("<img src=x>|", 0, 0.9), entry("sgd", 0, 0.8)])
    assert "&lt;img src=x&gt;\\|" in files(board)["leaderboard.md"]


def test_no_column_is_shown_twice(entries: list[Entry]) -> None:
    board = leaderboard(entries, "test/accuracy")
    csv_columns = files(board)["leaderboard.csv"].splitlines()[0].split(",")
    for names in (csv_columns, jobs_table(board).columns, groups_table(board).columns):
        assert names.count("test/accuracy") == 1
        assert "last test/accuracy" not in names


def test_a_config_that_two_sweeps_have_run_is_one_measurement(entries: list[Entry]) -> None:
    again = [replace(one, folder=Path("sweeps/other/jobs", one.id)) for one in entries]
    once, twice = leaderboard(entries), leaderboard([*entries, *again])
    assert len(twice.entries) == 2 * len(once.entries)
    assert [group.spreads for group in twice.groups] == [group.spreads for group in once.groups]
    assert [group.note for group in twice.groups] == [group.note for group in once.groups]


def test_an_empty_half_is_no_obstacle() -> None:
    board = leaderboard([entry("sgd", 0, 0.9, "running")])
    assert jobs_of(board)[0]["rank"] is None
    assert not board.groups[0].spreads


@pytest.mark.parametrize(("n", "quantile"), [(3, 4.302653), (5, 2.776445), (10, 2.262157), (31, 2.042272)])
def test_the_interval_is_students(n: int, quantile: float) -> None:
    """Against the quantiles of a printed table."""
    values = [float(at) for at in range(n)]
    wanted = quantile * statistics.stdev(values) / math.sqrt(n)
    assert spread(values).half_width == pytest.approx(wanted, rel=1e-6)


def test_fewer_than_three_seeds_have_no_interval() -> None:
    assert (spread([0.5]).sd, spread([0.5]).half_width) == (None, None)
    assert (spread([1.0, 2.0]).sd, spread([1.0, 2.0]).half_width) == (statistics.stdev([1, 2]), None)


SLEEP = (
    [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
    [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
)


def test_the_same_seeds_are_paired_and_others_are_not() -> None:
    """Student's own data (1908), as R's t.test answers: p = 0.002833 paired, 0.07939 by Welch's test."""
    one, other = (dict(enumerate(values)) for values in SLEEP)
    shifted = {seed + 100: value for seed, value in other.items()}
    paired, welch = compare(one, other), compare(one, shifted)
    assert isinstance(paired, Comparison) and isinstance(welch, Comparison)
    assert (paired.test, welch.test) == ("paired t-test", "Welch's t-test")
    assert paired.p == pytest.approx(0.002833, abs=1e-6)
    assert welch.p == pytest.approx(0.07939, abs=1e-5)


def test_where_nothing_varies_no_p_is_made_up() -> None:
    same, less = dict.fromkeys(range(3), 0.9), dict.fromkeys(range(3), 0.8)
    assert compare(same, same) == "same at every seed"
    assert compare(same, less) == "no spread to test by"
    assert compare(same, {seed + 9: value for seed, value in less.items()}) == "no spread to test by"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_comparisons_are_corrected_for_their_number() -> None:
    values = {"a": (0.96, 0.97, 0.98), "b": (0.90, 0.93, 0.95), "c": (0.90, 0.93, 0.95)}
    board = leaderboard([entry(name, seed, one) for name in values for seed, one in enumerate(values[name])])
    alone = compare(dict(enumerate(values["b"])), dict(enumerate(values["a"])))
    assert isinstance(alone, Comparison)
    assert [one.comparison.p for one in board.groups if one.comparison] == pytest.approx([2 * alone.p] * 2)


def test_the_p_values_are_those_of_scipy() -> None:
    one, other = {0: 0.91, 1: 0.94, 2: 0.93, 3: 0.95}, {0: 0.90, 1: 0.91, 2: 0.93, 3: 0.92}
    paired, welch = compare(one, other), compare(one, {seed + 9: value for seed, value in other.items()})
    assert isinstance(paired, Comparison) and isinstance(welch, Comparison)
    a, b = list(one.values()), list(other.values())
    tested: list[Any] = [stats.ttest_rel(a, b), stats.ttest_ind(a, b, equal_var=False)]
    assert [paired.p, welch.p] == pytest.approx([one.pvalue for one in tested])
    half = spread(a).half_width
    assert half == pytest.approx(stats.t.ppf(0.975, 3) * stats.sem(a))
