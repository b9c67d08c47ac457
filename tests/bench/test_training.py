"""bench=training: Assay against the bare loop, with the same weights at the end."""

import dataclasses
from typing import Any

import pytest
from torch.utils.data import DataLoader, Dataset, Subset

from assay.bench import training
from assay.bench.record import Record
from tests.bench.runs import config, run

SMALL = ("epochs=1", "repeats=1", "optimizers=[sgd]", "batch_sizes=[4096]", "threads=1")


def few(dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
    """For the tutorials' loop, which takes its samples one by one, and so ten times as long as the others."""
    return DataLoader(Subset(dataset, range(2000)), **options)


def test_every_arm_trains_and_the_weights_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DataLoader", few)
    record, report = run("training", *SMALL, "seconds=60")
    assert {m.task.by for m in record.ok()} == {"bare", "assay", "stock", "textbook"}
    assert all(len(m.times) == len(m.parts_s["epoch"]) == 1 for m in record.ok())
    assert all(m.parts_s["epoch"][0] < m.times[0] for m in record.ok())
    assert record.details["different_weights"] == []
    assert not report.failures
    assert len(report.tables[0].rows) == 4
    assert any("bit for bit" in line for line in report.lines)
    assert any("an epoch's training takes" in line and "1 time: no interval" in line for line in report.lines)


def test_a_fit_that_ends_in_other_weights_is_seen() -> None:
    small = config("training", *SMALL)
    arms = {"bare": training.bare, "assay": training.bare}  # the second one trains from another seed

    def other(train: Any) -> Any:
        return training.bare(dataclasses.replace(train, seed=1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "ARMS", arms | {"assay": other})
        record, report = run("training", *SMALL, "seconds=60", "arms=[bare,assay]")
    assert small.epochs == record.details["epochs"]
    assert report.failures == ("sgd 4096: Assay and the bare loop end in different weights",)


def test_other_weights_are_a_failure() -> None:
    record = Record(details={"different_weights": ["sgd 64"], "epochs": 1})
    assert training.report(record).failures == ("sgd 64: Assay and the bare loop end in different weights",)
