"""The pure function, on made-up results."""

import json
import math
import statistics
from dataclasses import replace
from typing import Any

import pytest

from assay.sweep.leaderboard import Entry, direction_of, leaderboard, mark
from assay.sweep.table import as_csv, as_json, as_markdown, group_header, header, row_header

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
    }
    words = (f"optimizer={optimizer}", f"seed={seed}", "trainer.max_epochs=2")
    return Entry(f"{optimizer}{seed}", optimizer, "demo", "", words, status, reason, result, {})


@pytest.fixture
def entries() -> list[Entry]:
    return [entry(name, seed, value) for name in ACCURACY for seed, value in enumerate(ACCURACY[name])]


def test_rows_are_ranked_by_the_metric_and_show_changed_keys_only(entries: list[Entry]) -> None:
    board = leaderboard(entries)
    assert [row.entry.id for row in board.rows] == ["sgd2", "sgd1", "sgd0", "adam2", "adam1", "adam0"]
    assert [row.rank for row in board.rows] == [1, 2, 3, 4, 5, 6]
    assert board.keys == ("optimizer", "seed")


def test_groups_have_mean_and_deviation_over_seeds(entries: list[Entry]) -> None:
    best, other = leaderboard(entries).groups
    assert (best.id, other.id) == ("sgd", "adam")
    found = best.spreads["val/accuracy"]
    assert found.n == 3
    assert found.mean == statistics.fmean(ACCURACY["sgd"])
    assert found.sd == statistics.stdev(ACCURACY["sgd"])
    assert found.half_width == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-5)
    assert (mark(best), mark(other), other.is_apart) == ("best", "", True)


def test_a_group_that_cannot_be_told_apart_is_marked() -> None:
    board = leaderboard(
        [entry("sgd", 0, 0.90), entry("sgd", 1, 0.96), entry("adam", 0, 0.91), entry("adam", 1, 0.94)]
    )
    assert mark(board.groups[1]) == "not told apart from the best"


def test_failures_come_last_with_their_reason(entries: list[Entry]) -> None:
    bad = [entry("sgd", 9, 1.0, "failed", "boom\nat step 3"), entry("sgd", 8, 1.0, "pending")]
    board = leaderboard([*bad, *entries])
    assert [row.entry.status for row in board.rows][-2:] == ["pending", "failed"]
    assert board.rows[-1].rank is None
    assert as_csv(board).splitlines()[-1].endswith("boom; at step 3")
    assert [one.id for one in board.failures] == ["sgd9"]


def test_a_loss_is_better_when_it_is_less(entries: list[Entry]) -> None:
    assert direction_of("val/loss", "auto") == "min"
    assert leaderboard(entries, "val/loss").rows[0].entry.id == "sgd2"
    assert leaderboard(entries, "val/accuracy", "min").rows[0].entry.id == "adam0"


def test_the_files_hold_full_precision(entries: list[Entry]) -> None:
    board = leaderboard(entries)
    whole = json.loads(as_json(board))
    assert whole["rows"][0]["val/accuracy"] == 0.97
    assert whole["groups"][0]["metrics"]["val/accuracy"]["sd"] == statistics.stdev(ACCURACY["sgd"])
    assert "| sgd | 3 | 96.00% ± 2.48 | 1.00 |" in as_markdown(board)


def test_no_column_is_shown_twice(entries: list[Entry]) -> None:
    board = leaderboard(entries, "test/accuracy")
    for names in (header(board), row_header(board), group_header(board)):
        assert names.count("test/accuracy") == 1
        assert "last test/accuracy" not in names
        assert len(set(names)) == len(names)


def test_a_config_that_two_sweeps_have_run_is_one_measurement(entries: list[Entry]) -> None:
    again = [replace(one, sweep="other") for one in entries]
    once, twice = leaderboard(entries), leaderboard([*entries, *again])
    assert len(twice.rows) == 2 * len(once.rows)
    assert [group.spreads for group in twice.groups] == [group.spreads for group in once.groups]
    assert [group.is_apart for group in twice.groups] == [group.is_apart for group in once.groups]


def test_an_empty_half_is_no_obstacle() -> None:
    board = leaderboard([entry("sgd", 0, 0.9, "running")])
    assert board.rows[0].rank is None
    assert not board.groups[0].spreads
