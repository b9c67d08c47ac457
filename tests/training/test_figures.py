"""What is to be seen on the pictures, read from the figures before they are drawn."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from assay.training import figures

LABELS = torch.tensor([0, 1, 2, 2])
LOGITS = torch.tensor([[9.0, 0, 0], [0, 9, 0], [0, 1, 0], [3, 0, 0]])  # the last two are wrong


def _said(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_confusion_counts_each_true_class_against_each_predicted_one() -> None:
    assert _said(figures.confusion(LOGITS, LABELS)) == ["1", "0", "0", "0", "1", "0", "1", "1", "0"]


def test_mistakes_begin_with_the_most_confident_one_and_show_its_image() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 6, 6)  # each as bright as its index
    figure = figures.mistakes(images, LOGITS, LABELS)
    assert _said(figure) == ["2 taken for 0, 91%", "2 taken for 1, 58%"]
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    first, second = sheet[:9, :9], sheet[:9, 9:18]
    assert set(first[~np.isnan(first)].tolist()) == {3.0}
    assert set(second[~np.isnan(second)].tolist()) == {2.0}


def test_no_mistakes_leave_an_empty_sheet(tmp_path: Path) -> None:
    figure = figures.mistakes(torch.zeros(2, 1, 6, 6), LOGITS[:2], LABELS[:2])
    assert _said(figure) == []
    assert figures.pixels(figure).shape == (700, 700, 3)


def test_a_test_has_the_pictures_that_fit_its_targets() -> None:
    images, numbers = torch.rand(4, 1, 6, 6), torch.rand(4, 1)
    assert list(figures.of_test(LOGITS, LABELS, images)) == ["confusion", "mistakes"]
    assert list(figures.of_test(LOGITS, LABELS, None)) == ["confusion"]
    (scatter,) = figures.of_test(numbers, numbers, images).values()
    assert np.asarray(scatter.axes[0].lines[0].get_xydata())[:, 0].tolist() == numbers.flatten().tolist()
    (outputs,) = figures.of_test(images, images, images).values()
    assert len(_said(outputs)) == 4


def test_curves_have_what_was_measured(tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.csv"
    rows = ["step,train/loss,train/accuracy,val/loss,val/accuracy", "10,2.0,0.1,,", "20,1.0,0.5,1.5,0.4"]
    metrics.write_text("\n".join(rows))
    figure = figures.curves(metrics, ("loss", "accuracy"))
    drawn = {
        (axes.get_ylabel(), str(line.get_label())): np.asarray(line.get_xydata()).tolist()
        for axes in figure.axes
        for line in axes.lines
    }
    assert drawn["loss", "train"] == [[10, 2.0], [20, 1.0]]
    assert drawn["accuracy", "val"] == [[20, 0.4]]
    figures.save(figures.pixels(figure), tmp_path / "figures" / "curves.png")
    with Image.open(tmp_path / "figures" / "curves.png") as saved:
        assert saved.size == (1000, 400)
