"""The sensors against a library that answers as NVML does."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from assay.bench.nvml import NvmlSensors, throttle_reasons


class NVMLError(Exception):
    pass


def fake_nvml(**replaced: Any) -> Any:
    asked: dict[str, Any] = {
        "NVMLError": NVMLError,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlSystemGetDriverVersion": lambda: "590.10",
        "nvmlDeviceGetMaxClockInfo": lambda handle, kind: 1980,
        "nvmlDeviceGetEnforcedPowerLimit": lambda handle: 700_000,
        "nvmlDeviceGetClockInfo": lambda handle, kind: 1755,
        "nvmlDeviceGetPowerUsage": lambda handle: 412_500,
        "nvmlDeviceGetTemperature": lambda handle, kind: 61,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: 0x4 | 0x1,
    }
    return SimpleNamespace(**asked | replaced)


def test_sensors_are_read_in_their_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    sensors = NvmlSensors("1234")
    assert (sensors.absent, sensors.driver, sensors.max_clock_mhz, sensors.power_limit_w) == (
        "", "590.10", 1980.0, 700.0
    )  # fmt: skip
    reading = sensors.reading()
    assert (reading.clock_mhz, reading.power_w, reading.temperature_c) == (1755.0, 412.5, 61.0)
    assert reading.throttle == ("software power cap",)  # being idle is no throttling


def test_a_sensor_that_a_gpu_lacks_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(handle: Any) -> float:
        raise NVMLError("Not Supported")

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlDeviceGetPowerUsage=unsupported))
    reading = NvmlSensors("GPU-1234").reading()
    assert reading.power_w is None and reading.clock_mhz == 1755.0


def test_why_there_are_no_sensors_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise NVMLError("NVML Shared Library Not Found")

    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(nvmlInit=missing))
    sensors = NvmlSensors("1234")
    assert sensors.absent == "NVML: NVML Shared Library Not Found"
    assert sensors.reading().clock_mhz is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert NvmlSensors("1234").absent == "nvidia-ml-py is not installed"


def test_throttle_bits_in_words() -> None:
    assert throttle_reasons(0) == ()
    assert throttle_reasons(0x20 | 0x40) == ("software thermal slowdown", "hardware thermal slowdown")
