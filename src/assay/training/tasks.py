"""What a network is trained for: the loss that is minimized, and the metrics by which it is judged."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, final

from pydantic import Field
from torch import Tensor, nn

from assay.data.source import Source
from assay.errors import UserError

Direction = Literal["max", "min"]


class Task(ABC):
    """Turns outputs (batch, *out_shape) and targets into a loss and into metrics.

    Metrics follow from means over samples, so that any number of batches can be added up on the device.
    """

    directions: Mapping[
        str, Direction
    ]  # of each metric, the end that is best; the first decides which epoch is

    @property
    def metric(self) -> str:
        """What decides which epoch, and which run of a sweep, is the best."""
        return f"val/{next(iter(self.directions))}"

    @property
    def direction(self) -> Direction:
        return next(iter(self.directions.values()))

    @abstractmethod
    def out_shape(self, source: Source) -> tuple[int, ...]:
        """What a network is to give for one sample; raises `UserError` for data of another kind."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over the batch, of shape ()."""

    @abstractmethod
    def values(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        """What is averaged over samples, each of shape (batch,)."""

    @abstractmethod
    def metrics(self, means: Mapping[str, float]) -> Mapping[str, float]:
        """The metrics, named as in `directions`, from the means of `values`."""


@dataclass
class Sums:
    """Loss and values summed over samples, in double precision and in the order of the steps."""

    loss: float = 0.0
    values: dict[str, float] = field(default_factory=dict[str, float])
    samples: int = 0

    def add(self, loss: float, values: Mapping[str, float], samples: int) -> None:
        """A batch's mean loss, and its sums of values."""
        self.loss += loss * samples
        for name, value in values.items():
            self.values[name] = self.values.get(name, 0.0) + value
        self.samples += samples

    def metrics(self, task: Task, prefix: str) -> dict[str, float]:
        """Loss and metrics of the samples so far; a metric that is not finite is left out."""
        means = {name: value / self.samples for name, value in self.values.items()}
        finite = {name: float(value) for name, value in task.metrics(means).items() if math.isfinite(value)}
        measured = {"loss": self.loss / self.samples, **finite}
        return {f"{prefix}{name}": value for name, value in measured.items()}


@final
class Classification(Task):
    """Cross-entropy and accuracy; outputs are logits (batch, classes), targets labels (batch,)."""

    directions = {"accuracy": "max"}  # noqa: RUF012

    def __init__(
        self,
        label_smoothing: Annotated[
            float, Field(ge=0, lt=1, description="share of each target that all classes get alike")
        ] = 0.0,
    ) -> None:
        self.label_smoothing = label_smoothing

    def out_shape(self, source: Source) -> tuple[int, ...]:
        if source.num_classes is None:
            raise UserError(
                f"task=classification needs labels; the targets of {source.name} are numbers of shape "
                f"{source.target_shape}\n  for these type task=regression"
            )
        return (source.num_classes,)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return nn.functional.cross_entropy(outputs, targets, label_smoothing=self.label_smoothing)

    def values(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        return {"accuracy": outputs.argmax(1) == targets}

    def metrics(self, means: Mapping[str, float]) -> Mapping[str, float]:
        return means


@final
class Regression(Task):
    """Squared or absolute error, and R2; outputs and targets are numbers (batch, *target_shape).

    R2 is 1 - (mean squared error / variance of the targets), over all numbers of all samples together.
    """

    directions = {"r2": "max", "mae": "min"}  # noqa: RUF012

    def __init__(
        self,
        error: Annotated[
            Literal["squared", "absolute"], Field(description="whose mean is the loss")
        ] = "squared",
    ) -> None:
        self.error = error

    def out_shape(self, source: Source) -> tuple[int, ...]:
        if not source.target_shape:
            raise UserError(
                f"task=regression needs targets that are numbers; those of {source.name} are labels\n"
                "  for these type task=classification; MNIST has numbers with data.target=ink or image"
            )
        return source.target_shape

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (
            nn.functional.mse_loss(outputs, targets)
            if self.error == "squared"
            else nn.functional.l1_loss(outputs, targets)
        )

    def values(self, outputs: Tensor, targets: Tensor) -> Mapping[str, Tensor]:
        error, targets = (outputs - targets).flatten(1), targets.flatten(1)
        return {
            "absolute": error.abs().mean(1),
            "squared": error.square().mean(1),
            "target": targets.mean(1),
            "target_squared": targets.square().mean(1),
        }

    def metrics(self, means: Mapping[str, float]) -> Mapping[str, float]:
        variance = means["target_squared"] - means["target"] ** 2
        r2 = 1 - means["squared"] / variance if variance > 0 else math.nan
        return {"r2": r2, "mae": means["absolute"]}
