"""A person's own digits, in the ways that they come."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter, ImageOps
from torchvision import datasets

from assay import PROJECT
from assay.data.pictures import BROKEN, centred, read, square

DRAW = np.random.default_rng(0)


def drawn(at: int, side: int = 280, margin: int = 60) -> Image.Image:
    """A digit of the test images, large, black on white."""
    pixels = Image.fromarray(datasets.MNIST(str(PROJECT / "data"), train=False).data[at].numpy())
    paper = Image.new("L", (side + 2 * margin, side + 2 * margin), 0)
    paper.paste(pixels.resize((side, side), Image.Resampling.BICUBIC), (margin, margin))
    return ImageOps.invert(paper)


def lit(paper: Image.Image) -> Image.Image:
    """As a photograph with light from one corner."""
    light = np.linspace(0.4, 1, paper.width)[None] * np.linspace(0.8, 1, paper.height)[:, None]
    return Image.fromarray((np.asarray(paper) * light).astype(np.uint8))


def noisy(paper: Image.Image) -> Image.Image:
    pixels = np.asarray(paper) * 0.8 + 20 + DRAW.normal(0, 20, (paper.height, paper.width))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def coloured(paper: Image.Image) -> Image.Image:
    white = np.asarray(paper)[..., None] / 255
    return Image.fromarray((white * (240, 220, 150) + (1 - white) * (30, 40, 140)).astype(np.uint8))


def transparent(paper: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", paper.size, (0, 0, 0, 0))
    layer.putalpha(ImageOps.invert(paper))
    return layer


def shifted(paper: Image.Image) -> Image.Image:
    sheet = Image.new("L", (900, 700), 255)
    sheet.paste(paper, (480, 20))
    return sheet


def dirty(paper: Image.Image) -> Image.Image:
    paper.paste(60, (20, 20, 26, 27))
    return paper


PHOTOS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "drawn": lambda paper: paper,
    "inverted": ImageOps.invert,
    "thick": lambda paper: paper.filter(ImageFilter.MinFilter(11)),
    "thin": lambda paper: paper.filter(ImageFilter.MaxFilter(7)),
    "shifted": shifted,
    "coloured": coloured,
    "noisy": noisy,
    "lit": lit,
    "large": lambda paper: paper.resize((4000, 3000)),
    "transparent": transparent,
    "dirty": dirty,
    "small": lambda paper: ImageOps.invert(paper.crop((60, 60, 340, 340)).resize((28, 28))),
}


@pytest.mark.parametrize("name", list(PHOTOS))
def test_a_digit_is_brought_to_the_form_of_mnist(tmp_path: Path, name: str) -> None:
    """As the image that it was made from: the same but for a pixel, and the blur of two scalings."""
    PHOTOS[name](drawn(0)).save(tmp_path / "7.png")
    found = centred(read(tmp_path / "7.png"), 20).astype(float)
    original = datasets.MNIST(str(PROJECT / "data"), train=False).data[0].numpy().astype(float)
    rows, columns = (np.flatnonzero((found > 40).any(axis)) for axis in (1, 0))
    assert 18 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 22
    near = [np.roll(found, (down, right), (0, 1)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    likeness = max(np.corrcoef(one.ravel(), original.ravel())[0, 1] for one in near)
    assert likeness > (0.7 if name in ("thick", "thin", "large") else 0.85), likeness


def test_an_empty_sheet_is_black() -> None:
    assert not centred(Image.new("L", (300, 200), 230), 20).any()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_kind_of_picture_is_read(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(np.full((9, 7), 40_000, np.uint16)) if mode == "I;16" else Image.new(mode, (7, 9))
    file = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    image.save(file)
    assert square(read(file), 5, 3).shape == (3, 5, 5) and square(read(file), 5, 1).shape == (1, 5, 5)


def test_a_bomb_and_a_text_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("no picture")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "b.png")
    for name in ("a.png", "b.png"):
        with pytest.raises(BROKEN):
            read(tmp_path / name)
