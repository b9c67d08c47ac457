import re

import pytest

from assay.errors import UserError
from assay.sweep.grid import LONGEST, expand, grid_name, job_name, overrides_of, quoted


def test_a_product_turns_its_last_key_fastest() -> None:
    jobs = expand(["optimizer=sgd,adam", "seed=range(0,2)", "trainer.max_epochs=2"], "product")
    assert jobs[:2] == [
        ("optimizer=sgd", "seed=0", "trainer.max_epochs=2"),
        ("optimizer=sgd", "seed=1", "trainer.max_epochs=2"),
    ]
    assert len(jobs) == 4


def test_glob_takes_the_options_of_a_group() -> None:
    assert expand(["model=glob(*)"], "product") == [("model=autoencoder",), ("model=cnn",), ("model=mlp",)]


def test_zip_takes_the_ith_values_together() -> None:
    jobs = expand(["optimizer=sgd,adam", "optimizer.lr=0.1,0.001", "seed=3"], "zip")
    assert jobs == [
        ("optimizer=sgd", "optimizer.lr=0.1", "seed=3"),
        ("optimizer=adam", "optimizer.lr=0.001", "seed=3"),
    ]


def test_zip_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(UserError, match=r"seed has 2, optimizer\.lr has 3"):
        expand(["seed=0,1", "optimizer.lr=1,2,3"], "zip")


@pytest.mark.parametrize("override", ["seed=interval(0,1)", "model=glob(zzz*)"])
def test_what_makes_no_grid_is_refused(override: str) -> None:
    with pytest.raises(UserError):
        expand([override], "product")


def test_a_grid_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(UserError, match="1,000,000 jobs"):
        expand(["seed=range(0,1000)", "trainer.max_epochs=range(1,1001)"], "product")


def test_the_command_line_has_the_last_word_on_a_key_of_the_file() -> None:
    overrides = overrides_of({"optimizer.lr": [0.1, 0.2], "seed": "range(0,3)"})
    assert overrides == ["optimizer.lr=0.1,0.2", "seed=range(0,3)"]
    assert len(expand([*overrides, "seed=7"], "product")) == 2


def test_a_file_may_nest_its_keys_and_an_item_with_a_comma_is_one_value() -> None:
    overrides = overrides_of({"optimizer": {"lr": [0.1, 0.2]}, "name": ["a,b", "c"]})
    assert overrides == ["optimizer.lr=0.1,0.2", "name='a,b',c"]
    assert [job[1] for job in expand(overrides, "zip")] == ["name='a,b'", "name=c"]


def test_items_of_every_kind_are_read_back_as_they_were() -> None:
    overrides = overrides_of({"x": [["fit", "test"], None, True, 1e-5, 1, 0, {"a": [1, False]}]})
    assert [job[0] for job in expand(overrides, "product")] == [
        "x=[fit,test]", "x=null", "x=True", "x=1e-05", "x=1", "x=0", "x={a:[1,False]}",
    ]  # fmt: skip


def test_a_quoted_id_stays_a_text() -> None:
    assert quoted("3293e081") == "'3293e081'"


def test_a_jobs_folder_is_named_by_its_changed_keys_and_ends_in_its_id() -> None:
    job = ("optimizer=sgd", "seed=0", "trainer.max_epochs=2")
    assert job_name(job, ["optimizer", "seed"], "2a97c716") == "optimizer=sgd,seed=0-2a97c716"
    assert job_name(job, [], "2a97c716") == "all-2a97c716"


def test_names_are_safe_and_short_whatever_the_values_are() -> None:
    job = tuple(f"+callbacks.x{at}.path='../../a b/{at}:*?'" for at in range(30))
    name = job_name(job, [f"callbacks.x{at}.path" for at in range(30)], "2a97c716d00d")
    assert len(name) <= LONGEST and name.endswith("-2a97c716d00d")
    assert re.fullmatch(r"[\w.+=,-]+", name)


def test_a_sweep_is_named_after_its_grid_and_the_same_grid_has_the_same_name() -> None:
    grid = expand(["optimizer=sgd,adam", "seed=0,1,2"], "product")
    name = grid_name(grid, ["a", "b"])
    assert re.fullmatch(r"optimizer=sgd,adam_seed=0,1,2-[0-9a-f]{12}", name)
    assert grid_name(grid, ["b", "a"]) == name
    assert grid_name(grid, ["a", "c"]) != name
    assert len(grid_name(expand(["seed=range(0,1000)"], "product"), ["a"])) <= LONGEST
