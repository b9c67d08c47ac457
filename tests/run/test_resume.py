"""Where a run goes on, found in its files; whole runs are resumed in tests/reliability."""

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from assay.errors import UserError
from assay.run.folder import RunFolder
from assay.run.process import this_process
from assay.run.resume import requeued, resumable, resume_point, settle, stored_run
from assay.training.durable import copy_checkpoint, facts_of, load_verified, previous, save_checkpoint
from tests.runs import config

FACTS = {"format": 1}


def save(folder: Path, step: int, best: int | None) -> Path:
    path = folder / "last.ckpt"
    recorder = {"best": {} if best is None else {"step": best}}
    state: dict[str, Any] = {
        "state_dict": {}, "global_step": step, "assay": {"format": 1}, "callbacks": {"Recorder": recorder},
    }  # fmt: skip
    save_checkpoint(state, path, {**FACTS, "step": step})
    return path


def settled(last: Path) -> Path:
    point = resume_point(last, config())
    assert point is not None
    settle(last, point.state)
    return last.with_name("best.ckpt")


def test_nothing_was_saved(tmp_path: Path) -> None:
    assert resume_point(tmp_path / "last.ckpt", config()) is None
    (tmp_path / "last.ckpt").write_bytes(b"half of the first one")
    assert resume_point(tmp_path / "last.ckpt", config()) is None


def test_killed_between_last_and_best(tmp_path: Path) -> None:
    """The epoch's end was saved as the last one; it is the best one, too."""
    last = save(tmp_path, 10, best=10)
    copy_checkpoint(last, tmp_path / "best.ckpt")
    save(tmp_path, 20, best=20)
    assert facts_of(settled(last))["step"] == 20
    assert facts_of(previous(tmp_path / "best.ckpt"))["step"] == 10


def test_the_last_is_damaged_and_the_best_ahead(tmp_path: Path) -> None:
    """The best is that of the state that is resumed, not of the one that was lost."""
    last = save(tmp_path, 10, best=10)
    copy_checkpoint(last, tmp_path / "best.ckpt")
    save(tmp_path, 15, best=10)
    save(tmp_path, 20, best=20)
    copy_checkpoint(last, tmp_path / "best.ckpt")
    last.write_bytes(b"")
    point = resume_point(last, config())
    assert point is not None and point.step == 15 and "using last.previous.ckpt instead" in point.warnings[0]
    assert facts_of(settled(last))["step"] == 10
    assert load_verified(last)[0]["global_step"] == 15


def test_the_best_is_lost(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    last = save(tmp_path, 15, best=10)
    with caplog.at_level(logging.WARNING):
        settled(last)
    assert "the best checkpoint, of step 10, is lost" in caplog.text


def test_no_epoch_was_finished(tmp_path: Path) -> None:
    assert not settled(save(tmp_path, 5, best=None)).exists()


def made(output: Path, **values: Any) -> RunFolder:
    folder = RunFolder.create(output, None)
    folder.write_config({}, ["seed=1"])
    folder.update(**{"status": "interrupted", "error": None, "process": this_process()} | values)
    return folder


def test_what_has_diverged_would_again(tmp_path: Path) -> None:
    folder = made(tmp_path, status="diverged", error="the loss became nan\ntry")
    with pytest.raises(UserError, match="has diverged, and would again: the loss became nan\n"):
        resumable(str(folder.path), tmp_path)
    with pytest.raises(UserError, match=r"resume: .*no run folder"):
        resumable(str(tmp_path), tmp_path)


def test_only_a_requeued_job_goes_on_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the job's id and the very words; what was completed before is not run again."""
    folder = made(tmp_path, slurm_job="12")
    judged = config(f"output_dir={tmp_path}")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert requeued(judged, ["seed=1"]) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    found = requeued(judged, ["seed=1"])
    assert found is not None and found.path == folder.path
    assert stored_run(judged, ["seed=1"]) != (judged, None)
    assert requeued(judged, ["seed=2"]) is None
    folder.update(status="completed")
    found = requeued(judged, ["seed=1"])
    assert found is not None and found.status == "completed"
    shutil.rmtree(folder.path)
    assert requeued(judged, ["seed=1"]) is None
