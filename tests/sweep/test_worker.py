"""The queue for GPUs, by fake ones."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from assay.sweep.pool import visible_gpus
from assay.sweep.worker import one_gpu


@pytest.fixture(autouse=True)
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml: Any = types.ModuleType("pynvml")
    nvml.NVMLError = RuntimeError
    nvml.nvmlInit = nvml.nvmlShutdown = lambda: None
    nvml.nvmlDeviceGetCount = lambda: 3
    nvml.nvmlDeviceGetHandleByIndex = int
    nvml.nvmlDeviceGetUUID = lambda handle: f"GPU-{'abc'[handle]}"  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_each_job_gets_a_gpu_of_its_own_and_gives_it_back() -> None:
    with one_gpu(["GPU-a", "GPU-b"], 1) as first:
        with one_gpu(["GPU-a", "GPU-b"], 1) as second:
            assert (first, second) == ("GPU-a", "GPU-b")
        with one_gpu(["GPU-a", "GPU-b"], 1) as third:
            assert third == "GPU-b"


def test_the_emptiest_gpu_comes_first_where_jobs_share() -> None:
    two = ["GPU-a", "GPU-b"]
    with one_gpu(two, 2) as a, one_gpu(two, 2) as b, one_gpu(two, 2) as c:
        assert (a, b, c) == ("GPU-a", "GPU-b", "GPU-a")


def test_gpus_go_by_uuid_however_they_were_made_visible(
    three_gpus: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert visible_gpus() == ("GPU-a", "GPU-b", "GPU-c")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-a")
    assert visible_gpus() == ("GPU-c", "GPU-a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b, MIG-1f, 7, GPU-x, GPU")
    assert visible_gpus() == ("GPU-b", "MIG-1f", "GPU-a")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == ()


def test_without_the_package_there_is_no_gpu_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert visible_gpus() == ()
