"""Where a run goes on, found in its files; whole runs are resumed in tests/reliability."""

import logging
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from assay.config.saved import as_plain
from assay.errors import CannotResume, UserError
from assay.run.earlier import checkpoint_file, requeued, resumable
from assay.run.folder import RunFolder
from assay.run.process import this_process
from assay.run.provenance import versions
from assay.run.resume import (
    load_weights,
    restore_files,
    resume_point,
)
from assay.training.checkpoint import copy_checkpoint, load_verified, previous, save_checkpoint, saved_step
from assay.training.history import History
from assay.training.saving import FORMAT
from tests.runs import config


def save(folder: RunFolder, step: int, best: int | None) -> Path:
    recorder = asdict(History("val/accuracy", "max", best={} if best is None else {"step": best}))
    metadata = {"format": FORMAT, "config": as_plain(config()), "versions": versions()}
    state: dict[str, Any] = {
        "state_dict": {}, "global_step": step, "assay": metadata, "callbacks": {"Recorder": recorder},
    }  # fmt: skip
    save_checkpoint(state, folder.last)
    return folder.last


def restored(folder: RunFolder) -> Path:
    point = resume_point(folder, config())
    assert point is not None
    restore_files(folder.last, point)
    return folder.checkpoints / "best.ckpt"


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path)


def test_nothing_was_saved(folder: RunFolder) -> None:
    assert resume_point(folder, config()) is None


def test_killed_between_last_and_best(folder: RunFolder) -> None:
    """The epoch's end was saved as the last one; it is the best one, too."""
    copy_checkpoint(save(folder, 10, best=10), folder.checkpoints / "best.ckpt")
    save(folder, 20, best=20)
    best = restored(folder)
    assert saved_step(best) == 20 and saved_step(previous(best)) == 10


def test_the_last_is_damaged_and_the_best_ahead(folder: RunFolder) -> None:
    """The best is that of the state that is resumed, not of the one that was lost."""
    best = folder.checkpoints / "best.ckpt"
    copy_checkpoint(save(folder, 10, best=10), best)
    save(folder, 15, best=10)
    copy_checkpoint(save(folder, 20, best=20), best)
    folder.last.write_bytes(b"")
    point = resume_point(folder, config())
    assert point is not None and point.state["global_step"] == 15
    assert "using last.previous.ckpt instead" in point.warnings[0]
    assert saved_step(restored(folder)) == 10
    assert load_verified(folder.last)[0]["global_step"] == 15


def test_the_best_is_lost(folder: RunFolder, caplog: pytest.LogCaptureFixture) -> None:
    save(folder, 15, best=10)
    with caplog.at_level(logging.WARNING):
        best = restored(folder)
    assert "the best checkpoint, of step 10, is lost" in caplog.text and saved_step(best) == 15


def test_no_epoch_was_finished(folder: RunFolder) -> None:
    save(folder, 5, best=None)
    assert not restored(folder).exists()


def test_lost_checkpoints_are_no_fresh_start(folder: RunFolder) -> None:
    save(folder, 10, best=10)
    folder.result["checkpoint"] = "checkpoints/last.ckpt"
    folder.last.unlink()
    with pytest.raises(CannotResume, match=r"last\.ckpt is gone.*\nput them back, or start a new run"):
        resume_point(folder, config())


@pytest.mark.parametrize(("row", "is_lost"), [("0,50,1.5", False), ("1,60,2.5", True)])
def test_without_result_json_the_rows_say_whether_a_checkpoint_is_missing(
    folder: RunFolder, row: str, is_lost: bool
) -> None:
    folder.result.clear()
    (folder.path / "metrics.csv").write_text(f"epoch,step,seconds\n{row}\n")
    if is_lost:
        with pytest.raises(CannotResume, match=r"last\.ckpt is gone"):
            resume_point(folder, config())
    else:
        assert resume_point(folder, config()) is None


def made(output: Path, **values: Any) -> RunFolder:
    folder = RunFolder.create(output, config("seed=1"), ["seed=1"])
    begun = {"status": "interrupted", "error": None, "process": this_process(), "overrides": ["seed=1"]}
    folder.update(**begun | values)
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
    asked = config(f"output_dir={tmp_path}")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert requeued(asked, ["seed=1"]) is None
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    found = requeued(asked, ["seed=1"])
    assert found is not None and found.path == folder.path
    assert requeued(asked, ["seed=2"]) is None
    folder.update(status="completed")
    found = requeued(asked, ["seed=1"])
    assert found is not None and found.status == "completed"
    shutil.rmtree(folder.path)
    assert requeued(asked, ["seed=1"]) is None


def test_the_best_of_a_run_comes_first(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with pytest.raises(UserError, match="there is no checkpoint in it"):
        checkpoint_file(str(tmp_path))
    (folder / "last.ckpt").touch()
    assert checkpoint_file(str(tmp_path)) == folder / "last.ckpt"
    (folder / "best.ckpt").touch()
    assert checkpoint_file(str(tmp_path)) == folder / "best.ckpt"
    assert checkpoint_file(str(folder / "last.ckpt")) == folder / "last.ckpt"


@pytest.mark.parametrize("ckpt", ["nowhere", "https://example.org/a.ckpt"])
def test_what_is_no_checkpoint(ckpt: str) -> None:
    with pytest.raises(UserError, match="ckpt: "):
        checkpoint_file(ckpt)


def test_weights_are_put_in(tmp_path: Path) -> None:
    one, other = nn.Linear(2, 3), nn.Linear(2, 3)
    save_checkpoint({"state_dict": one.state_dict()}, tmp_path / "a.ckpt")
    load_weights(other, tmp_path / "a.ckpt")
    assert torch.equal(one.weight, other.weight)
    with pytest.raises(UserError, match="do not fit this model") as refusal:
        load_weights(nn.Linear(2, 4), tmp_path / "a.ckpt")
    assert "[3, 2]" in str(refusal.value) and len(str(refusal.value).splitlines()) <= 4


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "evil.ckpt"
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(UserError, match="was refused"):
        load_weights(nn.Linear(1, 1), path)
