"""The shipped networks: shapes, names, parameter counts."""

import pytest
import torch

from assay.models.autoencoder import Autoencoder
from assay.models.cnn import CNN
from assay.models.mlp import MNISTClassifier


def test_the_lessons_network() -> None:
    model = MNISTClassifier()
    assert model(torch.randn(8, 28, 28)).shape == torch.Size([8, 10])
    assert [name for name, _ in model.named_children()] == ["flatten", "linear1", "relu", "linear2"]
    assert sum(parameter.numel() for parameter in model.parameters()) == 101_770


def test_the_network_adapts_to_the_data() -> None:
    model = MNISTClassifier(width=5, in_shape=(3,), out_shape=(2,))
    assert model(torch.randn(4, 3)).shape == (4, 2)


@pytest.mark.parametrize("side", [28, 32, 29])
def test_cnn_takes_images_of_any_size(side: int) -> None:
    model = CNN(width=4, in_shape=(1, side, side), out_shape=(7,))
    assert model(torch.randn(2, 1, side, side)).shape == (2, 7)


def test_the_autoencoder_gives_images() -> None:
    model = Autoencoder(width=8, code=2, in_shape=(1, 6, 5), out_shape=(1, 6, 5))
    assert model(torch.randn(4, 1, 6, 5)).shape == (4, 1, 6, 5)


@pytest.mark.parametrize("network", [CNN, MNISTClassifier])
def test_a_classifier_refuses_to_give_images(network: type[CNN] | type[MNISTClassifier]) -> None:
    with pytest.raises(ValueError, match="one row of numbers"):
        network(out_shape=(1, 28, 28))


def test_cnn_refuses_what_is_no_image() -> None:
    with pytest.raises(ValueError, match="channels, height, width"):
        CNN(in_shape=(3,))
