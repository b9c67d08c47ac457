"""The report kit: numbers as people read them, tables for a page, figures."""

from pathlib import Path

import pytest
from matplotlib.image import imread

from assay import report
from assay.report import Figure, Report, Series, Table, draw, markdown, save, svg

REPORT = Report(
    lines=("no GPU: [none]",),
    tables=(
        Table("times", ("n", "of", "empty"), (("16", "a|b", ""),)),
        Table("raw", ("n",), (("1",),), screen=False),
    ),
    failures=("gradcheck failed",),
)


@pytest.mark.parametrize(
    ("value", "said"),
    [(17.05, "17.1 s"), (0.258, "258 ms"), (2.5e-5, "25 us"), (3e-8, "30 ns"), (1234.0, "1,230 s")],
)
def test_seconds(value: float, said: str) -> None:
    assert report.seconds(value) == said


def test_the_page_has_all_tables_and_no_empty_column() -> None:
    page = markdown(REPORT, "bench=x")
    assert "| n | of |\n| --- | --- |\n| 16 | a\\|b |" in page
    assert "## raw" in page and "- no GPU: [none]" in page and "**FAILED** gradcheck failed" in page


def test_lines_and_bars_are_drawn(tmp_path: Path) -> None:
    points = ((16.0, 1e-6), (64.0, 1e-4))
    lines = Figure("time", "Time", "n", "seconds", (Series("cpu", points),), marks={"GPU wins": 32.0})
    bars = Figure("steps", "Steps", "", "us", bars={f"optimizer {i}": float(i + 1) for i in range(30)})
    for figure in (lines, bars):
        draw(figure, tmp_path / f"{figure.name}.png")
        pixels = imread(tmp_path / f"{figure.name}.png")
        assert pixels.shape[1] == 960 and pixels.std() > 0.05


def test_a_report_is_saved_as_page_and_figures(tmp_path: Path) -> None:
    save(Report(lines=("a line",), figures=(Figure("empty", "Nothing", "x", "y"),)), tmp_path, "heading")
    assert (tmp_path / "table.md").read_text() == "# heading\n\n- a line\n"
    assert (tmp_path / "figures" / "empty.png").stat().st_size > 100


def test_figures_side_by_side_are_one_svg_and_the_same_ones_give_the_same_text() -> None:
    jobs = ((1.0, 0.4), (2.0, 0.3)), ((1.0, 0.6), (2.0, 0.5))
    mean = Series("sgd", ((1.0, 0.5), (2.0, 0.4)), parts=jobs)
    curves = Figure("both", "", "step", "val/loss", (mean,), logarithmic=False, from_zero=False)
    points = Series("", (("sgd", 0.9), ("adam", 0.8)), joined=False)
    keys = Figure("both", "", "optimizer", "val/accuracy", (points,), logarithmic=False)
    text = svg([curves, keys])
    assert text.startswith("<svg") and text.count("<svg") == 1
    assert all(word in text for word in ("step", "val/loss", "sgd", "optimizer", "adam"))
    assert svg([curves, keys]) == text


def test_a_table_can_leave_columns_out_and_keeps_its_styles() -> None:
    table = Table(
        "jobs", ("rank", "seed", "reason"), (("1", "0", ""), ("", "1", "boom")), styles=("bold", "red")
    )
    less = table.without("reason")
    assert (less.columns, less.rows) == (("rank", "seed"), (("1", "0"), ("", "1")))
    assert less.styles == table.styles


@pytest.mark.parametrize(
    ("value", "said"),
    [(9.53, "9.5 s"), (75.0, "75 s"), (720.0, "12 min"), (3 * 3600.0, "3 h"), (10 * 86400.0, "10 d")],
)
def test_durations(value: float, said: str) -> None:
    assert report.duration(value) == said
