"""When a run is saved, and what is in it; that resuming is exact is R1 in tests/reliability."""

from pathlib import Path
from typing import Any

import pytest
import torch

from assay.errors import Diverged
from assay.run import run as module
from assay.training.checkpoint import DurableIO
from assay.training.durable import facts_of
from tests.runs import checkpoint, result, train


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
    monkeypatch.setattr("assay.training.checkpoint.time.monotonic", lambda: next(clock))
    assert len(steps_saved(tmp_path, monkeypatch, 'trainer.checkpoint_every="2 seconds"')) > 4


def test_what_a_checkpoint_says(tmp_path: Path) -> None:
    folder = train(tmp_path, "stages=[fit]")
    facts, found = facts_of(folder / "checkpoints" / "last.ckpt"), result(folder)
    assert (facts["epochs"], facts["step"], facts["config_id"]) == (2, 40, found["config_id"])
    assert facts["versions"].keys() >= {"assay", "torch"} and facts["config"]["model"]["width"] == 128
    state = checkpoint(folder)
    assert (state["assay"]["epochs"], state["assay"]["batches"], state["assay"]["stop"]) == (2, 0, False)
    assert state["callbacks"]["Recorder"]["best"]["step"] == found["best"]["step"]


@pytest.mark.parametrize("where", ["state_dict", "optimizer_states"])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, where: str) -> None:
    good: dict[str, Any] = {
        "state_dict": {"w": torch.ones(2), "count": torch.tensor(3)},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.5}]}],
        "global_step": 7,
        "assay": {"epochs": 0},
    }
    path = tmp_path / "last.ckpt"
    DurableIO({}).save_checkpoint(good, path)
    bad = torch.tensor([1.0, float("inf")])
    changed = {"w": bad} if where == "state_dict" else [{**good[where][0], "state": {0: {"exp_avg": bad}}}]
    with pytest.raises(Diverged, match=r"a weight became nan at step 8|became .* at step 8") as stop:
        DurableIO({}).save_checkpoint({**good, where: changed, "global_step": 8}, path)
    assert "optimizer.lr=0.05" in str(stop.value)
    assert facts_of(path)["step"] == 7
    DurableIO({}).remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == []


def test_an_early_stop_outlives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that had decided to stop and was then killed trains no further epoch when it is resumed."""
    from tests.runs import config

    stopping = "_target_: pytorch_lightning.callbacks.EarlyStopping, monitor: val/loss, patience: 0"
    stop = f"+callbacks.stop={{{stopping}}}"
    words = (stop, "trainer.max_epochs=9", "optimizer=sgd", "optimizer.lr=1e-9", "scheduler=none")
    monkeypatch.setattr(module, "draw_figures", lambda *args: (_ for _ in ()).throw(KeyError("a crash")))
    folder = train(tmp_path, *words, code=1)
    epochs = result(folder)["epochs"]
    assert result(folder)["status"] == "failed" and epochs < 9
    monkeypatch.undo()
    assert module.main(config(f"resume={folder}"), [f"resume={folder}"]) == 0
    assert result(folder)["status"] == "completed" and result(folder)["epochs"] == epochs
