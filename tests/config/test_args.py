"""Flags apart from changes, and changes as they were meant."""

from pathlib import Path

import pytest

from assay.config.args import parsed
from assay.errors import UserError


def test_flags_and_words_are_told_apart() -> None:
    flags, words = parsed(["-m", "seed=0,1", "--cfg", "job"])
    assert flags.multirun and flags.cfg == "job" and words == ["seed=0,1"]


def test_flags_may_stand_between_the_words() -> None:
    flags, words = parsed(["seed=1", "--cfg", "job", "trainer.max_epochs=2", "--resolve"])
    assert words == ["seed=1", "trainer.max_epochs=2"] and flags.resolve


def test_a_folder_of_ones_own_is_a_place_to_look_for_configs(tmp_path: Path) -> None:
    _, words = parsed(["--config-dir", str(tmp_path), "seed=1"])
    assert words == ["seed=1", f'hydra.searchpath=["file://{tmp_path}"]']


def test_a_jobs_folder_can_be_pasted(tmp_path: Path) -> None:
    job = tmp_path / "optimizer=sgd,seed=0-1a2b"
    job.mkdir()
    _, words = parsed([f"ckpt={job}", "seed=0,1", f"ckpt={tmp_path / 'a,b'}"])
    assert words == [f"ckpt='{job}'", "seed=0,1", f"ckpt={tmp_path / 'a,b'}"]


@pytest.mark.parametrize(
    "words", [["--experimental-rerun", "x"], ["--config-path", "x"], ["--config-name", "x"], ["--nope"]]
)
def test_closed_and_unknown_flags_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError):
        parsed(words)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("model = mlp", "model=mlp"),
        ("model= mlp seed=1", "model=mlp"),
        ("seed=1 model =mlp", "model=mlp"),
        ("optimizer.lr=0.1, 0.2, 0.3 seed=1", "optimizer.lr=0.1,0.2,0.3"),
    ],
)
def test_what_a_shell_has_split_is_put_together(words: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"type {meant}$"):
        parsed(words.split())


@pytest.mark.parametrize("words", ["name= -m", "runs sgd failed", "seed=1 optimizer=sgd", "name= seed=1"])
def test_words_that_are_right_are_left_alone(words: str) -> None:
    assert parsed(words.split())[1] == [word for word in words.split() if word != "-m"]
