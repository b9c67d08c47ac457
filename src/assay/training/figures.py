"""Pictures of a run: the curves, the confusion matrix, the most confident mistakes."""

import csv
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

GRID = 5  # mistakes in a row and in a column


def _axes(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches, with margins that are given: to compute them costs as much as to draw."""
    figure = Figure(figsize=(width, height))
    left, right, low, high = 0.65 / width, 1 - 0.15 / width, 0.55 / height, 1 - 0.15 / height
    figure.subplots_adjust(left, low, right, high, wspace=0.25)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure drawn, once for all who show it: (height, width, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def save(drawn: NDArray[np.uint8], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(drawn).save(path)


def curves(metrics: Path) -> Figure:
    """Loss and accuracy over steps, from the rows of `metrics.csv`."""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, panels = _axes(10, 4, columns=2)
    for axes, what in zip(panels, ("loss", "accuracy"), strict=True):
        for split, style in (("train", "-"), ("val", "o-")):
            points = [
                (int(row["step"]), float(row[f"{split}/{what}"])) for row in rows if row[f"{split}/{what}"]
            ]
            if points:
                axes.plot(*zip(*points, strict=True), style, label=split)
        axes.set(xlabel="step", ylabel=what)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def confusion(logits: Tensor, labels: Tensor) -> Figure:
    """How many of each true class were taken for which; logits (samples, classes), labels (samples,)."""
    classes = logits.shape[1]
    counts = multiclass_confusion_matrix(logits, labels, num_classes=classes)
    figure, (axes,) = _axes(6, 5.7)
    axes.imshow(counts.float().log1p().numpy(), cmap="Blues")
    for true in range(classes):
        for taken in range(classes):
            shade = "white" if counts[true, taken] > counts.max() / 10 else "black"
            axes.text(
                taken, true, str(int(counts[true, taken])), ha="center", va="center", color=shade, size=8
            )
    axes.set(xlabel="predicted class", ylabel="true class", xticks=range(classes), yticks=range(classes))
    return figure


def mistakes(images: Tensor, logits: Tensor, labels: Tensor) -> Figure:
    """The wrong answers given with the most confidence; images of shape (samples, 1, height, width)."""
    confidence, taken = logits.softmax(1).max(1)
    wrong = torch.nonzero(taken != labels).flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][: GRID**2]
    height, width = images.shape[2:]
    gap = height // 2  # above each image, for what is said of it
    sheet = np.full((GRID * (height + gap), GRID * (width + gap)), np.nan, np.float32)
    figure, (axes,) = _axes(7, 7)
    axes.set_position((0, 0, 1, 1))
    for place, index in enumerate(worst.tolist()):
        top, left = place // GRID * (height + gap) + gap * 3 // 4, place % GRID * (width + gap) + gap // 2
        sheet[top : top + height, left : left + width] = images[index, 0].numpy()
        said = f"{int(labels[index])} taken for {int(taken[index])}, {confidence[index]:.0%}"
        axes.text(left + width / 2, top - gap / 4, said, ha="center", size=7)
    axes.imshow(sheet, cmap="gray")  # one picture: an axes for each would take as long as an epoch
    axes.set_axis_off()
    return figure
