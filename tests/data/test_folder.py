"""Pictures of one's own, a folder for each class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from assay.data.folder import Folder
from assay.errors import UserError
from tests.runs import checkpoint, result, run, same_tensors, train

COLOURS = {"blue": (20, 30, 200), "green": (30, 200, 40), "red": (210, 20, 30)}


def fill(folder: Path, count: int = 20, seed: int = 0) -> Path:
    """Three classes of noisy pictures in colour, of many sizes."""
    draw = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for at in range(count):
            height, width = draw.integers(9, 60, 2)
            pixels = draw.normal(colour, 25, (height, width, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{at}.{'jpg' if at % 2 else 'png'}")
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return fill(tmp_path / "photos")


def words(photos: Path, *more: str) -> list[str]:
    sizes = ["data.image_size=8", "data.batch_size=8", "trainer.max_epochs=4", "optimizer.lr=0.01"]
    return ["data=folder", f"data.root={photos}", *sizes, *more]


def test_pictures_of_three_classes_and_mixed_sizes_train_and_are_called_by_name(photos: Path) -> None:
    folder = train(photos.parent, *words(photos))
    assert result(folder)["metrics"]["test/accuracy"] == 1.0
    assert result(folder)["data"]["name"] == "photos" and len(result(folder)["data"]["sha256"]) == 64
    assert (
        run(
            "stages=[predict]",
            f"ckpt={folder}",
            f"predict.images={photos}/red/*.png",
            f"output_dir={photos.parent}",
        )
        == 0
    )
    (predicted,) = photos.parent.glob("runs/*/predictions.csv")
    lines = predicted.read_text().splitlines()
    assert len(lines) == 11 and all(line.split(",")[1] == "red" for line in lines[1:])


def test_a_picture_that_was_replaced_is_read_again(photos: Path) -> None:
    def pixels() -> Any:
        source = Folder(str(photos), image_size=8, val_share=0.01, test_share=0.02)
        source.prepare()
        return source.held["train"].pixels

    before = pixels()
    assert pixels() is before
    for place in range(0, 20, 2):
        (photos / "red" / f"{place}.png").write_bytes((photos / "blue" / f"{place}.png").read_bytes())
    assert not np.array_equal(pixels(), before)


def test_streamed_and_in_memory_give_the_same_weights(photos: Path) -> None:
    held, streamed, by_workers = (
        train(photos.parent, *words(photos, *more))
        for more in (
            ("data.in_memory=true",),
            ("data.in_memory=false",),
            ("data.in_memory=false", "data.num_workers=1"),
        )
    )
    for other in (streamed, by_workers):
        assert same_tensors(checkpoint(held)["state_dict"], checkpoint(other)["state_dict"])


def sizes(source: Folder) -> list[int]:
    source.prepare()
    splits: Any = [source.dataset(split) for split in ("train", "val", "test")]
    return [len(split) for split in splits]


def test_splits_do_not_overlap_and_stay_the_same(photos: Path) -> None:
    one, other = Folder(str(photos)), Folder(str(photos))
    assert sizes(one) == sizes(other) == [48, 6, 6]
    assert one.samples == other.samples
    files = [file for samples in one.samples.values() for file, _ in samples]
    assert len(files) == len(set(files)) == 60


def test_folders_of_splits_are_taken_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "train", 10)
    fill(tmp_path / "test", 4, seed=1)
    source = Folder(str(tmp_path))
    assert sizes(source) == [27, 3, 12]
    assert all("/test/" in file for file, _ in source.samples["test"])


def test_a_dead_link_is_a_broken_picture(photos: Path) -> None:
    (photos / "red" / "gone.png").symlink_to(photos / "nothing.png")
    with pytest.raises(UserError, match="1 of 61 pictures cannot be read"):
        Folder(str(photos)).prepare()
    source = Folder(str(photos), skip_broken=True)
    source.prepare()
    assert "1 broken" in source.name


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_broken_picture_is_refused_by_name_or_left_out_and_counted(photos: Path, in_memory: bool) -> None:
    (photos / "red" / "torn.png").write_bytes((photos / "red" / "0.png").read_bytes()[:60])
    with pytest.raises(UserError, match=r"1 of 61 pictures cannot be read\n.*torn\.png: .*\n.*skip_broken"):
        Folder(str(photos), in_memory=in_memory).prepare()
    source = Folder(str(photos), in_memory=in_memory, skip_broken=True)
    assert sum(sizes(source)) == 60 and "1 broken" in source.name


def test_a_resume_on_other_pictures_is_refused(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = train(photos.parent, *words(photos))
    (photos / "blue" / "0.png").unlink()
    assert run(f"resume={folder}", "trainer.max_epochs=5") == 2
    assert "the data are not those" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ((), "no such folder"),
        (("a/",), "Found no valid file for the classes a"),
        (("a/1.png",), "one folder, a, and so one class"),
        (("a/1.png", "b/"), "Found no valid file for the classes b"),
        (("a/1.png", "b/1.png"), "leave none for val"),
        (("1.png",), "Couldn't find any class folder"),
    ],
)
def test_a_folder_that_is_not_as_it_should_be_is_refused(
    tmp_path: Path, made: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in made:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if name.endswith("/") else Image.new("RGB", (4, 4)).save(path)
    assert run("data=folder", f"data.root={tmp_path / 'photos'}", f"output_dir={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) <= 4 and not (tmp_path / "out").exists()


def test_a_picture_is_the_same_alone_and_in_the_data(photos: Path) -> None:
    source = Folder(str(photos), image_size=8)
    source.prepare()
    split: Any = source.dataset("test")
    with Image.open(source.samples["test"][0][0]) as image:
        assert torch.equal(source.picture(image), split[0][0])


@pytest.mark.parametrize("in_memory", [True, False])
def test_each_channel_of_the_training_pictures_has_mean_0_and_deviation_1(
    photos: Path, in_memory: bool
) -> None:
    source = Folder(str(photos), image_size=8, in_memory=in_memory)
    source.prepare()
    split: Any = source.dataset("train")
    images = torch.stack([split[at][0] for at in range(len(split))]).double()
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def test_pictures_of_one_colour_are_no_division_by_zero(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for at in range(5):
            Image.new("RGB", (9, 9), (7, 7, 7)).save(tmp_path / name / f"{at}.png")
    source = Folder(str(tmp_path), image_size=4)
    source.prepare()
    assert torch.equal(source.picture(Image.new("RGB", (9, 9), (7, 7, 7))), torch.zeros(3, 4, 4))
