"""The generators' states survive a file, and belong to their process."""

import io
import logging
import random
from typing import Any

import numpy as np
import pytest
import torch

from assay.training.state import rng_of_all, rng_of_this, rng_state, set_rng_state


def draws() -> list[float]:
    return [random.gauss(0, 1), float(np.random.normal()), torch.randn(()).item()]


def through_a_file(state: Any) -> Any:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def test_generators_go_on_where_they_were() -> None:
    draws()  # leaves the second of a pair of normal numbers with Python and NumPy
    state = through_a_file(rng_state())
    expected = [draws() for _ in range(5)]
    set_rng_state(state)
    assert [draws() for _ in range(5)] == expected


def test_each_process_gets_its_own(caplog: pytest.LogCaptureFixture) -> None:
    assert len(rng_of_all(1)) == 1
    states: list[dict[str, Any]] = [{"torch": 0}, {"torch": 1}]
    assert rng_of_this(states, rank=1, world_size=2) == {"torch": 1}
    with caplog.at_level(logging.WARNING):
        assert rng_of_this(states, rank=0, world_size=1) is None
    assert "saved by 2 processes and goes on with 1" in caplog.text


def test_a_gpu_that_is_not_here(caplog: pytest.LogCaptureFixture) -> None:
    state = rng_state()
    gone = torch.cuda.device_count() + 1
    with caplog.at_level(logging.WARNING):
        set_rng_state(state | {"cuda": [torch.get_rng_state()] * gone})
    assert f"saved with {gone} GPUs" in caplog.text
