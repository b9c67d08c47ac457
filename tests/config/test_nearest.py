import pytest

from assay.config.nearest import distance, nearest, nearest_key

KEYS = [
    "seed",
    "trainer",
    "trainer.max_epochs",
    "trainer.max_steps",
    "optimizer",
    "optimizer.lr",
    "data.batch_size",
]


@pytest.mark.parametrize(
    ("one", "other", "steps"),
    [
        ("adam", "adam", 0),
        ("adma", "adam", 1),
        ("adm", "adam", 1),
        ("adamm", "adam", 1),
        ("", "abc", 3),
        ("sgd", "adam", 4),
    ],
)
def test_letters_apart(one: str, other: str, steps: int) -> None:
    assert distance(one, other) == distance(other, one) == steps


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
