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
    THROTTLE,
    Device,
    free_host_memory,
    is_out_of_memory,
    is_unsupported,
    sensor,
    setting,
    throttle_bits,
    usable_threads,
)


def test_threads_are_set_for_torch_and_for_numpys_blas_and_put_back() -> None:
    from threadpoolctl import threadpool_info

    def blas() -> set[int]:
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    before = torch.get_num_threads(), blas()
    with setting(1):
        assert torch.get_num_threads() == 1 and blas() == {1}
    assert (torch.get_num_threads(), blas()) == before
    with setting(None):
        assert (torch.get_num_threads(), blas()) == before


def test_precision_is_set_and_put_back() -> None:
    before = torch.backends.cuda.matmul.fp32_precision
    with setting(None, "tf32"):
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    with setting(None, "bfloat16"):
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
        Device("cpu").read(output)


def test_the_host_is_a_device() -> None:
    cpu = Device("cpu")
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
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: {"GPU-1234": 0x4 | 0x1}[handle],
    }
    return SimpleNamespace(**answers | replaced)


def refuse(*arguments: Any) -> Any:
    raise NVMLError("Not Supported")


def test_throttle_reasons_are_read_by_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert sensor(throttle_bits, "1234") == sensor(throttle_bits, "GPU-1234") == 5
    assert [THROTTLE.get(bit) for bit in (0x4, 0x1)] == ["software power cap", None]  # idle is no throttling


def test_a_sensor_that_is_not_there_is_none_and_a_bug_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sensor(lambda place: 1755, "cuda:0") == 1755.0
    for missing in (nvml(nvmlInit=refuse), nvml(nvmlDeviceGetCurrentClocksThrottleReasons=refuse), None):
        monkeypatch.setitem(sys.modules, "pynvml", missing)
        assert sensor(throttle_bits, "1234") is None
    with pytest.raises(KeyError):
        sensor(lambda place: {}[place], "cuda:0")


def test_other_programs_on_this_machine_are_seen() -> None:
    code = "import time; t = time.time()\nwhile time.time() < t + 20: pass"
    cpu = Device("cpu")
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
