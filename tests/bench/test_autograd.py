"""The lesson's numbers, and that a wrong gradient would be seen."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assay.bench import autograd
from tests.bench.fake import HostAsGpu
from tests.bench.runs import cells, run


def test_the_lesson_reads_69_48_48() -> None:
    record, report = run("autograd", "seconds=60", "batch_sizes=[8]", "model.width=16", "threads=1")
    assert report.lines[:3] == ("Y = 69.0", "X Grad = 48.0", "3(4)**2 = 48")
    assert report.lines[3] == "gradcheck of MNISTClassifier: passed"
    assert report.failures == ()
    assert len(record.ok(what="pass", size=8)) == 4
    assert len(cells(report, "autograd against calculus", "f(x)")) == len(autograd.FUNCTIONS)


def test_the_graph_keeps_what_inference_mode_lets_go() -> None:
    record, _ = run("autograd", "seconds=60", "batch_sizes=[64]", "model.width=128", "threads=1")
    kept = {key.split(" cpu ")[1]: value for key, value in record.details["graph_bytes"].items()}
    hidden = 64 * 128 * 4
    assert kept["forward, inference_mode 1 threads"] == kept["forward, no_grad 1 threads"] == 0
    assert kept["forward, with the graph 1 threads"] == hidden


def test_it_runs_on_a_gpu() -> None:
    record, _ = run("autograd", "seconds=60", "batch_sizes=[8]", "model.width=16", devices=[HostAsGpu()])
    assert {m.task.device for m in record.ok()} == {"cuda:0"}


class Wrong(torch.autograd.Function):
    """x^2 with a derivative of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * x


class WrongModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 3)

    def forward(self, x: Tensor) -> Tensor:
        return Wrong.apply(self.linear(x.flatten(1)))  # type: ignore[no-any-return]


def test_a_wrong_derivative_fails_gradcheck() -> None:
    assert autograd.gradcheck(WrongModel(), seed=0).startswith("failed: ")


@pytest.mark.parametrize("name", list(autograd.FUNCTIONS))
def test_each_derivative_of_the_table_agrees_with_a_difference_quotient(name: str) -> None:
    function, derivative, at = autograd.FUNCTIONS[name]
    x, h = torch.tensor(at, dtype=torch.float64), 1e-6
    quotient = (function(x + h) - function(x - h)) / (2 * h)
    torch.testing.assert_close(derivative(x), quotient, rtol=1e-6, atol=1e-6)
