"""`stages=[predict]`: a person's own pictures."""

import csv
from pathlib import Path

import pytest
from PIL import Image

from tests.data.test_pictures import PHOTOS, drawn
from tests.runs import result, run, train

LABELS = [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6]  # of the first test images
QUICK = ("trainer.limit_train_batches=null", "trainer.max_epochs=1", "data.batch_size=128")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("trained"), *QUICK)


def predict(trained: Path, out: Path, images: str, code: int = 0) -> list[dict[str, str]]:
    words = ("stages=[predict]", f"ckpt={trained}", f"predict.images={images}", f"output_dir={out}")
    assert run(*words) == code
    with next(out.glob("runs/*/predictions.csv")).open(newline="") as file:
        return list(csv.DictReader(file))


def test_twelve_digits_of_all_kinds(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for at, (name, change) in enumerate(PHOTOS.items()):
        change(drawn(at)).save(photos / f"{at:02}-{name}.png")
    rows = predict(trained, tmp_path, f"{photos}/*.png")
    right = [row["file"] for row, label in zip(rows, LABELS, strict=True) if row["class"] == str(label)]
    assert len(right) >= 10, rows
    assert all(0 < float(row["second_probability"]) < float(row["probability"]) <= 1 for row in rows)
    (folder,) = tmp_path.glob("runs/*")
    with Image.open(folder / "figures" / "predictions.png") as figure:
        assert figure.height > 1_500
    assert "00-drawn.png" in capsys.readouterr().out and result(folder)["status"] == "completed"


@pytest.mark.parametrize("images", ["{0}/*.png", "{0}", "[{0}/a.png,{0}/b.png]"])
def test_what_cannot_be_read_says_why_and_the_others_are_read(
    trained: Path, tmp_path: Path, images: str, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.png").write_text("no picture")
    drawn(1).save(photos / "b.png")
    rows = predict(trained, tmp_path, images.format(photos))
    assert [row["class"] for row in rows] == ["", "2"]
    assert "UnidentifiedImageError" in capsys.readouterr().out


def test_nothing_that_can_be_read_is_the_users_fault(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_text("no picture")
    assert predict(trained, tmp_path, f"{tmp_path}/a.png", code=2)[0]["class"] == ""
    said = capsys.readouterr().err
    assert "predict.images=/" in said and "none of 1 files can be read" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("predict.images=nowhere/*.png",), "there is no such file"),
        ((), "needs pictures"),
    ],
)
def test_no_pictures_are_refused_before_anything_is_written(
    trained: Path, tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("stages=[predict]", f"ckpt={trained}", *words, f"output_dir={tmp_path / 'out'}") == 2
    assert said in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_an_autoencoder_tells_no_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(tmp_path, "experiment=autoencoder")
    assert run("stages=[predict]", f"ckpt={folder}", "predict.images=x.png") == 2
    assert "trained for regression of MNIST" in capsys.readouterr().err
