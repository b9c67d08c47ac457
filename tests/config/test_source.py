import pytest

from assay.config.allowed import resolve
from assay.config.constructor import constructor
from assay.config.describe import describe, note
from assay.config.source import parameters


@pytest.mark.parametrize(
    "target",
    [
        "assay.models.mlp.MNISTClassifier",
        "assay.models.cnn.CNN",
        "assay.data.images.MNIST",
        "assay.data.images.FashionMNIST",
        "assay.data.random.RandomData",
        "assay.training.schedules.onecycle",
    ],
)
def test_the_source_says_what_the_class_says(target: str) -> None:
    read, real = parameters(target), constructor(resolve(target)).annotations
    assert read.keys() == real.keys()
    for name, annotation in real.items():
        if name != "optimizer":  # a class of torch: help leaves it out
            assert (describe(read[name]), note(read[name])) == (describe(annotation), note(annotation))


def test_a_foreign_class_is_not_looked_for() -> None:
    assert parameters("torch.optim.Adam") == {}
