"""bench=overhead: start, end and epoch of whole processes, and what a further job of a sweep costs."""

from assay.bench import overhead
from assay.bench.record import Measurement, Record, Task

QUICK = ("device=cpu", "trainer.max_epochs=1", "trainer.limit_train_batches=50")


def test_a_run_is_its_start_its_training_and_its_end() -> None:
    parts = overhead.whole_run(QUICK)
    assert 0 < parts["epoch"] < parts["start"] < parts["call"]
    assert 0 < parts["end"] < parts["call"] - parts["start"] - parts["epoch"]


def timed(what: str, by: str, **parts: list[float]) -> Measurement:
    return Measurement(Task(what, by, "cpu"), wall_s=parts.pop("call", [9.0, 9.0]), parts_s=parts)


def test_the_lines_are_ratios_within_the_rounds() -> None:
    record = Record(
        [
            timed("imports", "python", call=[2.0, 4.0]),
            timed("run", "train.py", start=[3.0, 6.0], epoch=[1.0, 1.0], end=[0.5, 0.5]),
            timed(
                "run", "train.py, beside a busy process", start=[4.0, 8.0], epoch=[1.5, 1.5], end=[1.0, 1.0]
            ),
            timed("sweep of two jobs", "train.py -m", outside=[5.0, 6.0]),
            timed("sweep of 6 jobs", "train.py -m", outside=[6.0, 7.0]),
            timed("epoch", "bare loop", call=[0.8, 0.8]),
        ],
        details={"jobs": 6},
    )
    first, epoch, beside, end, further = overhead.report(record).lines
    assert first.startswith("the first step begins 1.5 (2 times: no interval) times as late")
    assert epoch.startswith("an epoch takes 1.25 (")
    assert beside.startswith("beside a busy process, an epoch takes 1.5 (")
    assert end.startswith("from the last validation to the prompt: 0.5 (")
    assert further.startswith("a further job of a sweep, beside fitting and testing: 0.25 (")


def test_what_was_not_measured_is_not_said() -> None:
    assert overhead.report(Record(details={"jobs": 4})).lines == ()
