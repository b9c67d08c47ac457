"""The peak table finds devices by the names that drivers give them."""

import pytest

from assay.bench.peaks import UNKNOWN, CpuProbes, cpu_peak, gpu_peak


@pytest.mark.parametrize(
    ("title", "float32", "half"),
    [
        ("NVIDIA GeForce RTX 4060", 15.1, 30.3),
        ("NVIDIA GeForce RTX 4060 Laptop GPU", 15.1, 30.3),
        ("NVIDIA GeForce RTX 4060 Ti", 22.1, 44.1),
        ("NVIDIA GeForce RTX 4090", 82.6, 165.2),
        ("NVIDIA A100-SXM4-40GB", 19.5, 312),
        ("NVIDIA H100 80GB HBM3", 67, 989.4),
        ("NVIDIA H100 PCIe", 51.2, 756),
        ("NVIDIA H200", 67, 989.4),
        ("NVIDIA GH200 480GB", 67, 989.4),
        ("NVIDIA B200", 80, 2250),
    ],
)
def test_a_listed_gpu_has_its_data_sheet(title: str, float32: float, half: float) -> None:
    peak = gpu_peak(title)
    assert peak.bound
    limits = peak.arithmetic("float32"), peak.arithmetic("bfloat16")
    assert [limit.rate / 1e12 if limit else None for limit in limits] == pytest.approx([float32, half])


def test_memory_tells_the_two_a100_apart() -> None:
    rates = [gpu_peak(name).memory() for name in ("NVIDIA A100-SXM4-40GB", "NVIDIA A100 80GB PCIe")]
    assert [limit and limit.rate for limit in rates] == [1.555e12, 2.039e12]


@pytest.mark.parametrize("title", ["Apple M1", "Apple M2 Max", "Apple M3 Max", "Apple M4", "Apple M4 Max"])
def test_an_apple_gpu_is_listed_as_an_estimate(title: str) -> None:
    limit = gpu_peak(title).arithmetic("float32")
    assert limit is not None and not limit.bound


def test_any_other_gpu_is_unknown() -> None:
    assert gpu_peak("NVIDIA GeForce RTX 9999") is UNKNOWN
    assert UNKNOWN.arithmetic("float32") is None and UNKNOWN.memory() is None


def test_a_cpu_peak_is_cores_times_clock_times_width() -> None:
    avx2 = CpuProbes("x86_64", frozenset({"avx2", "fma"}), max_mhz=5000.0, listed_mhz=3000.0)
    limit = cpu_peak(avx2, 8).arithmetic("float32")
    assert limit is not None and limit.bound
    assert limit.rate == pytest.approx(8 * 5e9 * 32)
    avx512 = CpuProbes("x86_64", frozenset({"avx2", "fma", "avx512f"}), None, listed_mhz=2600.0)
    estimate = cpu_peak(avx512, 2).arithmetic("float32")
    assert estimate is not None and not estimate.bound  # a boosting core may pass the listed clock
    assert estimate.rate == pytest.approx(2 * 2.6e9 * 64)


def test_a_cpu_that_cannot_be_read_is_unknown() -> None:
    assert cpu_peak(CpuProbes("arm64", frozenset(), None, None), 8) is UNKNOWN
