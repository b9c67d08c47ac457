"""Our figure for a product against `torch.utils.benchmark`, taken in turn."""

import time
from statistics import median

import pytest
from torch.utils import benchmark

from assay.bench import matmul
from assay.bench.device import Cpu
from assay.bench.measure import measure

SIZE, TURNS = 2048, 8


@pytest.mark.full  # a ratio of times: for a machine that does nothing else
@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_takes_as_long_as_torch_says_it_does(threads: int) -> None:
    inputs = matmul.Inputs(SIZE, seed=0)
    job = matmul.product_job(inputs, Cpu(), "float32", "torch", threads)
    a, b = inputs.matrices
    timer = benchmark.Timer("a @ b", globals={"a": a, "b": b}, num_threads=threads)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(TURNS):
        theirs.append(timer.blocked_autorange(min_run_time=1.0).median)
        (row,) = measure([job], deadline=time.perf_counter() + 2.0)
        ours.append(row.median_s)
    assert abs(median(ours) / median(theirs) - 1) < 0.05, (ours, theirs)
