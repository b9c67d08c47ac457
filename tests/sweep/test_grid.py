import pytest

from assay.errors import UserError
from assay.sweep.grid import expand, quoted, words_of


def test_a_product_turns_its_last_word_fastest() -> None:
    jobs = expand(["optimizer=sgd,adam", "seed=range(0,2)", "trainer.max_epochs=2"], "product")
    assert jobs[:2] == [
        ("optimizer=sgd", "seed=0", "trainer.max_epochs=2"),
        ("optimizer=sgd", "seed=1", "trainer.max_epochs=2"),
    ]
    assert len(jobs) == 4


def test_glob_takes_the_options_of_a_group() -> None:
    assert expand(["model=glob(*)"], "product") == [("model=cnn",), ("model=mlp",)]


def test_zip_takes_the_ith_values_together() -> None:
    jobs = expand(["optimizer=sgd,adam", "optimizer.lr=0.1,0.001", "seed=3"], "zip")
    assert jobs == [
        ("optimizer=sgd", "optimizer.lr=0.1", "seed=3"),
        ("optimizer=adam", "optimizer.lr=0.001", "seed=3"),
    ]


def test_zip_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(UserError, match=r"seed has 2, optimizer\.lr has 3"):
        expand(["seed=0,1", "optimizer.lr=1,2,3"], "zip")


@pytest.mark.parametrize("word", ["seed=interval(0,1)", "model=glob(zzz*)"])
def test_what_makes_no_grid_is_refused(word: str) -> None:
    with pytest.raises(UserError):
        expand([word], "product")


def test_a_grid_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(UserError, match="1,000,000 jobs"):
        expand(["seed=range(0,1000)", "trainer.max_epochs=range(1,1001)"], "product")


def test_the_command_line_has_the_last_word_on_a_key_of_the_file() -> None:
    words = words_of({"optimizer.lr": [0.1, 0.2], "seed": "range(0,3)"})
    assert words == ["optimizer.lr=0.1,0.2", "seed=range(0,3)"]
    assert len(expand([*words, "seed=7"], "product")) == 2


def test_a_file_may_nest_its_keys_and_an_item_with_a_comma_is_one_value() -> None:
    words = words_of({"optimizer": {"lr": [0.1, 0.2]}, "name": ["a,b", "c"]})
    assert words == ["optimizer.lr=0.1,0.2", "name='a,b',c"]
    assert [job[1] for job in expand(words, "zip")] == ["name='a,b'", "name=c"]


def test_a_quoted_id_stays_a_text() -> None:
    assert quoted("3293e081") == "'3293e081'"
