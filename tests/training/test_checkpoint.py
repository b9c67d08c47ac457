"""A checkpoint's file proves itself; R2 and R4 in tests/reliability strike at it."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from assay.errors import UserError
from assay.training.atomic import WriteError
from assay.training.checkpoint import (
    copy_checkpoint,
    load_checkpoint,
    load_verified,
    previous,
    restore_previous,
    save_checkpoint,
    saved_step,
)


def saved(path: Path, *steps: int, **more: Any) -> Path:
    for step in steps:
        save_checkpoint({"state_dict": {"w": torch.tensor([step])}, "global_step": step, **more}, path)
    return path


def test_torch_and_zip_read_it_as_any_other_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.ckpt", 3)
    assert torch.load(path, weights_only=True)["global_step"] == 3
    assert torch.load(path, weights_only=True, mmap=True)["global_step"] == 3
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and archive.comment.startswith(b"assay sha256 ")


def test_the_one_before_is_kept(tmp_path: Path) -> None:
    path = saved(tmp_path / "checkpoints" / "last.ckpt", 1, 2)
    copy_checkpoint(path, path.with_name("best.ckpt"))
    assert (saved_step(path), saved_step(previous(path))) == (2, 1)
    names = sorted(one.name for one in path.parent.iterdir())
    assert names == ["best.ckpt", "last.ckpt", "last.previous.ckpt"]


def test_the_previous_one_is_put_in_its_place(tmp_path: Path) -> None:
    path = saved(tmp_path / "last.ckpt", 1, 2)
    path.unlink()
    assert load_verified(path)[0]["global_step"] == 1
    restore_previous(path)
    assert load_verified(path) == (load_verified(previous(path))[0], None)


def test_a_folder_that_was_moved_away_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="cannot be written: No such file or directory"):
        saved(tmp_path / "moved" / "checkpoints" / "last.ckpt", 1)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_file_or_is_not_there_has_no_step(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").mkdir()
    assert saved_step(tmp_path / "last.ckpt") is None and saved_step(tmp_path / "best.ckpt") is None
    with pytest.raises(UserError, match="no undamaged checkpoint is left"):
        load_verified(tmp_path / "last.ckpt")


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
    for wrong in ({"weights": 1}, {"state_dict": 3}, {"state_dict": {"w": "text"}}, [1]):
        torch.save(wrong, path)
        with pytest.raises(UserError, match="holds no `state_dict`"):
            load_checkpoint(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match="was refused"):
        load_checkpoint(path)
    with pytest.raises(UserError, match="no undamaged checkpoint is left"):
        load_checkpoint(tmp_path / "missing.ckpt")
