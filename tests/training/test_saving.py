"""When a run is saved, and what is in it; that resuming is exact is R1 in tests/reliability."""

from pathlib import Path
from typing import Any

import pytest
import torch

from assay.errors import Diverged
from assay.run import run as module
from assay.training.checkpoint import saved_step
from assay.training.saving import DurableIO
from tests.runs import checkpoint, result, run, train


def steps_saved(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> list[int]:
    steps: list[int] = []
    save = DurableIO.save_checkpoint

    def saved(self: DurableIO, state: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        steps.append(state["global_step"])
        save(self, state, path, storage_options)

    monkeypatch.setattr(DurableIO, "save_checkpoint", saved)
    train(folder, "stages=[fit]", "trainer.steps_per_execution=4", *words)
    return steps


def test_saved_at_each_epochs_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps_saved(tmp_path, monkeypatch) == [20, 40]


def test_saved_every_so_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first call's end from there on, and not twice at an epoch's end."""
    words = 'trainer.checkpoint_every="7 steps"'
    assert steps_saved(tmp_path, monkeypatch, words) == [8, 16, 20, 24, 28, 36, 40]


def test_saved_every_so_many_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("assay.training.saving.time.monotonic", lambda: next(clock))
    assert len(steps_saved(tmp_path, monkeypatch, 'trainer.checkpoint_every="2 seconds"')) > 4


def test_what_a_checkpoint_says(tmp_path: Path) -> None:
    folder = train(tmp_path, "stages=[fit]")
    state, recorded = checkpoint(folder), result(folder)
    metadata = state["assay"]
    assert (metadata["epochs"], state["global_step"], metadata["stop"]) == (2, 40, False)
    assert metadata["config_id"] == recorded["config_id"]
    assert metadata["versions"].keys() >= {"assay", "torch"} and metadata["config"]["model"]["width"] == 128
    assert state["callbacks"]["Recorder"]["best"]["step"] == recorded["best"]["step"]
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["best.ckpt", "best.previous.ckpt", "last.ckpt", "last.previous.ckpt"]


@pytest.mark.parametrize("where", ["state_dict", "optimizer_states"])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, where: str) -> None:
    good: dict[str, Any] = {
        "state_dict": {"w": torch.ones(2), "count": torch.tensor(3)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.5}]}],
        "global_step": 7,
        "assay": {"epochs": 0},
    }
    path = tmp_path / "last.ckpt"
    DurableIO().save_checkpoint(good, path)
    bad = torch.tensor([1.0, float("inf")])
    changed = {"w": bad} if where == "state_dict" else [{**good[where][0], "state": {0: {"exp_avg": bad}}}]
    with pytest.raises(Diverged, match=r"a weight became nan at step 8|became .* at step 8") as stop:
        DurableIO().save_checkpoint({**good, where: changed, "global_step": 8}, path)
    assert "optimizer.lr=0.05" in str(stop.value)
    assert saved_step(path) == 7


def test_an_early_stop_outlives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that had decided to stop and was then killed trains no further epoch when it is resumed."""
    stopping = "_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, patience: 0"
    stop = f"+callbacks.stop={{{stopping}}}"
    words = (stop, "trainer.max_epochs=9", "optimizer=sgd", "optimizer.lr=1e-9", "scheduler=none")
    monkeypatch.setattr(module, "evaluate", lambda *args: (_ for _ in ()).throw(KeyError("a crash")))
    folder = train(tmp_path, *words, code=1)
    epochs = result(folder)["epochs"]
    assert result(folder)["status"] == "failed" and epochs < 9
    monkeypatch.undo()
    assert run(f"resume={folder}") == 0
    assert result(folder)["status"] == "completed" and result(folder)["epochs"] == epochs
