"""Schedules begin and end where they say."""

import pytest
import torch
from torch import nn

from assay.training.schedules import cosine, onecycle


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD(nn.Linear(2, 2).parameters(), lr=0.4, momentum=0.9)


def test_onecycle_warms_up_to_the_learning_rate_and_comes_down() -> None:
    sgd = optimizer()
    schedule = onecycle(sgd, total_steps=100, warmup=0.25)
    rates: list[float] = []
    for _ in range(100):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        schedule.step() if len(rates) < 100 else None
    assert rates[0] == pytest.approx(0.4 / 25)
    assert max(rates) == pytest.approx(0.4) and rates.index(max(rates)) in (23, 24, 25)
    assert rates[-1] < 1e-5
    assert sgd.param_groups[0]["momentum"] == 0.9


def test_cosine_goes_down_to_zero() -> None:
    sgd = optimizer()
    schedule = cosine(sgd, total_steps=10)
    for _ in range(10):
        sgd.step()
        schedule.step()
    assert sgd.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
