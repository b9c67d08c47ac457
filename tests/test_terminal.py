"""Tables and lines on screens of several widths: no word is broken, and no number is cut."""

import io

import pytest
from rich.console import Console

from assay.report import Report, Table
from assay.terminal import grid, on_a_line, show
from tests.test_report import REPORT


def test_the_screen_has_the_tables_meant_for_it() -> None:
    console = Console(file=io.StringIO(), width=80)
    show(REPORT, console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "times" in shown and "raw" not in shown
    assert "no GPU: [none]" in shown and "FAILED gradcheck failed" in shown


def lines_of(table: Table, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(grid(table, width))
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
    assert on_a_line(parts, 80) == [text for _, text in parts]
    assert on_a_line(parts, 40) == ["epoch 2/5", "step 31/860", "0:12 left", ""]
    assert on_a_line(parts, 20) == ["epoch 2/5", "", "0:12 left", ""]


@pytest.mark.parametrize("width", [60, 80])
def test_a_table_of_many_columns_of_numbers_is_shown_in_parts(width: int) -> None:
    names = [f"{threads}t torch {kind}" for threads in (1, 2) for kind in ("float32", "float16", "bfloat16")]
    table = Table("GFLOP/s by size", ("n", *names), (("256", *(f"1{i}.25" for i in range(6))),))
    console = Console(file=io.StringIO(), width=width)
    show(Report(tables=(table,)), console)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "…" not in shown and all(f" 1{i}.25" in shown for i in range(6))
    assert max(map(len, shown.splitlines())) <= width
