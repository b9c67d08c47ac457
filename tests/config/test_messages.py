from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from assay.config.messages import describe, nearest, nearest_key, note, show
from assay.config.schema import TrainerConfig
from assay.config.validate import fields


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "a whole number"),
        (Annotated[int, Field(ge=1)], "a whole number of at least 1"),
        (Annotated[float, Field(gt=0, lt=1)], "a number above 0 and below 1"),
        (
            fields(TrainerConfig)["limit_val_batches"],
            "a whole number of at least 0 or a number from 0.0 to 1.0 or null",
        ),
        (Literal["a", "b"], "one of a, b"),
        (int | Literal["auto"], "a whole number or auto"),
        (tuple[float, float], "a list of 2 values, each a number"),
        (tuple[Literal["a", "b"], ...], "a list of values, each one of a, b"),
        (dict[str, int] | None, "a mapping of keys to values or null"),
        (bool, "true or false"),
        (float | Path | None, "a number or null"),  # no object can be typed
        (list, "a list"),
    ],
)
def test_a_type_in_words(annotation: Any, words: str) -> None:
    assert describe(annotation) == words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        ("abc", "abc"),
        ("5", '"5"'),
        ("", '""'),
        ("null", '"null"'),
        ([1, "a"], "[1, a]"),
        ({"a": [None]}, "{a: [null]}"),
        ("a\nb", repr("a\nb")),
    ],
)
def test_a_value_as_it_would_be_typed(value: object, text: str) -> None:
    assert show(value) == text


def test_a_long_value_is_cut() -> None:
    assert len(show("x" * 500)) == 60


def test_the_line_of_help() -> None:
    assert note(Annotated[int, Field(ge=1, description="units")]) == "units"
    assert note(int) is None


KEYS = [
    "seed",
    "trainer",
    "trainer.max_epochs",
    "trainer.max_steps",
    "optimizer",
    "optimizer.lr",
    "data.batch_size",
]


def test_every_name_within_two_letters_is_found() -> None:
    name = "max_epochs"
    for at in range(len(name)):
        dropped = name[:at] + name[at + 1 :]
        assert nearest(dropped, ["seed", name]) == [name]
        assert nearest(dropped[1:] or "x", ["seed", name])[:1] in ([name], ["seed"])
        assert nearest(name[:at] + "zz" + name[at:], ["seed", name]) == [name]


def test_equally_near_names_are_all_given() -> None:
    assert nearest("tpu", ["auto", "cpu", "gpu", "mps"]) == ["cpu", "gpu"]


def test_nothing_is_near_a_foreign_word() -> None:
    assert nearest("resnet", ["cnn", "mlp"]) == []
    assert nearest_key("foo", KEYS) == []


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("sead", "seed"),
        ("trianer.max_epochs", "trainer.max_epochs"),
        ("trainer.max_epoch", "trainer.max_epochs"),
        ("lr", "optimizer.lr"),
        ("model.lr", "optimizer.lr"),
        ("batchsize", "data.batch_size"),
    ],
)
def test_a_key_is_found_by_its_parts_or_in_another_place(typed: str, right: str) -> None:
    assert nearest_key(typed, KEYS)[0] == right
