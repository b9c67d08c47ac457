"""Pictures of a run: the curves, the confusion matrix, the most confident mistakes."""

import csv
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

MISTAKES = 25


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
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
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
    figure = Figure(figsize=(6, 5.5), layout="constrained")
    axes = figure.subplots()
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
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][:MISTAKES]
    figure = Figure(figsize=(7, 7.6), layout="constrained")
    for index, axes in zip(worst.tolist(), figure.subplots(5, 5).flat, strict=False):
        axes.imshow(images[index, 0].numpy(), cmap="gray")
        axes.set_title(f"{int(labels[index])} taken for {int(taken[index])}\n{confidence[index]:.0%}", size=7)
    for axes in figure.axes:
        axes.set_axis_off()
    return figure
