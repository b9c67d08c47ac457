"""Numbers as people read them, and tables as they are shown."""

import io

import pytest
from rich.console import Console

from assay.bench import words
from assay.bench.measurement import Measurement, Task
from assay.bench.report import Report, Table
from assay.bench.table import markdown, show


@pytest.mark.parametrize(
    ("value", "said"),
    [(17.05, "17.1 s"), (0.258, "258 ms"), (2.5e-5, "25 us"), (3e-8, "30 ns"), (1234.0, "1,230 s")],
)
def test_seconds(value: float, said: str) -> None:
    assert words.seconds(value) == said


def test_rates_take_the_unit_of_their_task() -> None:
    product = Measurement(Task("matmul", "torch", "cpu", flop=2e12), wall_s=(17.05,))
    assert words.rate(product) == "117 GFLOP/s"
    assert (
        words.rate(Measurement(Task("matmul", "torch", "cuda:0", flop=2e12), wall_s=(0.258,)))
        == "7.75 TFLOP/s"
    )
    assert words.rate(Measurement(Task("copy", "torch", "cpu", moved=2e9), wall_s=(0.1,))) == "20 GB/s"
    assert (
        words.rate(Measurement(Task("epoch", "x", "cpu", samples=1000), wall_s=(0.1,))) == "10,000 samples/s"
    )


def test_a_row_without_a_time_says_why() -> None:
    bad = Measurement(Task("matmul", "torch", "cpu", size=9), "invalid", "wrong result", wall_s=(1.0,))
    (row,) = words.rows("all", [bad]).rows
    assert row[0] == "matmul 9" and row[-1] == "invalid (wrong result)"
    assert row[5:8] == ("", "", "")


REPORT = Report(
    lines=("no GPU: [none]",),
    tables=(
        Table("times", ("n", "of", "empty"), (("16", "a|b", ""),)),
        Table("raw", ("n",), (("1",),), screen=False),
    ),
    figures=(),
    failures=("gradcheck failed",),
)


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
