"""Runs for the tests, composed as a user types them."""

import csv
import json
from pathlib import Path
from typing import Any

import torch

from assay import cli
from assay.config.load import load
from assay.config.schema import TrainConfig

# small enough for a test, long enough to have epochs, a schedule and rows
SHORT = (
    "device=cpu", "device.threads=1", "trainer.max_epochs=2", "trainer.limit_train_batches=20",
    "trainer.limit_val_batches=5", "trainer.limit_test_batches=5", "trainer.log_every_n_steps=5",
)  # fmt: skip


def config(*words: str) -> TrainConfig:
    return load("train", words).config


def run(*words: str) -> int:
    """`python train.py words`: the exit code."""
    return cli.train(words)


def train(output_dir: Path, *words: str, code: int = 0) -> Path:
    """The folder of a run that ended with the exit code."""
    overrides = [*SHORT, f"output_dir={output_dir}", *words]
    before = set((output_dir / "runs").glob("*"))
    assert run(*overrides) == code
    (folder,) = set((output_dir / "runs").glob("*")) - before
    return folder


def result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv` without what depends on the clock."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in ("seconds", "samples_per_second")}
            for row in csv.DictReader(file)
        ]


def checkpoint(folder: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def same_tensors(one: Any, other: Any) -> bool:
    """Whether two nested structures hold the same tensors, bit for bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_tensors(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_tensors, one, other))
    return one == other
