"""A small convolutional network, to show that a model is any `nn.Module`."""

from typing import Annotated

from pydantic import Field
from torch import Tensor, nn


class CNN(nn.Module):
    """Two convolutions with max-pooling, then a linear layer; for images of shape (channels, height, width).

    Inputs of shape (batch, *in_shape) give outputs of shape (batch, *out_shape).
    """

    def __init__(
        self,
        width: Annotated[int, Field(ge=1, description="channels of the first convolution")] = 16,
        dropout: Annotated[float, Field(ge=0, lt=1, description="share of features dropped")] = 0.25,
        in_shape: tuple[int, ...] = (1, 28, 28),
        out_shape: tuple[int, ...] = (10,),
    ) -> None:
        super().__init__()
        if len(in_shape) != 3:
            raise ValueError(f"a CNN needs images of shape (channels, height, width), not {in_shape}")
        if len(out_shape) != 1:
            raise ValueError(f"a CNN gives one row of numbers a sample, not {out_shape}")
        channels, height, rest = in_shape
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width * (height // 4) * (rest // 4), out_shape[0])

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (batch, 2 * width, 7, 7)
        return self.head(self.dropout(x.flatten(1)))  # (batch, 10)
