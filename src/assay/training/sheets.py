"""Images with words on them: what was mistaken for what. By Pillow: Matplotlib takes a millisecond a word."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GRID = 5  # images in a row and in a column
SIDE = 700  # pixels of a sheet of images
CELLS = 500  # pixels of all classes of a confusion matrix
LEAST_CELL = 18  # pixels that a number needs
LETTER = 11  # pixels
LEAST_LETTER = 6
LONGEST = 20  # letters of a class's name


@dataclass(frozen=True)
class Word:
    """A text at the point (x, y), in pixels: which of its points that is, Pillow's anchor says."""

    said: str
    x: float
    y: float
    at: str = "mm"
    color: str = "black"
    upright: bool = False  # read from below; it ends at y, or "mm" has its middle there
    size: int = LETTER


@dataclass(frozen=True)
class Sheet:
    """An image (height, width, 3) and the words on it."""

    image: NDArray[np.uint8]
    words: tuple[Word, ...]

    def pixels(self) -> NDArray[np.uint8]:
        drawn = Image.fromarray(self.image)
        pen = ImageDraw.Draw(drawn)
        for word in self.words:
            font = _font(word.size)
            if not word.upright:
                pen.text((word.x, word.y), word.said, word.color, font, word.at)
                continue
            written = Image.new("L", (round(font.getlength(word.said)) + 1, 2 * word.size))
            ImageDraw.Draw(written).text((0, word.size), word.said, 255, font, "lm")
            top = word.y - written.width / 2 if word.at == "mm" else word.y
            place = round(word.x - word.size), round(top)
            drawn.paste(word.color, place, written.rotate(90, expand=True))
        return np.asarray(drawn)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """That of Matplotlib's figures, laid out by Pillow alone: raqm, where it is there, refuses some names."""
    file = Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"
    return ImageFont.truetype(file, size, layout_engine=ImageFont.Layout.BASIC)


def confusion(logits: Tensor, labels: Tensor, names: Sequence[str] = ()) -> Sheet:
    """How many of each true class were taken for which; logits (samples, classes), labels (samples,)."""
    classes = logits.shape[1]
    pairs = (labels.long() * classes + logits.argmax(1)).bincount(minlength=classes**2)
    counts = pairs.view(classes, classes).numpy()
    cell = max(2, CELLS // classes)
    has_names = cell >= LEAST_LETTER
    names = [name[-LONGEST:] if has_names else "" for name in class_names(classes, names)]
    letter = max(LEAST_LETTER, min(LETTER, cell))
    longest = round(max(_font(letter).getlength(name) for name in names))
    is_flat = longest <= cell
    left, top, side = longest + 3 * LETTER, LETTER, cell * classes
    below = top + side + LETTER // 2
    bottom = below + (LETTER if is_flat else longest) + LETTER
    image = np.full((bottom + 2 * LETTER, left + side + LETTER, 3), 255, np.uint8)
    most = max(1, counts.max())
    shades = matplotlib.colormaps["Blues"](np.log1p(counts) / np.log1p(most), bytes=True)[..., :3]
    image[top : top + side, left : left + side] = shades.repeat(cell, 0).repeat(cell, 1)
    words: list[Word] = []
    middles = [cell * (at + 0.5) for at in range(classes)]
    if cell >= LEAST_CELL:
        for (true, taken), count in np.ndenumerate(counts):
            color = "white" if count > most / 10 else "black"
            words.append(Word(str(count), left + middles[taken], top + middles[true], color=color))
    if has_names:
        for name, middle in zip(names, middles, strict=True):
            words.append(Word(name, left - LETTER // 2, top + middle, "rm", size=letter))
            words.append(
                Word(name, left + middle, below, "ma" if is_flat else "", upright=not is_flat, size=letter)
            )
    words.append(Word("predicted class", left + side / 2, bottom, "ma"))
    words.append(Word("true class", LETTER, top + side / 2, upright=True))
    return Sheet(image, tuple(words))


def class_names(classes: int, names: Sequence[str]) -> list[str]:
    return list(names) or [str(number) for number in range(classes)]


def mistakes(images: Tensor, logits: Tensor, labels: Tensor, names: Sequence[str] = ()) -> Sheet:
    """The wrong answers given with the most confidence; images (samples, channels, height, width)."""
    confidence, taken = logits.softmax(1).max(1)
    wrong = torch.nonzero(taken != labels).flatten()
    worst = wrong[confidence[wrong].argsort(descending=True, stable=True)][: GRID**2]
    names = class_names(logits.shape[1], names)
    said = [
        f"{names[int(labels[at])]} taken for {names[int(taken[at])]}, {confidence[at]:.0%}" for at in worst
    ]
    return of_images(images[worst], said)


def inputs(images: Tensor, targets: Tensor, names: Sequence[str] = ()) -> Sheet:
    """The first images (samples, channels, height, width), with their classes where targets are labels."""
    shown = images[: GRID**2]
    labels = [] if targets.is_floating_point() or targets.ndim != 1 else targets.tolist()
    said = [str(names[label] if names else label) for label in labels[: GRID**2]]
    return of_images(shown, said or [""] * len(shown))


def of_images(images: Tensor, said: Sequence[str]) -> Sheet:
    """Images (samples, channels, height, width), grey or coloured, in rows of five, with a line over each.

    Each coloured one has a range of its own, as its channels may have been scaled apart.
    """
    images = images.float().cpu()
    channels, height, width = images.shape[1:]
    colours = images if channels == 3 else images[:, :1].expand(-1, 3, -1, -1)
    if len(colours):
        over = (1, 2, 3) if channels == 3 else (0, 1, 2, 3)
        finite = colours.isfinite()
        low = colours.where(finite, torch.inf).amin(over, keepdim=True)
        high = colours.where(finite, -torch.inf).amax(over, keepdim=True)
        colours = (255 * (colours - low) / (high - low).clamp(min=1e-9)).where(finite, 255)
    tiles = colours.permute(0, 2, 3, 1).round().byte().numpy()
    gap = max(height // 2, width // 5)  # above each image, for what is said of it
    sheet = np.full((GRID * (height + gap), GRID * (width + gap), 3), 255, np.uint8)
    scale, words = SIDE / sheet.shape[1], list[Word]()
    for at, (tile, line) in enumerate(zip(tiles, said, strict=True)):
        top, left = at // GRID * (height + gap) + gap * 3 // 4, at % GRID * (width + gap) + gap // 2
        sheet[top : top + height, left : left + width] = tile
        room = (LETTER - 1) * SIDE / GRID / max(1.0, _font(LETTER).getlength(line))
        size = max(LEAST_LETTER, min(LETTER - 1, int(room)))
        words.append(Word(line, scale * (left + width / 2), scale * top - LETTER, size=size))
    how = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX
    scaled = Image.fromarray(sheet).resize((SIDE, round(scale * sheet.shape[0])), how)
    return Sheet(np.asarray(scaled), tuple(words))
