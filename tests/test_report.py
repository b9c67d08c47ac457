"""The report kit: numbers as people read them, tables for screen and page, figures."""

import io
from pathlib import Path

import pytest
from matplotlib.image import imread
from rich.console import Console

from assay import report
from assay.report import Figure, Report, Series, Table, draw, markdown, save, show, svg

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


def test_the_screen_has_the_tables_meant_for_it() -> None:
    console = Console(file=io.StringIO(), width=80)
    show(REPORT, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "times" in shown and "raw" not in shown
    assert "no GPU: [none]" in shown and "FAILED gradcheck failed" in shown


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


def lines_of(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(report.grid(table, width))
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]


JOBS = Table(
    "Jobs",
    ("optimizer", "trainer.max_epochs", "val/accuracy", "seconds", "status"),
    (
        ("sgd", "100", "98.13%", "1.5", "completed"),
        ("adam", "5", "97.02%", "12.5", "failed: the disk is full"),
    ),
    spare=("seconds",),
)


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_table_fits_the_screen_and_breaks_no_word(width: int) -> None:
    lines = lines_of(JOBS, width)
    assert max(map(len, lines)) <= width
    known = set(" ".join([JOBS.title, *JOBS.columns, *map(" ".join, JOBS.rows)]).split())
    shown = {word for line in lines for word in line.split() if not word.startswith("─")}
    assert shown <= known | {"max_epochs"} and known - shown <= {
        "seconds",
        "1.5",
        "12.5",
        "trainer.max_epochs",
    }


def test_spare_columns_go_before_anything_wraps() -> None:
    assert "seconds" in lines_of(JOBS, 84)[1] and "seconds" not in lines_of(JOBS, 83)[1]
    assert any(line.endswith("failed: the disk is full") for line in lines_of(JOBS, 83))


def test_a_name_that_is_too_long_loses_its_middle_and_a_number_nothing() -> None:
    table = Table("", ("run", "best", "status"), ((f"2026-11-26-{'x' * 90}-a41fcd", "98.17%", "completed"),))
    (line,) = lines_of(table, 60)[2:]
    assert len(line) <= 60 and line.startswith(" 2026-11-26-x") and "…" in line
    assert "xx-a41fcd" in line and line.endswith("98.17%   completed")


def test_without_room_for_its_words_a_table_still_ends_at_the_edge() -> None:
    many = Table("", tuple(f"trainer.some_key_{i}" for i in range(5)), (("0.001",) * 5,))
    assert max(map(len, lines_of(many, 60))) <= 60
    assert lines_of(many, 60)[2].split() == ["0.001"] * 5


def test_a_table_without_rows_is_nothing() -> None:
    assert lines_of(Table("", ("a", "b"), (), spare=("b",)), 60) == []


def test_parts_of_a_line_go_by_their_rank() -> None:
    parts = [(0, "epoch 2/5"), (2, "step 31/860"), (1, "0:12 left"), (3, "loss 0.1")]
    assert report.on_a_line(parts, 80) == [text for _, text in parts]
    assert report.on_a_line(parts, 40) == ["epoch 2/5", "step 31/860", "0:12 left", ""]
    assert report.on_a_line(parts, 20) == ["epoch 2/5", "", "0:12 left", ""]


@pytest.mark.parametrize(
    ("value", "said"),
    [(9.53, "9.5 s"), (75.0, "75 s"), (720.0, "12 min"), (3 * 3600.0, "3 h"), (10 * 86400.0, "10 d")],
)
def test_durations(value: float, said: str) -> None:
    assert report.duration(value) == said
