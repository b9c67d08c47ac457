"""The pair of a checkpoint and its sidecar; R2 and R4 in tests/reliability strike at it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.errors import UserError
from assay.training.durable import (
    DamagedError,
    facts_of,
    load_checkpoint,
    load_verified,
    previous,
    restore_previous,
    save_checkpoint,
    sidecar,
    verify,
)


def saved(path: Path, *steps: int, **more: Any) -> Path:
    for step in steps:
        save_checkpoint(
            {"state_dict": {"w": torch.tensor([step])}, "step": step, **more}, path, {"step": step}
        )
    return path


def test_what_the_sidecar_says(tmp_path: Path) -> None:
    path = saved(tmp_path / "deep" / "last.ckpt", 1, 2)
    facts = facts_of(path)
    assert facts["step"] == 2 and facts["bytes"] == path.stat().st_size and len(facts["sha256"]) == 64
    assert facts_of(previous(path))["step"] == 1
    assert sorted(one.name for one in path.parent.iterdir()) == [
        "last.ckpt", "last.ckpt.json", "last.previous.ckpt", "last.previous.ckpt.json",
    ]  # fmt: skip


def test_the_previous_one_takes_its_place(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.ckpt", 1, 2)
    path.unlink()
    assert load_verified(path)[0]["step"] == 1
    restore_previous(path)
    assert load_verified(path) == (load_verified(previous(path))[0], None)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
def test_a_damaged_sidecar(tmp_path: Path, text: str) -> None:
    path = saved(tmp_path / "last.ckpt", 1)
    sidecar(path).write_text(text)
    with pytest.raises(DamagedError, match="cannot be read"):
        verify(path)
    sidecar(path).unlink()
    with pytest.raises(DamagedError, match=r"has no last\.ckpt\.json beside it"):
        verify(path)


def test_code_is_refused_even_with_a_right_hash(tmp_path: Path) -> None:
    """What is refused never falls back, and is never loaded in another way."""
    path = saved(tmp_path / "last.ckpt", 1)
    saved(path, 2, culprit=Path("a class that is no plain data"))
    with pytest.raises(UserError, match="was refused: it is not a checkpoint of plain data"):
        load_checkpoint(path)
    saved(path, 3, hyper_parameters={"_instantiator": "os.system"})
    with pytest.raises(UserError, match=r"names code to run \(_instantiator\)"):
        load_checkpoint(path)


def test_files_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "foreign.ckpt"
    torch.save({"state_dict": {}}, path)
    assert load_checkpoint(path) == {"state_dict": {}}
    torch.save({"weights": 1}, path)
    with pytest.raises(UserError, match="holds no `state_dict`"):
        load_checkpoint(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="was refused"):
        load_checkpoint(path)
    with pytest.raises(UserError, match="no undamaged checkpoint is left"):
        load_checkpoint(tmp_path / "missing.ckpt")


def test_a_sidecar_is_plain_json(tmp_path: Path) -> None:
    assert json.loads(sidecar(saved(tmp_path / "a.ckpt", 4)).read_text())["step"] == 4
