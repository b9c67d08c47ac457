"""Our figure for a product against `torch.utils.benchmark`, taken in turn."""

import time

import pytest
import torch
from torch.utils import benchmark

from assay.bench import matmul
from assay.bench.device import Cpu
from assay.bench.matmul import Inputs
from assay.bench.measure import measure
from assay.config.schema import MatmulConfig
from assay.config.compose import compose
from assay.config.judge import judge

SIZE, THREADS, ROUNDS = 2048, 1, 6


@pytest.mark.full  # a ratio of times: for a machine that does nothing else
def test_a_product_takes_as_long_as_torch_says_it_does() -> None:
    """The fastest of each, as other programs on this machine only ever add time."""
    words = ["bench=matmul", f"sizes=[{SIZE}]", "dtypes=[float32]"]
    config = judge(MatmulConfig, compose("bench", words))
    jobs = matmul.cpu_jobs(Inputs(SIZE, config.seed), Cpu(), config.dtypes, [THREADS])
    (job,) = [job for job in jobs if job.task.by == "torch"]
    a, b = torch.randn(SIZE, SIZE), torch.randn(SIZE, SIZE)
    timer = benchmark.Timer("a @ b", globals={"a": a, "b": b}, num_threads=THREADS)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(ROUNDS):
        theirs += timer.blocked_autorange(min_run_time=0.2).times
        (found,) = measure([job], deadline=time.perf_counter() + 1.0)
        ours += found.times
    assert abs(min(ours) / min(theirs) - 1) < 0.05
