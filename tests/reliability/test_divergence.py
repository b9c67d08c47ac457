"""R10: a loss, a weight or a moment that is NaN or infinite stops the run, and no checkpoint has it."""

from pathlib import Path

import pytest
import torch

from assay.training.checkpoint import load_verified, saved_step
from tests.processes import Zygote
from tests.reliability.harness import WORDS, only_run
from tests.runs import result


def all_finite(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return not value.is_floating_point() or bool(torch.isfinite(value).all())
    if isinstance(value, dict):
        return all(map(all_finite, value.values()))
    return all(map(all_finite, value)) if isinstance(value, (list, tuple)) else True


@pytest.mark.parametrize(
    ("step", "best"), [(10, None), (60, None), (100, 60), (120, 60), (125, 120), (180, 120)]
)
def test_a_nan_at_any_step(zygote: Zygote, tmp_path: Path, step: int, best: int | None) -> None:
    """Also where no later loss would show it: after the last step before a save, of an epoch, of the run."""
    code, text = zygote.train(*WORDS, f"output_dir={tmp_path}", fault={"nan": step})
    folder = only_run(tmp_path)
    found = result(folder)
    assert code == 1 and found["status"] == "diverged", text
    assert (
        "became nan at step" in text
        and "try a smaller one: optimizer.lr=" in text
        and "Traceback" not in text
    )
    noticed = int(text.split("at step ")[1].split(",")[0])
    assert noticed in (step, step + 1)  # within the call that it happened in, or before the save after it
    last = folder / "checkpoints" / "last.ckpt"
    if step > 25:
        state, damage = load_verified(last)
        assert damage is None and state["global_step"] < step and all_finite(state)
        assert f"the last finite checkpoint is kept: {last}" in text
        refused, said = zygote.train(f"resume={folder}")
        assert refused == 2 and "has diverged, and would again" in said and f"ckpt={folder}" in said
    else:
        assert not last.exists() and "there is no checkpoint yet" in text
    if best is None:
        assert not (folder / "checkpoints" / "best.ckpt").exists()
    else:
        assert saved_step(folder / "checkpoints" / "best.ckpt") == best
        assert found["best"]["step"] == best
    print(f"R10 NaN after step {step}: noticed at step {noticed}, exit 1, best is that of step {best}")


def test_a_learning_rate_of_a_million(zygote: Zygote, tmp_path: Path) -> None:
    words = ("optimizer=sgd", "optimizer.lr=1e6", "scheduler=none", "model=mlp", "model.width=16")
    code, text = zygote.train(*WORDS, *words, f"output_dir={tmp_path}")
    found = result(only_run(tmp_path))
    assert code == 1 and found["status"] == "diverged"
    assert "with learning rate 1e+06" in text and "optimizer.lr=1e+05" in text
    assert "trainer.gradient_clip_val=1.0" in found["error"]
