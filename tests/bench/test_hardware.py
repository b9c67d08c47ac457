"""Devices by name, and why one is not here."""

import pytest

from assay.bench.device import Cpu
from assay.bench.hardware import busy, chosen, environment, find_devices, numpy_blas, torch_blas
from assay.errors import UserError
from tests.bench.runs import cells, run

NO_GPU = {"cuda": "this machine has no NVIDIA GPU"}


def test_names_are_taken_once_and_cuda_is_the_first_gpu() -> None:
    assert chosen(["cpu", "cuda", "cuda:0"], ["cpu", "cuda:0"], {}) == ["cpu", "cuda:0"]


@pytest.mark.parametrize(
    ("name", "here", "absent", "said"),
    [
        ("cuda:7", ["cpu"], NO_GPU, "devices=[cuda:7] cannot be used: this machine has no NVIDIA GPU"),
        ("cuda:7", ["cpu", "cuda:0"], {}, "devices=[cuda:7] cannot be used: this machine has no cuda:7"),
        ("mps", ["cpu"], NO_GPU, "devices=[mps] cannot be used: this machine has no mps"),
        ("gpu", ["cpu"], NO_GPU, "devices=[gpu] is no device"),
        ("cuda:x", ["cpu", "cuda:0"], {}, "devices=[cuda:x] cannot be used"),
    ],
)
def test_a_device_that_is_not_here_is_refused(
    name: str, here: list[str], absent: dict[str, str], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        chosen([name], here, absent)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(said)
    assert lines[-1].endswith(f"on this machine: {', '.join(here)}")
    assert len(lines) <= 4


def test_the_cpu_is_always_here() -> None:
    devices, _ = find_devices(["cpu"])
    assert [device.name for device in devices] == ["cpu"]


def test_the_record_holds_what_a_time_depends_on() -> None:
    found = environment([Cpu()], NO_GPU)
    assert found["cpu"]["cores"] >= 1 and found["cpu"]["threads"] >= 1
    assert found["memory"]["free_bytes"] > 0
    assert found["versions"]["torch"] and found["git"] is not None and found["command"]
    assert found["absent"] == NO_GPU


def test_a_busy_machine_is_told() -> None:
    assert busy({"busy_percent": [3.0, 4.0]}) == []
    (line,) = busy({"busy_percent": [3.0, 80.4]})
    assert line.startswith("other programs used 80 % of this machine's CPU")


def test_the_libraries_that_multiply_are_named() -> None:
    assert torch_blas() != "unknown"
    assert "threads" in numpy_blas()


def test_the_doctor_lists_them() -> None:
    _, report = run("hardware")
    assert {"CPU", "memory", "BLAS", "torch"} <= set(cells(report, "hardware", "what"))
