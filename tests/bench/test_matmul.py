"""The product against float64, and the whole bench on the CPU and on a host that plays a GPU."""

import time
from dataclasses import replace

import pytest
import torch

from assay.bench import matmul
from assay.bench.device import Device
from assay.bench.matmul import Inputs, crossovers, error_limit, speedups
from assay.bench.record import Measurement, Record, Task
from tests.bench.fake import HostAsGpu
from tests.bench.runs import cells, run


def product(inputs: Inputs) -> torch.Tensor:
    a, b = inputs.matrices
    return a @ b


@pytest.mark.parametrize("size", [16, 300, 1100])
@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_a_right_product_passes_with_room_and_not_too_much(
    size: int, precision: str, dtype: torch.dtype
) -> None:
    inputs = Inputs(size, seed=0)
    a, b = (matrix.to(dtype) for matrix in inputs.matrices)
    check = inputs.check(a @ b, precision)
    assert check.right
    assert check.error is not None and check.limit < 50 * check.error


def test_a_wrong_product_fails() -> None:
    inputs = Inputs(200, seed=0)
    wrong = product(inputs)
    wrong[inputs.rows[3]] *= 1.001  # one row in 64, one part in a thousand
    assert not inputs.check(wrong, "float32").right
    assert not inputs.check(torch.full((200, 200), float("nan")), "float32").right


def test_a_tf32_product_that_says_float32_is_named() -> None:
    inputs = Inputs(500, seed=0)
    rounded = [(m.view(torch.int32) + 0x1000 & ~0x1FFF).view(torch.float32) for m in inputs.matrices]
    check = inputs.check(rounded[0] @ rounded[1], "float32")
    assert not check.right
    assert "TF32" in check.suspicion
    assert inputs.check(rounded[0] @ rounded[1], "tf32").right


def test_tf32_stands_far_from_float32_at_the_headline_size() -> None:
    assert error_limit("tf32", 10_000) > 30 * error_limit("float32", 10_000)


def test_the_reference_is_the_float64_product_of_its_rows() -> None:
    inputs = Inputs(1200, seed=3)
    a, b = (matrix.double() for matrix in inputs.matrices)
    torch.testing.assert_close(inputs.reference, (a @ b)[inputs.rows])


def test_without_a_gpu_there_are_cpu_rows_and_the_reason() -> None:
    absent = {"absent": {"cuda": "this machine has no NVIDIA GPU"}}
    words = ("sizes=[16,96]", "seconds=60", "threads=1", "sustained_seconds=0.2")
    record, report = run("matmul", *words, environment=absent)
    assert "no GPU: this machine has no NVIDIA GPU" in report.lines
    assert report.tables[0].title.startswith("96 x 96")
    assert set(cells(report, "96 x 96", "by")) == {"torch", "numpy"}
    assert {m.task.precision for m in record.measurements} >= {"float32", "bfloat16"}
    assert "tf32" not in {m.task.precision for m in record.measurements}
    assert record.ok(what="sustained", size=16) or record.ok(what="sustained", size=96)
    assert all(m.check and m.check.right for m in record.ok())


def test_numpy_and_half_formats_run_at_every_thread_count() -> None:
    record, _ = run("matmul", "sizes=[16]", "seconds=60", "threads=[1,2]", "dtypes=[float32,bfloat16]")
    rows = {(m.task.by, m.task.precision, m.task.threads) for m in record.measurements}
    forms = (("torch", "float32"), ("torch", "bfloat16"), ("numpy", "float32"))
    assert rows == {(*form, count) for form in forms for count in (1, 2)}


def test_with_a_gpu_every_branch_runs() -> None:
    words = ("sizes=[16,64]", "seconds=60", "threads=[1,2]", "sustained_seconds=0")
    record, report = run("matmul", *words, devices=[Device("cpu"), HostAsGpu()])
    forms = {(m.task.by, m.task.precision) for m in record.all(device="cuda:0")}
    assert {("torch", "float32"), ("torch, moved", "float32"), ("torch", "tf32")} <= forms
    assert all(m.event_s for m in record.ok(device="cuda:0"))
    said = [line for line in report.lines if line.startswith("speedup of cuda:0 against")]
    assert any("best CPU" in line for line in said) and any("one CPU thread" in line for line in said)
    assert any("transfers included" in line for line in said)
    assert all(line.endswith(")") and "(" in line for line in said)  # an interval, or why there is none
    assert "kernel only" in report.summary["crossover"]["cuda:0"]


def test_a_size_that_does_not_fit_is_skipped_with_the_numbers() -> None:
    words = ("sizes=[16,256]", "seconds=60", "dtypes=[float32]", "threads=1", "sustained_seconds=0")
    record, _ = run("matmul", *words, devices=[Device("cpu"), HostAsGpu(memory=500_000)])
    skipped = record.all(device="cuda:0", size=256, by="torch")
    assert [m.reason for m in skipped] == ["needs 786 kB, free 500 kB"]
    assert record.ok(device="cpu", size=256)


def test_the_budget_is_kept_where_the_headline_cannot_be_done_in_it() -> None:
    words = ("sizes=[20000]", "seconds=2", "dtypes=[float32]", "threads=1", "sustained_seconds=0")
    start = time.perf_counter()
    record, _ = run("matmul", *words)
    assert time.perf_counter() - start < 10
    late = record.all(size=20_000)
    assert late and all(m.status == "skipped" and "s are left" in m.reason for m in late)
    assert record.ok(size=matmul.PROBE)


def timed(
    device: str, size: int, seconds: float, by: str = "torch", threads: int | None = None
) -> Measurement:
    task = Task("matmul", by, device, threads=threads, size=size, flop=2.0 * size**3)
    return Measurement(task, wall_s=[seconds] * 6)


def test_speedups_name_what_they_are_against() -> None:
    found = [
        timed("cpu", 10_000, 16.0, threads=1),
        timed("cpu", 10_000, 4.0, threads=8),
        timed("cpu", 10_000, 3.0, "numpy", threads=8),
        timed("cuda:0", 10_000, 0.25),
        timed("cuda:0", 10_000, 0.5, "torch, moved"),
    ]
    ratios = speedups("cuda:0", found)
    assert {name: ratio.value for name, ratio in ratios.items()} == {
        "best CPU (8 threads)": 16.0,
        "one CPU thread": 64.0,
        "best CPU (8 threads), transfers included": 8.0,
        "one CPU thread, transfers included": 32.0,
    }
    assert all(ratio.interval == (ratio.value, ratio.value) for ratio in ratios.values())  # six equal times
    few = [replace(m, wall_s=m.wall_s[:2]) for m in found]
    assert str(speedups("cuda:0", few)["one CPU thread"]) == "64 (2 times: no interval)"


def test_the_crossover_is_told_for_three_places_of_the_data() -> None:
    rows = [timed("cpu", n, float(n), threads=2) for n in (1, 2, 4, 8, 16)]
    rows += [timed("cuda:0", n, 3.0) for n in (1, 2, 4, 8, 16)]
    rows += [timed("cuda:0", n, 12.9, "torch, moved") for n in (1, 2, 4, 8, 16)]
    found = crossovers(Record(rows), "cuda:0")
    assert found == {"kernel only": 4, "moved once for 10 products": 4, "moved every call": 16}
