"""R4: a checkpoint that was cut short or changed is found out before it is used."""

import logging
import random
import shutil
from pathlib import Path

import pytest
import torch

from assay.errors import UserError
from assay.training.checkpoint import load_checkpoint, load_verified, previous
from tests.processes import Zygote
from tests.reliability.harness import WORDS, only_run
from tests.reliability.saves import CLEAN, save
from tests.runs import checkpoint, same_tensors


def damage(path: Path, how: str, draw: random.Random) -> None:
    content = bytearray(path.read_bytes())
    if how == "cut":
        path.write_bytes(content[: draw.randrange(1, len(content))])
    elif how == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
    elif how == "empty":
        path.write_bytes(b"")
    else:  # half of each of two good checkpoints
        old = previous(path).read_bytes()
        path.write_bytes(bytes(content[: len(content) // 2]) + old[len(old) // 2 :])


def test_all_damage_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(0)
    cases = ["cut"] * 20 + ["flip"] * 20 + ["empty", "spliced"]
    for index, how in enumerate(cases):
        folder = tmp_path / str(index)
        folder.mkdir()
        assert save(str(folder), 1) == save(str(folder), 2) == CLEAN
        last = folder / "last.ckpt"
        last.write_bytes(last.read_bytes())
        damage(last, how, draw)
        state, warning = load_verified(last)
        assert state["global_step"] == 1, how
        assert warning is not None and str(last) in warning and "using last.previous.ckpt instead" in warning
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            load_checkpoint(last)
        assert [record.getMessage() for record in caplog.records] == [warning]
        damage(previous(last), "flip", draw)
        with pytest.raises(UserError, match="no undamaged checkpoint is left"):
            load_checkpoint(last)
    print(f"R4: {len(cases)}/{len(cases)} damaged checkpoints found before use, the previous one used")


def test_an_older_checkpoint_in_its_place(tmp_path: Path) -> None:
    """It is whole, and is what it says: the state of its own step."""
    assert save(str(tmp_path), 1) == save(str(tmp_path), 2) == CLEAN
    last = tmp_path / "last.ckpt"
    last.write_bytes(previous(last).read_bytes())
    state, warning = load_verified(last)
    assert state["global_step"] == 1 and warning is None


def test_a_flipped_bit_in_a_file_from_elsewhere(tmp_path: Path) -> None:
    """Without our digest, the CRC-32 that torch.load does not look at."""
    path = tmp_path / "foreign.ckpt"
    weight = torch.arange(10_000.0)
    torch.save({"state_dict": {"weight": weight}}, path)
    content = bytearray(path.read_bytes())
    content[content.index(weight[5_000:5_004].numpy().tobytes())] ^= 1
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)  # it does not notice
    with pytest.raises(UserError, match="damaged: the CRC-32 of"):
        load_checkpoint(path)


def test_a_run_falls_back_and_says_so(zygote: Zygote, undisturbed: Path, tmp_path: Path) -> None:
    """Resuming goes on from the previous checkpoint; with none left nothing is trained, exit code 2."""
    assert zygote.train(*WORDS, f"output_dir={tmp_path}", fault={"step": 100})[0] == -9
    folder = only_run(tmp_path)
    last = folder / "checkpoints" / "last.ckpt"
    damage(last, "flip", random.Random(1))
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    code, text = zygote.train(f"resume={folder}")
    assert code == 0
    assert text.count("using last.previous.ckpt instead") == 1 and str(last) in text
    assert same_tensors(checkpoint(folder)["state_dict"], checkpoint(undisturbed)["state_dict"])

    damage(broken / "checkpoints" / "last.previous.ckpt", "cut", random.Random(2))
    before = {path: path.read_bytes() for path in broken.rglob("*.*") if path.is_file()}
    code, text = zygote.train(f"resume={broken}")
    assert code == 2
    assert "no undamaged checkpoint is left" in text and "Traceback" not in text
    assert {path: path.read_bytes() for path in broken.rglob("*.*") if path.is_file()} == before
