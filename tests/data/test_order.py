"""The order of batches is a function of (seed, epoch) alone."""

import torch

from assay.data.order import epoch_order


def test_the_same_seed_and_epoch_give_the_same_order() -> None:
    torch.manual_seed(1)
    first = epoch_order(100, seed=3, epoch=2)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    assert torch.equal(first, epoch_order(100, seed=3, epoch=2))
    assert torch.equal(state, torch.get_rng_state())  # the global generator is not touched


def test_every_seed_and_epoch_has_an_order_of_its_own() -> None:
    orders = {tuple(epoch_order(50, seed, epoch).tolist()) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    assert all(sorted(order) == list(range(50)) for order in orders)
