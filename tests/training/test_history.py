"""metrics.csv and what is kept of it in a checkpoint."""

import csv
import json
from dataclasses import asdict
from pathlib import Path

import pytest

from assay.training.history import History, MetricsFile, columns
from assay.training.tasks import Classification, Sums

TASK = Classification()
COLUMNS = columns(TASK)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_rows_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", COLUMNS)
    file.append({"step": 5, "train/loss": 0.1})
    (row,) = read(tmp_path / "metrics.csv")
    assert tuple(row) == COLUMNS
    assert (row["step"], float(row["train/loss"]), row["val/loss"]) == ("5", 0.1, "")
    file.close()


def test_a_resumed_file_keeps_the_rows_that_the_checkpoint_counts(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, COLUMNS)
    for step in range(4):
        file.append({"step": step})
    file.close()
    with path.open("a") as torn:
        torn.write("4,4,")  # a row that a killed process did not finish
    file = MetricsFile(path, COLUMNS, keep_rows=2)
    file.append({"step": 2})
    file.close()
    assert [row["step"] for row in read(path)] == ["0", "1", "2"]


def test_a_value_of_a_new_name_adds_a_column_that_a_resumed_file_keeps(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    file = MetricsFile(path, COLUMNS)
    file.append({"step": 1})
    file.append({"step": 2, "mine, ümlaut": 0.5})
    file.append({"step": 3})
    file.close()
    assert [row["mine, ümlaut"] for row in read(path)] == ["", "0.5", ""]
    file = MetricsFile(path, COLUMNS, keep_rows=2)
    file.append({"step": 7, "mine, ümlaut": 1.5})
    file.close()
    assert [(row["step"], row["mine, ümlaut"]) for row in read(path)] == [
        ("1", ""),
        ("2", "0.5"),
        ("7", "1.5"),
    ]


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    file = MetricsFile(tmp_path / "metrics.csv", COLUMNS)
    file.append({"step": 1, "train/loss": value})
    file.close()
    assert float(read(tmp_path / "metrics.csv")[0]["train/loss"]) == value


def test_means_are_over_samples() -> None:
    sums = Sums()
    sums.add(1.0, {"accuracy": 4}, samples=4)
    sums.add(4.0, {"accuracy": 0}, samples=2)
    assert sums.metrics(TASK, "train/") == {
        "train/loss": pytest.approx(2.0),
        "train/accuracy": pytest.approx(4 / 6),
    }


def test_history_survives_a_checkpoint_as_plain_data() -> None:
    history = History(
        "val/loss", "min", window=Sums(1.0, {"accuracy": 2.0}, 3), epoch_seconds=[0.5], best={"step": 7}
    )
    assert History.from_state(json.loads(json.dumps(asdict(history)))) == history
