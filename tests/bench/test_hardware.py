"""What devices can do at most, and the record of what a time depends on."""

from types import SimpleNamespace
from typing import cast

import pytest

from assay.bench.device import Device
from assay.bench.hardware import cpu_peaks, environment, nvidia_peaks, peaks_of
from tests.bench.fake import FakeDevice
from tests.bench.runs import cells, run

NO_GPU = {"cuda": "this machine has no NVIDIA GPU"}


def properties(
    name: str, capability: tuple[int, int], count: int, mhz: float, memory: tuple[int, int]
) -> object:
    """What torch says of a GPU; memory is its clock in MHz and the bits of its bus."""
    return SimpleNamespace(
        name=name,
        major=capability[0],
        minor=capability[1],
        multi_processor_count=count,
        clock_rate=mhz * 1e3,
        memory_clock_rate=memory[0] * 1e3,
        memory_bus_width=memory[1],
    )


@pytest.mark.parametrize(
    ("name", "capability", "count", "mhz", "memory", "precision", "tflops", "gb_per_s"),
    [
        ("NVIDIA GeForce RTX 4060", (8, 9), 24, 2460, (8501, 128), "float32", 15.1, 272),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", (8, 9), 24, 2460, (8001, 128), "bfloat16", 30.3, 256),
        ("NVIDIA GeForce RTX 4060 Ti", (8, 9), 34, 2535, (9001, 128), "float16", 44.1, 288),
        ("NVIDIA GeForce RTX 4090", (8, 9), 128, 2520, (10501, 384), "bfloat16", 165.2, 1008),
        ("NVIDIA GeForce RTX 4090", (8, 9), 128, 2520, (10501, 384), "tf32", 82.6, 1008),
        ("NVIDIA GeForce RTX 3090", (8, 6), 82, 1695, (9751, 384), "float16", 71.2, 936),
        ("NVIDIA L40S", (8, 9), 142, 2520, (9001, 384), "bfloat16", 362, 864),
        ("Tesla T4", (7, 5), 40, 1590, (5001, 256), "float16", 65, 320),
        ("NVIDIA A100-SXM4-40GB", (8, 0), 108, 1410, (1215, 5120), "float32", 19.5, 1555),
        ("NVIDIA A100 80GB PCIe", (8, 0), 108, 1410, (1593, 5120), "bfloat16", 312, 2039),
        ("NVIDIA H100 80GB HBM3", (9, 0), 132, 1980, (2619, 5120), "float32", 67, 3350),
        ("NVIDIA H100 80GB HBM3", (9, 0), 132, 1830, (2619, 5120), "bfloat16", 989.4, 3350),
        ("NVIDIA H100 PCIe", (9, 0), 114, 1755, (1593, 5120), "float32", 51.2, 2000),
        ("NVIDIA H200", (9, 0), 132, 1830, (3201, 6016), "tf32", 494.7, 4800),
        ("NVIDIA B200", (10, 0), 148, 1850, (3996, 8192), "bfloat16", 2250, 8000),
    ],
)
def test_at_the_clock_of_its_data_sheet_a_gpu_has_the_data_sheets_rates(
    name: str,
    capability: tuple[int, int],
    count: int,
    mhz: float,
    memory: tuple[int, int],
    precision: str,
    tflops: float,
    gb_per_s: float,
) -> None:
    peaks = nvidia_peaks(properties(name, capability, count, mhz, memory))
    arithmetic, moving = peaks[precision], peaks["memory"]
    assert arithmetic.bound and arithmetic.clock_mhz == mhz
    assert arithmetic.rate / 1e12 == pytest.approx(tflops, rel=0.02)
    assert moving.rate / 1e9 == pytest.approx(gb_per_s, rel=0.03)


def test_any_other_gpu_is_unknown() -> None:
    assert nvidia_peaks(properties("NVIDIA of 2040", (99, 0), 1, 1, (1, 1))) == {}
    assert peaks_of(cast(Device, FakeDevice())) == {}


def test_a_cpu_peak_is_cores_times_clock_times_width() -> None:
    limit = cpu_peaks(["avx2", "fma"], 5000.0, True, 8)["float32"]
    assert limit.bound
    assert limit.rate == pytest.approx(8 * 5e9 * 32)
    estimate = cpu_peaks(["avx2", "fma", "avx512f"], 2600.0, False, 2)["float32"]
    assert not estimate.bound  # a boosting core may pass the listed clock
    assert estimate.rate == pytest.approx(2 * 2.6e9 * 64)


def test_a_cpu_that_cannot_be_read_is_unknown() -> None:
    assert cpu_peaks([], None, False, 8) == {}


def test_the_record_holds_what_a_time_depends_on() -> None:
    found = environment([Device("cpu")], NO_GPU)
    assert found["cpu"]["cores"] >= 1 and found["cpu"]["threads"] >= 1
    assert found["memory"]["free_bytes"] > 0
    assert found["versions"]["torch"] and found["git"] is not None and found["command"]
    assert found["absent"] == NO_GPU


def test_the_libraries_that_multiply_are_named() -> None:
    blas = environment([], NO_GPU)["blas"]
    assert blas["torch"] and "threads" in blas["numpy"]


def test_the_doctor_lists_them_and_says_why_there_is_no_gpu() -> None:
    _, report = run("hardware", environment=environment([Device("cpu")], NO_GPU))
    assert {"CPU", "memory", "BLAS", "torch"} <= set(cells(report, "hardware", "what"))
    assert report.lines == ("no GPU: this machine has no NVIDIA GPU",)
