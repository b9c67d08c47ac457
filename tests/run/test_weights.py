"""What `ckpt=` can stand for."""

import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from assay.errors import UserError
from assay.run.weights import checkpoint_file, load_weights
from assay.training.durable import save_checkpoint


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
    save_checkpoint({"state_dict": one.state_dict()}, tmp_path / "a.ckpt", {})
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
