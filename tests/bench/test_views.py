"""Measurements as rows, by size and as curves; and two records side by side."""

import numpy as np
import pytest

from assay.bench.record import Measurement, Task
from assay.bench.views import compared_rows, curves, pivot, rate, rows
from assay.report import Figure

RANDOM = np.random.default_rng(0)


def timed(seconds: float, spread: float = 0.005, count: int = 40, size: int = 64) -> Measurement:
    times = seconds * (1 + spread * RANDOM.normal(size=count))
    return Measurement(Task("matmul", "torch", "cpu", threads=1, size=size), wall_s=times.tolist())


def in_processes(seconds: float, count: int, apart: float = 0.0) -> Measurement:
    """So many processes, each with a median of its own."""
    every = [timed(seconds * (1 + apart * RANDOM.normal()), count=20) for _ in range(count)]
    times = [seconds for m in every for seconds in m.wall_s]
    return Measurement(every[0].task, wall_s=times, per_process=[20] * count)


def test_rates_take_the_unit_of_their_task() -> None:
    product = Measurement(Task("matmul", "torch", "cpu", flop=2e12), wall_s=[17.05])
    assert rate(product) == "117 GFLOP/s"
    assert rate(Measurement(Task("matmul", "torch", "cuda:0", flop=2e12), wall_s=[0.258])) == "7.75 TFLOP/s"
    assert rate(Measurement(Task("copy", "torch", "cpu", moved=2e9), wall_s=[0.1])) == "20 GB/s"
    assert rate(Measurement(Task("epoch", "x", "cpu", samples=1000), wall_s=[0.1])) == "10,000 samples/s"


def test_a_row_without_a_time_says_why() -> None:
    bad = Measurement(Task("matmul", "torch", "cpu", size=9), "invalid", "wrong result", wall_s=[1.0])
    (row,) = rows("all", [bad]).rows
    assert row[0] == "matmul 9" and row[-1] == "invalid (wrong result)"
    assert row[5:8] == ("", "", "")


def test_by_size_each_form_has_a_column_and_a_curve_named_by_what_differs() -> None:
    fast = [timed(1.0, size=size) for size in (32, 16)]
    slow = Measurement(Task("matmul", "numpy", "cpu", threads=1, size=16), "skipped", "no time was left")
    table = pivot("times", [*fast, slow], lambda m: f"{m.median_s:.0f}")
    assert table.columns == ("n", "torch", "numpy")
    assert table.rows == (("16", "1", "-"), ("32", "1", "-"))
    figure = curves(Figure("time", "Time", "n", "s"), [*fast, slow], lambda m: 1.0)
    assert [(series.name, series.points) for series in figure.series] == [
        ("torch", ((16.0, 1.0), (32.0, 1.0)))
    ]


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timed(1.0), "SAME"),
        (timed(0.8), "FASTER"),
        (timed(1.3), "SLOWER"),
        (timed(1.02, spread=0.1), "UNCLEAR"),
        (in_processes(1.3, 5), "SLOWER"),
        (in_processes(1.0, 5, apart=0.1), "UNCLEAR"),
    ],
)
def test_the_verdict_of_a_row(after: Measurement, said: str) -> None:
    (row,) = compared_rows([timed(1.0)], [after])
    assert row.verdict == said
    assert row.ratio.interval is not None
    assert row.ratio.interval.low <= row.after_s / row.before_s <= row.ratio.interval.high


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timed(5.0, count=2), "2 times: no interval"),  # two times prove nothing
        (in_processes(5.0, 3), "3 processes: no interval"),
    ],
)
def test_too_few_say_so_instead_of_a_verdict(after: Measurement, said: str) -> None:
    (row,) = compared_rows([timed(1.0)], [after])
    assert (row.verdict, row.ratio.interval, row.ratio.reason) == ("UNCLEAR", None, said)


def test_many_times_of_one_process_do_not_outweigh_what_differs_between_processes() -> None:
    verdicts = [
        compared_rows([in_processes(1.0, 5, apart=0.05)], [in_processes(1.0, 5, apart=0.05)])[0].verdict
        for _ in range(60)
    ]
    assert sum(verdict in ("SAME", "UNCLEAR") for verdict in verdicts) >= 55


def test_rows_without_a_partner_or_a_good_time_are_left_out() -> None:
    bad = Measurement(Task("matmul", "torch", "cpu", threads=1, size=128), "skipped", "needs 3 GB, free 1 GB")
    assert len(compared_rows([timed(1.0), bad, timed(1.0, size=32)], [timed(1.0), bad])) == 1
