"""The view: a full disk costs a warning; a continued curve hides what was lost."""

import logging
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from assay.training.tensorboard import TensorBoard


def test_a_disk_that_is_full_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    view = TensorBoard(tmp_path)
    view.log_metrics({"a": 1.0}, 1)

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(view.experiment, "add_scalar", full)
    with caplog.at_level(logging.WARNING):
        view.log_metrics({"a": 1.0, "b": 2.0}, 2)
        view.log_metrics({"a": 1.0}, 3)
    assert len(caplog.records) == 1 and "metrics.csv" in caplog.text
    view.close()


def test_a_continued_curve_hides_the_points_of_the_lost_run(tmp_path: Path) -> None:
    before = TensorBoard(tmp_path)
    for step in (1, 2, 3, 4):
        before.log_metrics({"loss": float(step)}, step)
    before.close()
    time.sleep(1 - time.time() % 1)  # files are read in the order of their names, which begin with the second
    after = TensorBoard(tmp_path, purge_step=3)
    after.log_metrics({"loss": 30.0}, 3)
    after.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]
