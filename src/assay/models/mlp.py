"""The lesson's network: 784 - 128 - 10."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn


class MNISTClassifier(nn.Module):
    """A multilayer perceptron with one hidden layer of `width` units.

    Inputs of shape (batch, *in_shape) give outputs of shape (batch, *out_shape).
    """

    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="hidden units")] = 128,
        in_shape: tuple[int, ...] = (1, 28, 28),
        out_shape: tuple[int, ...] = (10,),
    ) -> None:
        super().__init__()
        if len(out_shape) != 1:
            raise ValueError(f"an MLP gives one row of numbers a sample, not {out_shape}")
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(math.prod(in_shape), width)
        self.relu = nn.ReLU()
        self.linear2 = nn.Linear(width, out_shape[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)  # (batch, 784)
        x = self.relu(self.linear1(x))  # (batch, width)
        return self.linear2(x)  # (batch, 10)
