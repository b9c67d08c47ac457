"""A small autoencoder: images through a bottleneck, and back."""

import math
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn


class Autoencoder(nn.Module):
    """Four linear layers with `code` numbers in the middle; for data whose targets are the inputs.

    Inputs of shape (batch, *in_shape) give outputs of shape (batch, *out_shape).
    """

    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="hidden units on either side")] = 128,
        code: Annotated[int, Field(ge=1, description="numbers that an image is brought down to")] = 16,
        in_shape: tuple[int, ...] = (1, 28, 28),
        out_shape: tuple[int, ...] = (1, 28, 28),
    ) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(in_shape), width), nn.ReLU(), nn.Linear(width, code)
        )
        self.decoder = nn.Sequential(
            nn.Linear(code, width),
            nn.ReLU(),
            nn.Linear(width, math.prod(out_shape)),
            nn.Unflatten(1, out_shape),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))
