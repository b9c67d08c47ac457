"""Picture files of any kind, brought to what a network was trained on."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage

NDIMAGE: Any = ndimage  # its types are too many to be of use
BROKEN = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)  # what PIL raises for a bad file
LARGEST_SIDE = 400  # pixels at which a drawn digit is looked for: more show no more of it
SPECK = 0.02  # of the ink: a separate spot of less is dirt


def read(path: Path) -> Image.Image:
    """The picture upright, grey or colour, on white where it is transparent; raises one of `BROKEN`."""
    with Image.open(path) as image:
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):  # 16 bits of grey
        return Image.fromarray((np.asarray(upright, np.float64) / 257).clip(0, 255).astype(np.uint8))
    if "A" in upright.getbands() or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    return upright.convert("L" if upright.mode in ("1", "L") else "RGB")


def square(image: Image.Image, size: int, channels: int) -> NDArray[np.uint8]:
    """The middle of a picture, (channels, size, size)."""
    fitted = ImageOps.fit(
        image.convert("L" if channels == 1 else "RGB"), (size, size), Image.Resampling.BILINEAR
    )
    return np.asarray(fitted).reshape(size, size, channels).transpose(2, 0, 1).copy()


def centred(image: Image.Image, longer_side: int) -> NDArray[np.uint8]:
    """One digit, drawn or photographed, as MNIST has it: white on black, (28, 28), `longer_side` 20.

    Its authors scaled each digit to fit 20 x 20 pixels, and put its centre of mass into the middle of 28 x 28
    (LeCun, Cortes, Burges: "The MNIST database of handwritten digits").
    """
    ink = _ink(image)
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((28, 28), np.uint8)
    cut = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = longer_side / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = np.asarray(
        Image.fromarray(cut.astype(np.float32)).resize((width, height), Image.Resampling.BOX), np.float64
    )
    small = (small * 255 / small.max()).clip(0, 255)
    middle = NDIMAGE.center_of_mass(small)
    whole = np.zeros((28, 28), np.uint8)
    top, left = (
        int(np.clip(round(13.5 - at), 0, 28 - side)) for at, side in zip(middle, small.shape, strict=True)
    )
    whole[top : top + height, left : left + width] = small.round()
    return whole


def _ink(image: Image.Image) -> NDArray[np.float64]:
    """How much ink there is at each pixel, 0..1: what differs from the paper around it, without specks."""
    grey = image.convert("L")
    grey.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    light = np.pad(np.asarray(grey, np.float64), 1, mode="edge")
    if max(light.shape) > 2 * 28:  # a picture of 28 x 28 is as it should be: nothing to smooth
        light = NDIMAGE.gaussian_filter(light, max(light.shape) / 200)
    edge = np.concatenate([light[0], light[-1], light[:, 0], light[:, -1]])
    differs = light - np.median(edge)
    sign = 1 if abs(differs.max()) > abs(differs.min()) else -1  # light on dark, or dark on light
    ink = _even(sign * differs)
    threshold = _otsu(ink)
    spots, count = NDIMAGE.label(ink > threshold, structure=np.ones((3, 3)))
    sizes = NDIMAGE.sum_labels(ink, spots, range(1, count + 1)) if count else np.zeros(0)
    kept = np.isin(spots, 1 + np.flatnonzero(sizes >= SPECK * sizes.sum()))
    near = NDIMAGE.binary_dilation(kept, iterations=1 + max(light.shape) // 200)  # with its soft rim
    return np.where(near & (ink > threshold / 2), ink, 0.0)


def _even(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Without a slope of light across the paper: less the plane through the faint half, in 0..1."""
    rows, columns = np.indices(ink.shape)
    plane = np.stack([np.ones(ink.size), rows.ravel(), columns.ravel()], axis=1)
    faint = ink.ravel() <= np.median(ink)
    slope, *_ = np.linalg.lstsq(plane[faint], ink.ravel()[faint], rcond=None)
    flat = (ink - (plane @ slope).reshape(ink.shape)).clip(0)
    return flat / flat.max() if flat.max() > 0 else flat


def _otsu(values: NDArray[np.float64]) -> float:
    """The threshold that parts two kinds of pixels best (Otsu 1979)."""
    counts, edges = np.histogram(values, 64)
    centres = (edges[:-1] + edges[1:]) / 2
    below, above = counts.cumsum(), counts[::-1].cumsum()[::-1]
    mean_below = (counts * centres).cumsum() / below.clip(1)
    mean_above = ((counts * centres)[::-1].cumsum() / above[::-1].clip(1))[::-1]
    between = below[:-1] * above[1:] * (mean_below[:-1] - mean_above[1:]) ** 2
    return float(edges[1:-1][between.argmax()])
