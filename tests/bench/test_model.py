"""The lesson's network, taken apart; and that Sequential is only offered where it is the same function."""

import pytest
import torch
from torch import Tensor, nn

from assay.bench import model
from assay.bench.model import memory
from assay.models.mlp import MNISTClassifier
from tests.bench.fake import HostAsGpu
from tests.bench.runs import cells, run


def test_the_lessons_shapes_parameters_and_flop() -> None:
    record, report = run("model", "seconds=60", "batch_sizes=[1,8]", "threads=1")
    assert report.lines == (
        "MNISTClassifier: (8, 28, 28) in, (8, 10) out",
        "101,770 parameters, 203,264 FLOP a sample forward",
    )
    assert cells(report, "MNISTClassifier", "layer") == ["flatten", "linear1", "relu", "linear2"]
    assert cells(report, "MNISTClassifier", "FLOP") == ["0", "200,704", "0", "2,560"]
    assert {(m.task.by, m.task.size) for m in record.ok()} == {
        ("class", 1), ("class", 8), ("Sequential", 1), ("Sequential", 8)
    }  # fmt: skip
    assert all(m.check and m.check.right for m in record.ok())


def test_another_model_can_be_named() -> None:
    record, report = run("model", "model=cnn", "seconds=60", "batch_sizes=[2]", "threads=1")
    assert report.lines[0] == "CNN: (8, 1, 28, 28) in, (8, 10) out"
    assert record.ok(by="class", size=2)


def test_it_runs_on_a_gpu() -> None:
    record, _ = run("model", "seconds=60", "batch_sizes=[2]", devices=[HostAsGpu()])
    assert {m.task.device for m in record.ok()} == {"cuda:0"}
    assert {m.task.what for m in record.ok()} == {"latency", "throughput"}
    assert not any(m.event_s for m in record.ok(what="latency"))


class Skipping(nn.Module):
    """Its layers in a row are another function."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(784, 784)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        return x + self.linear(x)


class Backwards(nn.Module):
    """Its layers do not even fit onto each other in the order of their names."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(5, 2)
        self.first = nn.Linear(28, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


@pytest.mark.parametrize("other", [Skipping, Backwards])
def test_a_model_that_is_no_chain_has_no_sequential(other: type[nn.Module]) -> None:
    torch.manual_seed(0)
    assert model.sequential(other().eval()) is None
    assert model.sequential(MNISTClassifier().eval()) is not None


def test_the_memory_of_a_batch_is_that_of_every_layers_output() -> None:
    parameters, pixels, outputs = 101_770, 784, 784 + 128 + 128 + 10
    assert memory(MNISTClassifier(), 100) == 4 * (parameters + 100 * (pixels + outputs))
