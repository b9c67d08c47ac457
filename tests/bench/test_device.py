"""The host as a device, a GPU's sensors, and what an exception means."""

import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from assay.bench.device import (
    Cpu,
    cpu_threads,
    free_host_memory,
    is_out_of_memory,
    is_unsupported,
    matmul_precision,
    nvml_handle,
    read_one,
    sensor,
    throttle_reasons,
    usable_threads,
)


def test_threads_are_set_for_torch_and_for_numpys_blas_and_put_back() -> None:
    from threadpoolctl import threadpool_info

    def blas() -> set[int]:
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    before = torch.get_num_threads(), blas()
    with cpu_threads(1):
        assert torch.get_num_threads() == 1 and blas() == {1}
    assert (torch.get_num_threads(), blas()) == before
    with cpu_threads(None):
        assert (torch.get_num_threads(), blas()) == before


def test_precision_is_set_and_put_back() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    with matmul_precision("tf32"):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    with matmul_precision("bfloat16"):
        assert torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_real_out_of_memory_errors_are_known() -> None:
    with pytest.raises(RuntimeError) as by_torch:
        torch.empty(2**56)
    with pytest.raises(MemoryError) as by_numpy:
        np.empty(2**56)
    assert is_out_of_memory(by_torch.value) and is_out_of_memory(by_numpy.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_a_format_that_torch_lacks_is_known() -> None:
    with pytest.raises(NotImplementedError) as caught:
        torch.matmul(torch.ones(2, dtype=torch.bool), torch.ones(2, dtype=torch.bool))
    assert is_unsupported(caught.value)
    assert is_unsupported(RuntimeError("\"addmm_impl_cpu_\" not implemented for 'Half'"))
    assert not is_unsupported(ValueError("\" not implemented for 'Half'"))
    assert not is_unsupported(RuntimeError("we do not support shapes of 3 and 4"))  # somebody's own prose


def test_one_value_is_read_of_any_output() -> None:
    for output in (torch.ones(3, 3), np.ones((3, 3)), (torch.ones(2), None), [np.ones(1)], torch.tensor(1.0)):
        read_one(output)


def test_the_host_is_a_device() -> None:
    cpu = Cpu()
    assert cpu.now() <= cpu.now()
    assert cpu.mark() is None
    assert 0 < cpu.free_memory() <= free_host_memory() * 1.1
    assert usable_threads()[0] == 1


class NVMLError(Exception):
    pass


def nvml(**replaced: Any) -> Any:
    answers: dict[str, Any] = {
        "NVMLError": NVMLError,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x4 | 0x1,
    }
    return SimpleNamespace(**answers | replaced)


def refuse(*arguments: Any) -> Any:
    raise NVMLError("Not Supported")


def test_throttle_reasons_are_read_by_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    handle = nvml_handle("1234")
    assert handle == "GPU-1234"
    assert throttle_reasons(handle) == ("software power cap",)  # being idle is no throttling
    thermal = nvml(nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x20 | 0x40)
    monkeypatch.setitem(sys.modules, "pynvml", thermal)
    assert throttle_reasons(handle) == ("software thermal slowdown", "hardware thermal slowdown")


def test_absent_nvml_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlInit=refuse))
    assert nvml_handle("1234") is None and throttle_reasons(None) == ()
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetCurrentClocksThrottleReasons=refuse))
    assert throttle_reasons("GPU-1234") == ()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml_handle("1234") is None


def test_a_sensor_that_a_gpu_lacks_is_none_and_a_bug_is_a_bug() -> None:
    place = torch.device("cpu")
    assert sensor(lambda _: 1755, place) == 1755.0
    assert sensor(refuse, place) is None
    with pytest.raises(KeyError):
        sensor(lambda _: {}["clock"], place)


def test_other_programs_on_this_machine_are_seen() -> None:
    code = "import time; t = time.time()\nwhile time.time() < t + 20: pass"
    cpu = Cpu()
    with subprocess.Popen([sys.executable, "-c", code]) as other:
        deadline = time.perf_counter() + 30  # of CPU time that a crowded machine may take to give it
        others_s = 0.0
        while others_s < 0.3 and time.perf_counter() < deadline:
            time.sleep(0.1)
            reading = cpu.reading()
            assert reading.cpu_s > 0
            others_s += reading.others_s
        other.kill()
    assert others_s >= 0.3
