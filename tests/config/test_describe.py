from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from assay.config.describe import describe, note, show
from assay.config.frame import TrainerConfig
from assay.config.judge import fields


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
