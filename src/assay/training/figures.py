"""Pictures of a run: its curves, and what a test says of it."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchmetrics.functional.classification import (
    binary_average_precision,
    binary_precision_recall_curve,
)

from assay.training.sheets import GRID, Sheet, class_names, confusion, mistakes, of_images

BINS = 15  # of confidence, as in Guo et al. 2017
MOST_CLASSES = 10  # curves that can be told apart
MOST_BARS = 40


def _axes(width: float, height: float, columns: int = 1, left: float = 0.8) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches, with margins that are given: to compute them costs as much as to draw."""
    figure = Figure(figsize=(width, height))
    left, right, low, high = left / width, 1 - 0.2 / width, 0.55 / height, 1 - 0.15 / height
    figure.subplots_adjust(left, low, right, high, wspace=0.25)
    return figure, list(figure.subplots(1, columns, squeeze=False)[0])


def pixels(figure: Figure | Sheet) -> NDArray[np.uint8]:
    """The figure drawn, once for all who show it: (height, width, 3)."""
    if isinstance(figure, Sheet):
        return figure.pixels()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(drawn: NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(drawn).save(content, "png", compress_level=1)
    return content.getvalue()


def save(content: bytes, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def curves(measured: Mapping[str, Mapping[int, float]], names: Sequence[str]) -> Figure:
    """Metrics, such as loss and accuracy, side by side over steps; `measured` has those of each split."""
    figure, panels = _axes(10, 4, columns=len(names))
    for axes, what in zip(panels, names, strict=True):
        for split, style in (("train", "-"), ("val", "o-")):
            if curve := measured[f"{split}/{what}"]:
                axes.plot(*zip(*curve.items(), strict=True), style, label=split)
        axes.set(xlabel="step", ylabel=what)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def is_of_classes(outputs: Tensor, targets: Tensor) -> bool:
    """Whether they are logits (samples, classes) and labels (samples,)."""
    return not targets.is_floating_point() and targets.ndim == 1 and outputs.ndim == 2


def of_test(
    outputs: Tensor,
    targets: Tensor,
    images: Tensor | None,
    names: Sequence[str] = (),
    in_detail: bool = False,
) -> dict[str, Figure | Sheet]:
    """Those of a test by name; `images` are its inputs, where they are images, `names` those of classes."""
    if is_of_classes(outputs, targets):
        drawn: dict[str, Figure | Sheet] = {"confusion": confusion(outputs, targets, names)}
        if images is not None:
            drawn["mistakes"] = mistakes(images, outputs, targets, names)
        if in_detail:
            drawn["class_accuracy"] = class_bars(class_accuracy(outputs, targets, names))
            drawn["precision_recall"] = precision_recall(outputs, targets, names)
            drawn["calibration"] = calibration(outputs, targets)
        return drawn
    if outputs.shape != targets.shape:
        return {}
    if outputs.ndim == 4:
        return {"outputs": pairs(targets, outputs)}
    return {"predictions": scatter(outputs, targets)}


def class_accuracy(logits: Tensor, labels: Tensor, names: Sequence[str] = ()) -> dict[str, float]:
    """The share of each class's samples that is told right; classes without samples are left out."""
    samples = labels.bincount(minlength=logits.shape[1])
    right = labels[logits.argmax(1) == labels].bincount(minlength=logits.shape[1])
    counted = zip(class_names(logits.shape[1], names), right.tolist(), samples.tolist(), strict=True)
    return {name: told / count for name, told, count in counted if count}


def class_bars(accuracies: Mapping[str, float]) -> Figure:
    """A bar a class; of many classes the worst ones."""
    worst = sorted(accuracies, key=accuracies.__getitem__)[:MOST_BARS]
    shown = [name for name in accuracies if name in worst][::-1]
    values = [accuracies[name] for name in shown]
    figure, (axes,) = _axes(6, max(3.0, 0.25 * len(shown) + 1), left=1.4)
    bars = axes.barh(range(len(shown)), values, color="0.75", height=0.7)
    axes.bar_label(bars, [f"{value:.1%}" for value in values], padding=3, size=8)
    axes.set(xlabel="accuracy", xlim=(0, 1.12), xticks=[0, 0.25, 0.5, 0.75, 1])
    axes.set_yticks(range(len(shown)), [name[-20:] for name in shown])
    return figure


def precision_recall(logits: Tensor, labels: Tensor, names: Sequence[str] = ()) -> Figure:
    """Each class against all others, with its average precision; of many classes those with the least.

    Good classes would share one corner: of the axes only the part where the curves differ is shown.
    """
    probabilities, names = logits.softmax(1), class_names(logits.shape[1], names)
    present = [(at, labels == at) for at in labels.unique().tolist()]
    averages = {at: float(binary_average_precision(probabilities[:, at], own.int())) for at, own in present}
    worst = sorted(sorted(averages, key=averages.__getitem__)[:MOST_CLASSES])
    figure, (axes,) = _axes(6, 5.7)
    for at in worst:
        precision, recall, _ = binary_precision_recall_curve(probabilities[:, at], (labels == at).int())
        axes.plot(recall.numpy(), precision.numpy(), label=f"{names[at][-20:]}  {averages[at]:.3f}")
    low = max(0.0, 1 - 8 * (1 - averages[min(averages, key=averages.__getitem__)]) - 0.02)
    high = 1 + 0.02 * (1 - low)
    axes.set(xlabel="recall", ylabel="precision", xlim=(low, high), ylim=(low, high))
    axes.legend(title="average precision", loc="lower left", fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def calibration(logits: Tensor, labels: Tensor) -> Figure:
    """Accuracy in each bin of confidence, with the expected calibration error (Guo et al. 2017)."""
    confidence, taken = logits.softmax(1).double().max(1)
    at = (confidence * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    samples = at.bincount(minlength=BINS)
    accuracy = at.bincount((taken == labels).double(), BINS) / samples.clamp(min=1)
    expected = at.bincount(confidence, BINS) / samples.clamp(min=1)
    error = float((samples * (accuracy - expected).abs()).sum() / len(labels))
    figure, (axes,) = _axes(6, 5.7)
    figure.subplots_adjust(top=0.87)  # what is beneath a legend inside may be a bar
    middles = [(bin + 0.5) / BINS for bin in range(BINS)]
    bars = axes.bar(middles, accuracy.tolist(), width=0.9 / BINS, color="C0", label="accuracy")
    axes.bar_label(bars, [f"{count:,}" if count else "" for count in samples.tolist()], size=7, padding=2)
    axes.plot([0, 1], [0, 1], "k--", linewidth=0.8, label="as confident as right")
    axes.set(xlabel="confidence (samples above each bar)", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.06))
    said = f"expected calibration error {error:.2%}"
    axes.legend(title=said, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8, frameon=False)
    return figure


def pairs(targets: Tensor, outputs: Tensor) -> Sheet:
    """The first images that were to be made, each with what was made of it to its right."""
    sides = torch.cat([targets[: GRID**2], outputs[: GRID**2]], dim=3)
    return of_images(sides, ["target | output"] * len(sides))


def scatter(outputs: Tensor, targets: Tensor) -> Figure:
    """Every output against its target."""
    figure, (axes,) = _axes(6, 5.7)
    axes.plot(targets.flatten().numpy(), outputs.flatten().numpy(), ".", markersize=2, alpha=0.3)
    low, high = float(targets.min()), float(targets.max())
    axes.plot([low, high], [low, high], "k-", linewidth=0.8)
    axes.set(xlabel="target", ylabel="output")
    return figure


def predictions(rows: Sequence[tuple[str, Image.Image, Tensor, Tensor]], names: Sequence[str]) -> Figure:
    """Each picture as given, as the network sees it, (channels, height, width), and its best five classes."""
    figure = Figure(figsize=(9, 1.6 * len(rows) + 0.2), layout="constrained")
    for line, (name, given, seen, probabilities) in zip(
        figure.subplots(len(rows), 3, squeeze=False), rows, strict=True
    ):
        line[0].imshow(np.asarray(given.convert("RGB")))
        line[0].set_title(name[-32:], size=8)
        line[1].set_title("as the network sees it", size=8)
        low, high = seen.min(), seen.max()
        line[1].imshow(((seen - low) / (high - low).clamp(min=1e-9)).permute(1, 2, 0).numpy(), cmap="gray")
        for axes in line[:2]:
            axes.set_axis_off()
        values, classes = probabilities.topk(min(5, len(names)))
        said = [names[at] for at in classes.tolist()][::-1]
        line[2].barh(said, values.tolist()[::-1], color=["0.7"] * (len(said) - 1) + ["C0"])
        line[2].set_xlim(0, 1)
        line[2].tick_params(labelsize=7)
    return figure
