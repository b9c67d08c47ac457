"""`ckpt=` and `resume=`: which of two configs holds, where a run goes on, what is not lost in silence."""

import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from tests.processes import wait_for
from tests.regression import EPOCH, TINY, Done, Shell, config, contents
from tests.runs import checkpoint, result, rows, same_tensors


@pytest.fixture
def weights(completed: Path, tmp_path: Path) -> str:
    """A checkpoint alone, of a model 17 units wide."""
    return str(shutil.copy(completed / "checkpoints" / "last.ckpt", tmp_path / "weights.ckpt"))


def test_a_checkpoint_without_its_run_gives_weights_alone(
    shell: Shell, completed: Path, weights: str
) -> None:
    run = shell.run(f"ckpt={weights}", "model.width=17", "optimizer.lr=0.0001", "trainer.max_steps=1")
    assert config(run)["model"]["width"] == 17 and config(run)["optimizer"]["lr"] == 0.0001
    assert config(run)["data"]["batch_size"] == 4 and "Adam" in config(run)["optimizer"]["_target_"]
    for name, tensor in checkpoint(completed)["state_dict"].items():
        assert torch.allclose(tensor, checkpoint(run)["state_dict"][name], atol=0.001)


def test_weights_that_do_not_fit_the_typed_model_are_refused_with_both_shapes(
    shell: Shell, completed: Path, weights: str
) -> None:
    for ckpt in (weights, completed):
        done = shell.train(*TINY, f"ckpt={ckpt}", "model.width=19")
        assert done.refused("ckpt") and not shell.output.exists(), done.screen
        assert re.search(r"17\D{1,4}3\b", done.screen) and re.search(r"19\D{1,4}3\b", done.screen)


@pytest.mark.parametrize("inside", ["", "checkpoints/best.ckpt"], ids=["folder", "file"])
def test_a_run_as_ckpt_gives_its_model_and_data_and_all_else_is_as_typed(
    shell: Shell, completed: Path, inside: str
) -> None:
    words = ("device=cpu", "stages=[fit]", "trainer.max_steps=1", "scheduler=cosine", "data.batch_size=8")
    done = shell.train(*words, f"ckpt={completed / inside}")
    assert done.code == 0, done.screen
    (folder,) = shell.runs()
    known, origin = config(folder), config(completed)
    assert known["model"] == origin["model"] and known["data"] == origin["data"] | {"batch_size": 8}
    assert "Adam" in known["optimizer"]["_target_"] and known["optimizer"]["lr"] != 0.2
    assert "cosine" in known["scheduler"]["_target_"].lower()
    assert (known["seed"], known["trainer"]["max_epochs"], known["trainer"]["max_steps"]) == (0, 5, 1)


@pytest.mark.parametrize(
    ("limits", "more", "steps"),
    [
        (["trainer.max_epochs=2"], ["trainer.max_epochs=4"], 4 * EPOCH),
        (["trainer.max_epochs=9", "trainer.max_steps=20"], ["trainer.max_steps=35"], 35),
    ],
    ids=["epochs", "steps"],
)
def test_a_completed_run_goes_on_when_it_is_given_more_to_do(
    shell: Shell, limits: list[str], more: list[str], steps: int
) -> None:
    run = shell.run(*limits, "scheduler=none")
    done = shell.train(f"resume={run}", *more, "trainer.log_every_n_steps=3")
    assert done.code == 0 and "epoch 1/" not in done.screen, done.screen
    assert result(run)["status"] == "completed" and result(run)["steps"] == steps
    assert config(run)["trainer"]["log_every_n_steps"] == 3
    at_once = shell.run(*limits, "scheduler=none", *more)
    assert config(run)["trainer"]["max_epochs"] == config(at_once)["trainer"]["max_epochs"]
    assert same_tensors(checkpoint(run)["state_dict"], checkpoint(at_once)["state_dict"])


def test_an_interrupted_run_may_be_given_another_end(shell: Shell, stopped: Path) -> None:
    run = shell.copy(stopped)
    done = shell.train(f"resume={run}", "trainer.max_epochs=4")
    assert done.code == 0 and "epoch 1/" not in done.screen, done.screen
    validated = [int(row["step"]) for row in rows(run) if row["val/loss"]]
    assert result(run)["steps"] == 4 * EPOCH and validated == [EPOCH, 2 * EPOCH, 3 * EPOCH, 4 * EPOCH]


@pytest.mark.parametrize("word", ["optimizer.lr=0.5", "seed=1", "model.width=9", "~model.width"])
def test_what_would_make_another_run_of_it_is_refused_on_resume(
    shell: Shell, stopped: Path, word: str
) -> None:
    run = shell.copy(stopped)
    before = contents(run)
    done = shell.train(f"resume={run}", word)
    assert done.refused(word.lstrip("~").partition("=")[0]), done.screen
    assert contents(run) == before


def test_a_run_whose_checkpoints_are_gone_is_not_started_over(shell: Shell, stopped: Path) -> None:
    run = shell.copy(stopped)
    shutil.rmtree(run / "checkpoints")
    before = contents(run)
    done = shell.train(f"resume={run}")
    assert done.refused("checkpoint", run.name), done.screen
    assert contents(run) == before


def test_a_checkpoint_without_the_files_beside_it_is_not_started_over(shell: Shell, stopped: Path) -> None:
    run = shell.copy(stopped)
    for path in (run / "checkpoints").iterdir():
        if path.name not in ("last.ckpt", "best.ckpt"):
            path.unlink()
    before = contents(run)
    done = shell.train(f"resume={run}")
    refused = done.refused("checkpoint") and contents(run) == before
    assert refused or (done.code == 0 and "epoch 1/" not in done.screen), done.screen


def test_a_run_killed_as_its_folder_was_made_is_begun_again_in_it(shell: Shell) -> None:
    """Killed at its first, second, ... write under the outputs, the command is typed again with `resume=`."""
    words = (*TINY, "trainer.max_epochs=1")
    for operation in (1, 2, 3, 5, 12, 14):
        fault = {"operation": operation, "folder": str(shell.output)}
        before = shell.runs()
        assert shell.train(*words, fault=fault).code == -signal.SIGKILL
        for run in shell.runs() - before:
            done = shell.train(*words, f"resume={run}")
            assert done.code == 0, f"killed at write {operation}: {done.screen}"
            assert result(run)["status"] == "completed" and result(run)["steps"] == EPOCH
    assert shell.runs()


def test_a_run_that_is_moved_while_it_goes_on_does_not_come_back_at_its_old_place(
    shell: Shell, stopped: Path
) -> None:
    run = shell.copy(stopped)
    moved = run.with_name("moved")
    child = shell.zygote.start(
        "tests.regression:command",
        script="train",
        words=[f"resume={run}"],
        folder=str(shell.folder),
        fault={"step": 3, "signal": signal.SIGSTOP},
    )
    wait_for(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "T")
    run.rename(moved)
    child.send_signal(signal.SIGCONT)
    done = Done(child.wait(), child.text)
    assert not run.exists() and not done.untrue(), done.screen
    done = shell.train(f"resume={moved}")
    assert done.code == 0 and result(moved)["status"] == "completed", done.screen


def test_a_folder_of_checkpoints_that_is_read_only_is_refused_before_training(
    shell: Shell, stopped: Path
) -> None:
    run = shell.copy(stopped)
    before = contents(run)
    (run / "checkpoints").chmod(0o555)
    done = shell.train(f"resume={run}", all_powerful=False)
    (run / "checkpoints").chmod(0o755)
    assert done.refused("checkpoints") and "epoch " not in done.screen, done.screen
    assert contents(run) == before
