"""R2: a save in which the N-th file operation fails or kills, for every N, as SQLite is tested."""

from pathlib import Path
from typing import Any

import pytest

from assay.training.checkpoint import load_verified, previous
from tests.processes import KILLED, Zygote
from tests.reliability.harness import strays
from tests.reliability.saves import CLEAN, SAID, WELL, save


def step_in(path: Path) -> int:
    state, _ = load_verified(path)
    step: int = state["global_step"]
    assert bool((state["state_dict"]["weight"] == step).all())
    return step


def strike(zygote: Zygote, folder: Path, at: int, how: str) -> int:
    """Two good saves, then one with the fault; how it ended."""
    folder.mkdir()
    for step in (1, 2):
        assert save(str(folder), step) == CLEAN
    if how in ("fail", "broken"):
        return save(str(folder), 3, at, how)
    arguments: dict[str, Any] = {"folder": str(folder), "step": 3, "fault_at": at, "how": how}
    return zygote.run("tests.reliability.saves:save", **arguments)[0]


def check(folder: Path, ended: int) -> None:
    """The newest valid checkpoint loads, success is never claimed wrongly, and the next save cleans up."""
    newest = step_in(folder / "last.ckpt")
    assert newest in ((3,) if ended in (WELL, CLEAN) else (2, 3))
    assert step_in(folder / "best.ckpt") in ((3,) if ended in (WELL, CLEAN) else (2, 3))
    assert save(str(folder), 4) == CLEAN
    assert step_in(folder / "last.ckpt") == step_in(folder / "best.ckpt") == 4
    assert step_in(previous(folder / "last.ckpt")) in (2, 3)
    assert strays(folder) == []


@pytest.mark.parametrize("how", ["fail", "broken", "kill", "power"])
def test_every_operation(zygote: Zygote, tmp_path: Path, how: str) -> None:
    endings: list[int] = []
    while not endings or endings[-1] != CLEAN:
        folder = tmp_path / str(len(endings))
        endings.append(strike(zygote, folder, len(endings) + 1, how))
        assert endings[-1] in {CLEAN, SAID, WELL, KILLED}
        check(folder, endings[-1])
    struck = len(endings) - 1
    assert struck >= 10
    print(
        f"R2 {how}: a valid checkpoint after each of {struck} operations struck; "
        f"{endings.count(SAID)} failures said, {endings.count(KILLED)} killed, "
        f"{endings.count(WELL)} saved by another way, 0 stray files after the next save"
    )


def test_two_crashes_in_a_row(tmp_path: Path) -> None:
    """The half of a save that failed is not kept as the previous checkpoint when the next one fails too."""
    pairs = 0
    for first in range(1, 40):
        for second in (first, first + 3):
            folder = tmp_path / f"{first}-{second}"
            folder.mkdir()
            assert save(str(folder), 1) == CLEAN
            endings = [save(str(folder), 2, first, "fail"), save(str(folder), 3, second, "fail")]
            assert step_in(folder / "last.ckpt") >= 1
            assert step_in(folder / "best.ckpt") >= 1
            pairs += endings != [CLEAN, CLEAN]
    print(f"R2: a valid checkpoint after each of {pairs} pairs of failures")


def test_saving_needs_no_tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning stages in $TMPDIR, which may be another, smaller disk."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    assert save(str(tmp_path), 1) == CLEAN
    assert step_in(tmp_path / "last.ckpt") == 1
