"""Claims of the core, for a machine that does nothing else: `pytest -n 0 -m full` with this file."""

import subprocess
import sys
import time
from collections import Counter
from itertools import combinations, product
from pathlib import Path
from statistics import median

import pytest
from torch.utils import benchmark

from assay import PROJECT
from assay.bench import matmul
from assay.bench.device import Device
from assay.bench.measure import measure
from assay.bench.record import load
from assay.bench.views import compared_rows

SIZE = 2048
SECONDS = 20.0  # of one result, in five processes; beside them goes as much again for starting them
SLOWER_BY_A_FIFTH = "model.width=1536"  # of a network whose time is its matrix products


def agreement(threads: int, turns: int) -> float:
    """Our median time of a product over that of `torch.utils.benchmark`, taken in turn."""
    inputs = matmul.Inputs(SIZE, seed=0)
    job = matmul.product_job(inputs, Device("cpu"), "float32", "torch", threads)
    a, b = inputs.matrices
    timer = benchmark.Timer("a @ b", globals={"a": a, "b": b}, num_threads=threads)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(turns):
        theirs.append(timer.blocked_autorange(min_run_time=1.0).median)
        (row,) = measure([job], deadline=time.perf_counter() + 2.0)
        ours.append(row.median_s)
    return median(ours) / median(theirs)


def measured(output_dir: Path, seconds: float, *overrides: str) -> Path:
    """The result of one bench of five fresh processes."""
    words = ["bench=model", "batch_sizes=[256]", "threads=1", "processes=5", f"seconds={seconds}"]
    before = set(output_dir.glob("bench/*"))
    command = [sys.executable, "bench.py", *words, *overrides, f"output_dir={output_dir}"]
    subprocess.run(command, cwd=PROJECT, check=True, capture_output=True)
    (path,) = set(output_dir.glob("bench/*")) - before
    return path


def said(before: Path, after: Path) -> str:
    """SLOWER or FASTER where any row is, else alike."""
    old, new = load(before, "compare"), load(after, "compare")
    rows = {row.verdict for row in compared_rows(old.measurements, new.measurements)}
    assert rows, "no row has a time on both sides"
    return "SLOWER" if "SLOWER" in rows else "FASTER" if "FASTER" in rows else "alike"


@pytest.mark.full
@pytest.mark.parametrize("threads", [1, 2])
def test_a_product_takes_as_long_as_torch_says_it_does(threads: int) -> None:
    assert agreement(threads, turns=8) == pytest.approx(1, abs=0.05)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_same_is_not_told_apart_and_a_fifth_slower_is_always_seen(tmp_path: Path) -> None:
    """Seven results, measured in turn, make ten pairs of the same and ten with a fifth more work."""
    same: list[Path] = []
    slower: list[Path] = []
    for turn in range(5):
        same.append(measured(tmp_path, SECONDS, "model.width=1280"))
        if turn in (1, 3):
            slower.append(measured(tmp_path, SECONDS, SLOWER_BY_A_FIFTH))
    alike = Counter(said(*pair) for pair in combinations(same, 2))
    fifth = Counter(said(*pair) for pair in product(same, slower))
    assert alike["alike"] >= 9, alike
    assert fifth["SLOWER"] == 10, fifth
