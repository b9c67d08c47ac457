"""The lesson's RandomDataset."""

import pytest
import torch
from torch.utils.data import DataLoader

from assay.data.random import RandomData, RandomDataset


def test_shapes_of_the_lesson() -> None:
    batches = list(DataLoader(RandomDataset(10), batch_size=4))
    assert [tuple(features.shape) for features, _ in batches] == [(4, 3), (4, 3), (2, 3)]
    assert all(set(labels.tolist()) <= {0, 1} for _, labels in batches)


def test_samples_are_made_on_the_fly_and_stay_the_same() -> None:
    one, other = RandomDataset(10), RandomDataset(10)
    assert torch.equal(one[3][0], other[3][0])
    assert not torch.equal(one[3][0], one[4][0])
    with pytest.raises(IndexError):
        one[10]


def test_the_splits_differ() -> None:
    data = RandomData(length=5)
    assert not torch.equal(data.dataset("train")[0][0], data.dataset("test")[0][0])
