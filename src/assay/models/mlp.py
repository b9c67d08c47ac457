"""The lesson's network: 784 - 128 - 10."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn


class MNISTClassifier(nn.Module):
    """A multilayer perceptron with one hidden layer of `width` units.

    Inputs of shape (batch, *in_shape) give logits of shape (batch, num_classes).
    """

    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="hidden units")] = 128,
        in_shape: tuple[int, ...] = (1, 28, 28),
        num_classes: Annotated[int, Field(ge=2)] = 10,
    ) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(math.prod(in_shape), width)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)  # (batch, 784)
        x = self.relu(self.linear1(x))  # (batch, width)
        return self.linear2(x)  # (batch, 10)
