"""An NVIDIA GPU's sensors, by NVML, where the driver and `nvidia-ml-py` are there."""

from typing import Any, final

from assay.bench.measurement import Reading

# NVML's names for the reasons that lower the clock; idle and application settings are no throttling
THROTTLE = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}


@final
class NvmlSensors:
    """The sensors of the GPU with this UUID; `absent` says why there are none."""

    def __init__(self, uuid: str) -> None:
        self.absent = ""
        self.driver: str | None = None
        self.max_clock_mhz: float | None = None
        self.power_limit_w: float | None = None
        try:
            import pynvml
        except ImportError:
            self.absent = "nvidia-ml-py is not installed"
            return
        self._nvml: Any = pynvml
        try:
            pynvml.nvmlInit()
            name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(name)
            self.driver = str(pynvml.nvmlSystemGetDriverVersion())
        except pynvml.NVMLError as error:
            self.absent = f"NVML: {error}"
            return
        self.max_clock_mhz = self._read(lambda n, h: n.nvmlDeviceGetMaxClockInfo(h, n.NVML_CLOCK_SM))
        self.power_limit_w = self._read(lambda n, h: n.nvmlDeviceGetEnforcedPowerLimit(h) / 1e3)

    def reading(self) -> Reading:
        """Clock, power, temperature and throttle reasons now; a sensor that a GPU lacks is None."""
        if self.absent:
            return Reading()
        reasons = self._read(lambda n, h: n.nvmlDeviceGetCurrentClocksThrottleReasons(h)) or 0
        return Reading(
            clock_mhz=self._read(lambda n, h: n.nvmlDeviceGetClockInfo(h, n.NVML_CLOCK_SM)),
            power_w=self._read(lambda n, h: n.nvmlDeviceGetPowerUsage(h) / 1e3),
            temperature_c=self._read(lambda n, h: n.nvmlDeviceGetTemperature(h, n.NVML_TEMPERATURE_GPU)),
            throttle=throttle_reasons(int(reasons)),
        )

    def _read(self, ask: Any) -> float | None:
        try:
            return float(ask(self._nvml, self._handle))
        except self._nvml.NVMLError:  # not supported by this GPU, or not allowed to this user
            return None


def throttle_reasons(bits: int) -> tuple[str, ...]:
    """NVML's bit mask in words."""
    return tuple(name for bit, name in THROTTLE.items() if bits & bit)
