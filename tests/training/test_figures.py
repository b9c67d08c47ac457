"""What is to be seen on the pictures, read from the figures before they are drawn."""

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torchmetrics.functional.classification import multiclass_average_precision, multiclass_calibration_error

from assay.run.report import read_curves
from assay.training import figures
from assay.training.sheets import Sheet, inputs

LABELS = torch.tensor([0, 1, 2, 2])
LOGITS = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 1, 0], [3, 0, 0]])  # the last two are wrong


def _said(figure: Figure | Sheet) -> list[str]:
    if isinstance(figure, Sheet):
        return [word.said for word in figure.words]
    return [text.get_text() for text in figure.axes[0].texts]


def test_confusion_counts_each_true_class_against_each_predicted_one() -> None:
    said = _said(figures.confusion(LOGITS, LABELS))
    assert said[:9] == ["1", "0", "0", "0", "1", "0", "1", "1", "0"]
    assert said[9:] == ["0", "0", "1", "1", "2", "2", "predicted class", "true class"]


def test_confusion_names_its_classes_as_long_as_there_is_room() -> None:
    names = ("a", "a long name of a class", "c")
    sheet = figures.confusion(LOGITS, LABELS, names)
    assert _said(sheet)[9:11] == ["a", "a"] and "long name of a class" in _said(sheet)
    assert all(
        0 <= word.x < sheet.image.shape[1] and 0 <= word.y < sheet.image.shape[0] for word in sheet.words
    )
    assert _said(figures.confusion(torch.eye(300), torch.arange(300))) == ["predicted class", "true class"]
    for drawn in (sheet, figures.confusion(torch.eye(60), torch.arange(60))):
        assert (drawn.pixels() != drawn.image).any(2).sum() > 500  # words are to be seen


def test_mistakes_begin_with_the_most_confident_one_and_show_its_image() -> None:
    images = torch.arange(4.0)[:, None, None, None].repeat(1, 1, 6, 6)  # each as bright as its index
    images[2, 0, 5, 5] = torch.nan
    images[3, 0, 0, 0] = 4.0
    figure = figures.mistakes(images, LOGITS, LABELS)
    assert _said(figure) == ["2 taken for 0, 91%", "2 taken for 1, 58%"]
    first, second = figure.image[60:120, 50:100], figure.image[60:100, 190:230]
    assert (set(first.flatten().tolist()), set(second.flatten().tolist())) == ({128}, {0})
    assert figure.image[115, 240].tolist() == [255] * 3  # what is no number is white, as in other pictures


@pytest.mark.parametrize("kind", [torch.uint8, torch.float16, torch.bfloat16, torch.float64])
def test_images_of_any_type_are_drawn_alike(kind: torch.dtype) -> None:
    images = 100 * torch.arange(4)[:, None, None, None].expand(4, 1, 6, 6) // 2
    wanted = figures.mistakes(images.float(), LOGITS, LABELS)
    assert (figures.mistakes(images.to(kind), LOGITS, LABELS).image == wanted.image).all()


def test_what_is_said_of_wide_images_is_above_them() -> None:
    sheet = figures.mistakes(torch.rand(4, 1, 8, 64), LOGITS, LABELS)
    assert all(word.y - word.size / 2 > 0 for word in sheet.words)


def test_names_may_hold_anything_and_labels_be_of_any_type() -> None:
    names = [f"a\nb\x1c {at}" for at in range(20)]
    sheet = figures.confusion(torch.eye(20), torch.arange(20).byte(), names)
    assert _said(sheet)[:400:21] == ["1"] * 20 and sheet.pixels().shape == sheet.image.shape


def test_no_mistakes_leave_an_empty_sheet(tmp_path: Path) -> None:
    figure = figures.mistakes(torch.zeros(2, 1, 6, 6), LOGITS[:2], LABELS[:2])
    assert _said(figure) == []
    assert figures.pixels(figure).shape == (700, 700, 3)


