"""The pass before training: shapes for the screen, and what does not fit, in words."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from assay import cli
from assay.config.load import load
from assay.data.module import DataModule
from assay.data.random import RandomData
from assay.errors import UserError
from assay.run.forward import Forward, forward
from assay.run.screen import model_table
from assay.training.learner import Learner
from assay.training.tasks import Classification, Task
from tests.test_terminal import lines_of


class Net(nn.Module):
    """Of a person's own, on three features and two classes."""

    def __init__(self, first: int = 3, last: int = 2) -> None:
        super().__init__()
        self.hidden = nn.Linear(first, 5)
        self.norm = nn.BatchNorm1d(5)
        self.out = nn.Linear(5, last)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.norm(self.hidden(x)).relu())


class Pair(Net):
    def forward(self, x: Tensor) -> Any:
        return x, x


def passed(network: nn.Module, task: Task | None = None) -> Forward:
    data = DataModule(RandomData(), 0, load("train", ["data=random"]).config.trainer)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return forward(Learner(network, task or Classification(), optimizer, None), data)


def notes(error: BaseException) -> str:
    return "\n".join(error.__notes__)


def test_the_shapes_of_a_sound_network_and_its_cost() -> None:
    network = Net()
    seen = passed(network)
    assert seen.shapes == {"hidden": (5,), "norm": (5,), "out": (2,)}
    assert seen.flop == 2 * (3 * 5 + 5 * 2)
    assert network.training and not any(layer._forward_hooks for layer in network.modules())  # pyright: ignore[reportPrivateUsage]


def test_the_table_of_layers_has_what_they_give() -> None:
    network = Net()
    lines = lines_of(model_table(network, passed(network).shapes), 80)
    assert lines[1].split() == ["layer", "output", "parameters", "type"]
    assert lines[3].split()[:3] == ["hidden", "5", "20"] and lines[-1].split() == ["total", "42"]
    assert max(map(len, lines_of(model_table(network, {}), 60))) <= 60


def test_a_wrong_shape_inside_names_the_layer() -> None:
    with pytest.raises(RuntimeError) as raised:
        passed(Net(first=4))
    assert notes(raised.value) == (
        "hidden: Linear(in_features=4, out_features=5, bias=True) was given (2, 3), expected (..., 4)"
    )


@pytest.mark.parametrize(
    ("network", "said"),
    [(Net(last=7), "gives (2, 7) for 2 samples"), (Pair(), "gives a tuple for 2 samples")],
)
def test_wrong_outputs_are_told_with_the_classes_and_the_file(network: nn.Module, said: str) -> None:
    with pytest.raises(ValueError, match="one logit for each of 2 classes") as raised:
        passed(network)
    assert said in str(raised.value)
    assert notes(raised.value).startswith(f"at {__file__}:")


def test_for_networks_of_torchs_own_the_config_is_at_fault() -> None:
    for network in (nn.Linear(4, 2), nn.Linear(3, 7)):
        with pytest.raises(UserError, match="model does not fit random: ") as raised:
            passed(network)
        assert len(str(raised.value).splitlines()) <= 4


def test_a_shape_that_was_typed_is_at_fault_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.train(["+model.out_shape=[7]", f"output_dir={tmp_path}"]) == 2
    assert "model.out_shape does not fit MNIST: MNISTClassifier gives (2, 7)" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


class OwnTask(Task):
    """Of a person's own; what it gives is wrong, or it raises."""

    directions = {"size": "max"}  # noqa: RUF012

    def __init__(self, loss: Tensor | None, value: Tensor) -> None:
        self.given = loss, value

    def out_shape(self, source: object) -> tuple[int, ...]:
        return (2,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.given[0] is None:
            raise TypeError("no targets of this kind")
        return self.given[0]

    def values(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"size": self.given[1]}

    def metrics(self, means: Any) -> Any:
        return means


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (OwnTask(torch.zeros(2), torch.zeros(2)), r"the loss of OwnTask is of shape \(2,\); \(\) is needed"),
        (OwnTask(torch.zeros(()), torch.zeros(())), r"size of OwnTask.values is of shape \(\)"),
    ],
)
def test_a_task_of_ones_own_is_checked(task: Task, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        passed(Net(), task)
    assert notes(raised.value).startswith(f"at {__file__}:")


def test_an_error_of_the_loss_says_what_it_was_given() -> None:
    with pytest.raises(TypeError) as raised:
        passed(Net(), OwnTask(None, torch.zeros(2)))
    assert notes(raised.value) == "OwnTask was given outputs (2, 2), targets (2,) of torch.int64"
