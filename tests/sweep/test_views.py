"""The views of a sweep: what is on disk after each look at it."""

from dataclasses import replace
from pathlib import Path

from assay.sweep.job import Entry
from assay.sweep.leaderboard import leaderboard
from assay.sweep.views import write_views

RESULT = {"metrics": {"val/accuracy": 0.9}, "seconds": {"fit": 1.0, "total": 2.0}}


def entries(root: Path, optimizers: tuple[str, ...]) -> list[Entry]:
    return [
        Entry(
            *(f"{optimizer}{seed}", optimizer, f"{optimizer}{seed}"),
            *((f"optimizer={optimizer}", f"seed={seed}"), root / "jobs" / f"{optimizer}{seed}"),
            *("completed", None, RESULT),
        )
        for optimizer in optimizers
        for seed in (0, 1)
    ]


def groups(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "groups").iterdir())


def test_the_folders_of_groups_are_those_of_the_sweep_as_it_is(tmp_path: Path) -> None:
    write_views(leaderboard(entries(tmp_path, ("sgd",))), tmp_path)
    assert groups(tmp_path) == ["all-sgd"]
    write_views(leaderboard(entries(tmp_path, ("sgd", "adam"))), tmp_path)
    assert groups(tmp_path) == ["optimizer=adam-adam", "optimizer=sgd-sgd"]


def test_many_keys_make_no_name_that_is_too_long(tmp_path: Path) -> None:
    keys = tuple(f"trainer.a_key_with_a_long_name_{at}={{}}" for at in range(20))
    found = [
        replace(one, overrides=(*one.overrides, *(key.format(one.group) for key in keys)))
        for one in entries(tmp_path, ("sgd", "adam"))
    ]
    write_views(leaderboard(found), tmp_path)
    assert len(groups(tmp_path)) == 2
