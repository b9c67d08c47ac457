"""bench=training: Assay against the bare loop, with the same weights at the end."""

from dataclasses import replace

from assay.bench import training
from assay.bench.measurement import Record
from assay.bench.session import Session
from assay.config.schema import TrainingConfig
from assay.config.compose import compose
from assay.config.judge import judge

WORDS = ("bench=training", "epochs=1", "repeats=1", "optimizers=[sgd]", "batch_sizes=[4096]", "threads=1")


def test_every_arm_trains_and_the_weights_agree() -> None:
    config = judge(TrainingConfig, compose("bench", WORDS))
    session = Session([], {}, seconds=60, seed=0)
    training.measure(config, session)
    record = session.record
    assert {m.task.by for m in record.all()} == {"bare", "assay", "stock", "textbook"}
    assert record.facts["same_weights"] == {"sgd 4096": True}
    report = training.report(config, record)
    assert not report.failures
    assert len(report.tables[0].rows) == 4
    assert any("bit for bit" in line for line in report.lines)


def test_other_weights_are_a_failure() -> None:
    config = judge(TrainingConfig, compose("bench", WORDS))
    record = replace(Record(), facts={"same_weights": {"sgd 64": False}})
    assert training.report(config, record).failures == (
        "sgd 64: Assay and the bare loop end in different weights",
    )
