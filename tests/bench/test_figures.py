"""Figures are written, lines and bars alike."""

from pathlib import Path

from matplotlib.image import imread

from assay.bench.figures import draw
from assay.bench.report import Figure, Series


def test_lines_and_bars_are_drawn(tmp_path: Path) -> None:
    lines = Figure(
        "time",
        "Time",
        "n",
        "seconds",
        (Series("cpu", ((16.0, 1e-6), (64.0, 1e-4))),),
        marks={"GPU wins": 32.0},
    )
    bars = Figure("steps", "Steps", "", "us", bars={f"optimizer {i}": float(i + 1) for i in range(30)})
    for figure in (lines, bars):
        draw(figure, tmp_path / f"{figure.name}.png")
        pixels = imread(tmp_path / f"{figure.name}.png")
        assert pixels.shape[1] == 960 and pixels.std() > 0.05
