"""The room that a run needs, and what is said where it is not there."""

from pathlib import Path
from typing import NamedTuple

import pytest

from assay.errors import UserError
from assay.run import preflight as module
from assay.run.device import resolve
from assay.run.parts import Parts, build_parts
from assay.run.preflight import CHECKPOINTS, bytes_needed, checkpoint_bytes, preflight
from tests.runs import SHORT, config, train


class Usage(NamedTuple):
    """As `shutil.disk_usage` gives it, in bytes."""

    total: int
    used: int
    free: int


def parts(*words: str) -> Parts:
    judged = config(*SHORT, *words)
    return build_parts(judged, resolve(judged.device))


@pytest.mark.parametrize("words", [("optimizer=adam",), ("optimizer=sgd", "model=cnn")])
def test_the_estimate_is_above(tmp_path: Path, words: tuple[str, ...]) -> None:
    folder = train(tmp_path, *words, "stages=[fit]")
    size = (folder / "checkpoints" / "last.ckpt").stat().st_size
    assert size <= checkpoint_bytes(parts(*words)) <= 2 * size + 128 * 1024
    files = {path.stat().st_ino: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    assert sum(files.values()) <= bytes_needed(parts(*words), log_every_n_steps=5)


def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = parts()
    needed = bytes_needed(one, 100)
    assert needed > CHECKPOINTS * checkpoint_bytes(one)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: Usage(0, 0, needed - 1))
    with pytest.raises(UserError, match=r"this run needs up to [\d.]+ MiB\n") as refusal:
        preflight(tmp_path / "new", one, 100)
    assert "output_dir" in str(refusal.value) and len(str(refusal.value).splitlines()) <= 4
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: Usage(0, 0, needed))
    preflight(tmp_path / "new", one, 100)


def test_a_resumed_run_has_some_of_its_room_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = parts()
    (tmp_path / "result.json").write_bytes(b" " * 1_000_000)
    free = bytes_needed(one, 100) - 1_000_000
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: Usage(0, 0, free))
    preflight(tmp_path, one, 100)


def test_it_changes_no_generator_and_leaves_nothing(tmp_path: Path) -> None:
    import torch

    one, before = parts(), torch.get_rng_state()
    preflight(tmp_path, one, 100)
    assert torch.equal(torch.get_rng_state(), before)
    assert list(tmp_path.iterdir()) == []


def test_no_room_for_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class NoInodes(NamedTuple):
        f_files: int = 1000
        f_favail: int = 3
        f_blocks: int = 10**9
        f_bfree: int = 10**9
        f_bavail: int = 10**9
        f_frsize: int = 4096

    one = parts()
    monkeypatch.setattr(module.os, "statvfs", lambda path: NoInodes())
    with pytest.raises(UserError, match=r"output_dir: .* room for 3 more files"):
        preflight(tmp_path, one, 100)