def test_a_test_has_the_pictures_that_fit_its_targets() -> None:
    images, numbers = torch.rand(4, 1, 6, 6), torch.rand(4, 1)
    assert list(figures.of_test(LOGITS, LABELS, images)) == ["confusion", "mistakes"]
    assert list(figures.of_test(LOGITS, LABELS, None)) == ["confusion"]
    (scatter,) = figures.of_test(numbers, numbers, images).values()
    assert isinstance(scatter, Figure)
    assert np.asarray(scatter.axes[0].lines[0].get_xydata())[:, 0].tolist() == numbers.flatten().tolist()
    (outputs,) = figures.of_test(images, images, images).values()
    assert len(_said(outputs)) == 4


def test_in_detail_each_class_has_its_accuracy_and_curve() -> None:
    drawn = figures.of_test(LOGITS, LABELS, None, ("a", "b", "c"), in_detail=True)
    assert list(drawn) == ["confusion", "class_accuracy", "precision_recall", "calibration"]
    assert isinstance(drawn["class_accuracy"], Figure)
    (axes,) = drawn["class_accuracy"].axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["c", "b", "a"]  # from the bottom up
    assert _said(drawn["class_accuracy"]) == ["0.0%", "100.0%", "100.0%"]


def test_a_class_without_samples_has_no_accuracy() -> None:
    assert figures.class_accuracy(LOGITS, torch.tensor([0, 1, 0, 1])) == {"0": 0.5, "1": 0.5}


def test_of_many_classes_the_worst_are_drawn() -> None:
    logits, labels = torch.eye(60), torch.arange(60)
    logits[7] = logits[8]
    assert (
        len(figures.class_bars(figures.class_accuracy(logits, labels)).axes[0].patches) == figures.MOST_BARS
    )
    (axes,) = figures.precision_recall(logits, labels).axes
    assert len(axes.lines) == figures.MOST_CLASSES
    assert any(str(line.get_label()).startswith("7 ") for line in axes.lines)


def _noisy() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(500, 4, generator=generator)
    return logits, (logits + 3 * torch.randn(500, 4, generator=generator)).argmax(1)


def test_average_precision_is_that_of_torchmetrics() -> None:
    logits, labels = _noisy()
    (axes,) = figures.precision_recall(logits, labels).axes
    wanted = multiclass_average_precision(logits, labels, num_classes=4, average="none")
    assert [str(line.get_label()).split()[1] for line in axes.lines] == [f"{one:.3f}" for one in wanted]
    recall, precision = np.asarray(axes.lines[0].get_xydata()).T
    assert (recall.min(), recall.max(), precision.max()) == (0, 1, 1)


def test_calibration_has_the_error_of_torchmetrics_and_counts_every_sample() -> None:
    logits, labels = _noisy()
    figure = figures.calibration(logits, labels)
    wanted = multiclass_calibration_error(logits, labels, num_classes=4, n_bins=figures.BINS)
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == f"expected calibration error {wanted:.2%}"
    assert sum(int(text) for text in _said(figure) if text) == 500


def test_inputs_have_their_classes_and_colours() -> None:
    images = torch.zeros(3, 3, 6, 6)
    images[:, 0] = 5.0  # red, of whatever scale
    figure = inputs(images, torch.tensor([0, 1, 0]), ("cat", "dog"))
    assert _said(figure) == ["cat", "dog", "cat"]
    assert figure.image[70, 70].tolist() == [255, 0, 0]
    assert _said(inputs(images, images)) == ["", "", ""]


def test_curves_have_what_was_measured(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.csv"
    rows = ["step,train/loss,train/accuracy,val/loss,val/accuracy", "10,2.0,0.1,,", "20,1.0,0.5,1.5,0.4"]
    metrics.write_text("\n".join(rows))
    names = [f"{split}/{name}" for split in ("train", "val") for name in ("loss", "accuracy")]
    figure = figures.curves(read_curves(tmp_path, names), ("loss", "accuracy"))
    drawn = {
        (axes.get_ylabel(), str(line.get_label())): np.asarray(line.get_xydata()).tolist()
        for axes in figure.axes
        for line in axes.lines
    }
    assert drawn["loss", "train"] == [[10, 2.0], [20, 1.0]]
    assert drawn["accuracy", "val"] == [[20, 0.4]]
    figures.save(figures.png(figures.pixels(figure)), tmp_path / "figures" / "curves.png")
    with Image.open(tmp_path / "figures" / "curves.png") as saved:
        assert saved.size == (1000, 400)
