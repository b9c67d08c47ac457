"""Pictures of a run: the curves, the confusion matrix, the most confident mistakes."""

import csv
from collections.abc import Sequence
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
    left, right, low, high = 0.8 / width, 1 - 0.2 / width, 0.55 / height, 1 - 0.15 / height
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


def curves(metrics: Path, names: tuple[str, str]) -> Figure:
    """Two metrics, such as loss and accuracy, over steps, from the rows of `metrics.csv`."""
    with metrics.open(newline="") as file:
        rows = list(csv.DictReader(file))
    figure, panels = _axes(10, 4, columns=2)
    for axes, what in zip(panels, names, strict=True):
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


def of_test(outputs: Tensor, targets: Tensor, images: Tensor | None) -> dict[str, Figure]:
    """Those of a test by name; `images` are its inputs, where they are images."""
    if not targets.is_floating_point() and outputs.ndim == 2:
        drawn = {"confusion": confusion(outputs, targets)}
        return drawn if images is None else drawn | {"mistakes": mistakes(images, outputs, targets)}
    if outputs.shape != targets.shape:
        return {}
    if outputs.ndim == 4:
        return {"outputs": pairs(targets, outputs)}
    return {"predictions": scatter(outputs, targets)}


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
    """The wrong answers given with the most confidence; images (samples, channels, height, width)."""
    confidence, taken = logits.softmax(1).max(1)
    wrong = torch.nonzero(taken != labels).flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][: GRID**2]
    said = [f"{int(labels[at])} taken for {int(taken[at])}, {confidence[at]:.0%}" for at in worst.tolist()]
    return _sheet(images[worst, 0], said)


def pairs(targets: Tensor, outputs: Tensor) -> Figure:
    """The first images that were to be made, each with what was made of it to its right."""
    sides = torch.cat([targets[: GRID**2, 0], outputs[: GRID**2, 0]], dim=2)
    return _sheet(sides, ["target | output"] * len(sides))


def scatter(outputs: Tensor, targets: Tensor) -> Figure:
    """Every output against its target."""
    figure, (axes,) = _axes(6, 5.7)
    axes.plot(targets.flatten().numpy(), outputs.flatten().numpy(), ".", markersize=2, alpha=0.3)
    low, high = float(targets.min()), float(targets.max())
    axes.plot([low, high], [low, high], "k-", linewidth=0.8)
    axes.set(xlabel="target", ylabel="output")
    return figure


def _sheet(images: Tensor, said: Sequence[str]) -> Figure:
    """Grey images (samples, height, width) in rows of five, with a line over each."""
    height, width = images.shape[1:]
    gap = height // 2  # above each image, for what is said of it
    sheet = np.full((GRID * (height + gap), GRID * (width + gap)), np.nan, np.float32)
    figure, (axes,) = _axes(7, 7)
    axes.set_position((0, 0, 1, 1))
    for at, (image, line) in enumerate(zip(images, said, strict=True)):
        top, left = at // GRID * (height + gap) + gap * 3 // 4, at % GRID * (width + gap) + gap // 2
        sheet[top : top + height, left : left + width] = image.numpy()
        axes.text(left + width / 2, top - gap / 4, line, ha="center", size=7)
    axes.imshow(sheet, cmap="gray")  # one picture: an axes for each would take as long as an epoch
    axes.set_axis_off()
    return figure
