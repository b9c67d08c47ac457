"""`callbacks=pictures`: every tag with its steps, and training that does not notice."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pytest import MonkeyPatch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from assay.training import figures, pictures
from assay.training.sheets import Sheet
from tests.runs import checkpoint, result, same_tensors, train

PARAMETERS = [f"linear{layer}.{kind}" for layer in (1, 2) for kind in ("bias", "weight")]
ENDS = [20, 40]  # of the epochs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def folder(runs: Path) -> Path:
    return train(runs, "callbacks=pictures")


def events_of(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"images": 0, "histograms": 0, "tensors": 0}).Reload()


def test_every_tag_is_in_the_event_file_at_its_steps(folder: Path) -> None:
    events = events_of(folder)
    tags: dict[str, Any] = dict(events.Tags())
    once = {f"pictures/{name}": [40] for name in ("curves", "confusion", "mistakes")}
    once |= {f"pictures/{name}": [40] for name in ("class_accuracy", "precision_recall", "calibration")}
    steps = once | {"pictures/inputs": [0], "pictures/first_layer": ENDS}
    assert {tag: [one.step for one in events.Images(tag)] for tag in tags["images"]} == steps
    histograms = {f"{what}/{name}": ENDS for what in ("weights", "gradients") for name in PARAMETERS}
    assert {tag: [one.step for one in events.Histograms(tag)] for tag in tags["histograms"]} == histograms
    texts = {tag: events.Tensors(tag) for tag in tags["tensors"]}
    assert {tag: [one.step for one in of_tag] for tag, of_tag in texts.items()} == {
        f"run/{name}/text_summary": [0] for name in ("command", "config", "environment")
    }
    config = texts["run/config/text_summary"][0].tensor_proto.string_val[0].decode()
    assert "max_epochs: 2" in config and "assay.training.pictures.Pictures" in config
    environment = texts["run/environment/text_summary"][0].tensor_proto.string_val[0].decode()
    assert torch.__version__.partition("+")[0] in environment and "MNIST" in environment


def test_the_histogram_at_the_end_is_of_the_last_weights(folder: Path) -> None:
    last = events_of(folder).Histograms("weights/linear1.bias")[-1].histogram_value
    bias = checkpoint(folder)["state_dict"]["model.linear1.bias"].double()
    assert (last.num, last.min, last.max) == (128, bias.min().item(), bias.max().item())
    assert last.sum == pytest.approx(bias.sum().item(), rel=1e-5)


def test_all_pictures_are_files(folder: Path) -> None:
    names = {path.stem for path in folder.glob("figures/*.png")}
    assert names == {
        "curves",
        "confusion",
        "mistakes",
        "class_accuracy",
        "precision_recall",
        "calibration",
    } | {
        "inputs",
        "first_layer",
    }
    for path in folder.glob("figures/*.png"):
        with Image.open(path) as image:
            assert len(image.getcolors(maxcolors=2**20) or []) > 3, path


@pytest.mark.parametrize("words", [(), ("model=cnn", "optimizer=sgd")])
def test_training_is_the_same_to_the_bit(words: tuple[str, ...], runs: Path) -> None:
    one, other = (checkpoint(train(runs, *words, *more)) for more in ((), ("callbacks=pictures",)))
    assert same_tensors(one["state_dict"], other["state_dict"])


def test_a_default_run_has_words_and_no_histograms(runs: Path) -> None:
    tags = events_of(train(runs)).Tags()
    assert tags["histograms"] == [] and "run/config/text_summary" in str(tags["tensors"])


def test_a_resumed_run_shows_each_epoch_once(runs: Path) -> None:
    folder = train(runs, "callbacks=pictures", "trainer.max_epochs=1")
    from tests.runs import SHORT, run

    words = [word for word in SHORT if "max_epochs" not in word]
    assert run(f"resume={folder}", "trainer.max_epochs=2", f"output_dir={runs}", *words) == 0
    assert [one.step for one in events_of(folder).Histograms("weights/linear1.bias")] == ENDS


@pytest.mark.parametrize("experiment", ["ink", "autoencoder"])
def test_numbers_instead_of_classes_have_weights_and_inputs_alone(experiment: str, runs: Path) -> None:
    folder = train(runs, f"experiment={experiment}", "callbacks=pictures")
    names = {path.stem for path in folder.glob("figures/*.png")}
    assert {"inputs", "first_layer", "curves"} <= names
    assert not names & {"calibration", "precision_recall", "class_accuracy", "confusion"}
    assert result(folder)["class_accuracy"] is None


def test_the_confusion_matrix_is_the_tests_accuracy(runs: Path, monkeypatch: MonkeyPatch) -> None:
    drawn: list[Sheet] = []
    confusion = figures.confusion

    def kept(*args: Any) -> Sheet:
        drawn.append(confusion(*args))
        return drawn[-1]

    monkeypatch.setattr(figures, "confusion", kept)
    found = result(train(runs, "trainer.limit_test_batches=null"))
    counts = np.array([int(word.said) for word in drawn[0].words[:100]]).reshape(10, 10)
    assert counts.sum() == 10_000
    assert counts.trace() == round(found["metrics"]["test/accuracy"] * 10_000)
    by_class = counts.diagonal() / counts.sum(1)
    assert list(found["class_accuracy"].values()) == pytest.approx(by_class.tolist())


def test_a_full_disk_costs_a_picture_and_not_the_run(runs: Path, monkeypatch: MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figures, "save", full)
    folder = train(runs, "callbacks=pictures")
    assert result(folder)["status"] == "completed"
    assert "inputs.png cannot be written" in (folder / "log.txt").read_text()


def test_each_unit_of_a_linear_layer_is_a_tile_as_large_as_the_input() -> None:
    layer = nn.Linear(4, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, -2.0]]))
    drawn = pictures.first_layer(nn.Sequential(nn.Flatten(), layer), (1, 2, 2))
    assert drawn is not None and drawn.shape == (64, 124, 3)  # two tiles of 2 x 2, 28 times as large
    red, blue = drawn[10, 10], drawn[50, 110]
    assert red[0] > 2 * red[2] and blue[2] > 2 * blue[0]
    assert (drawn[50, 10] > 240).all()  # zero


def test_a_convolution_of_three_channels_has_colours() -> None:
    layer = nn.Conv2d(3, 5, 3)
    with torch.no_grad():
        layer.weight.zero_()[0, 1] = 1.0  # green
    drawn = pictures.first_layer(layer, (3, 8, 8))
    assert drawn is not None and drawn[30, 30].tolist() == [128, 255, 128]


def test_what_is_no_image_has_no_tiles() -> None:
    assert pictures.first_layer(nn.Linear(4, 2), (4,)) is None
    assert pictures.first_layer(nn.Linear(5, 2), (1, 2, 2)) is None
    assert pictures.first_layer(nn.Identity(), (1, 2, 2)) is None
