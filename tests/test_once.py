"""What is typed is composed once, validated once, and built once."""

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from assay import cli
from assay.config import compose, load
from tests.runs import SHORT


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the entry points are called."""
    counted: Counter[str] = Counter()

    def count(name: str, inner: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(inner)
        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[name] += 1
            return inner(*args, **kwargs)

        return counting

    compose._chosen.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(compose, "hydra_compose", count("hydra", compose.hydra_compose))
    monkeypatch.setattr(load, "compose", count("compose", load.compose))
    monkeypatch.setattr(load, "validate", count("validate", load.validate))
    monkeypatch.setattr(torch.optim.Adam, "__init__", count("Adam", torch.optim.Adam.__init__))
    return counted


def test_a_run_is_composed_validated_and_built_once(calls: Counter[str], tmp_path: Path) -> None:
    assert cli.train([*SHORT, f"output_dir={tmp_path}", "optimizer.lr=0.01", "stages=[fit]"]) == 0
    assert calls == {"hydra": 1, "compose": 1, "validate": 1, "Adam": 1}


def test_two_jobs_are_composed_and_validated_twice(calls: Counter[str], tmp_path: Path) -> None:
    words = ["-m", *SHORT, f"output_dir={tmp_path}", "seed=0,1", "stages=[fit]"]
    assert cli.train(words) == 0
    assert (calls["compose"], calls["validate"]) == (2, 2) and calls["hydra"] <= 2
