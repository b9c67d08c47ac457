"""What the device config means, and why CUDA is not here: with the machine played by the test."""

import pytest
import torch

from assay.config.schema import DeviceConfig
from assay.errors import UserError
from assay.run import device
from assay.run.device import CudaProbes, choose_threads, launched, resolve, why_no_cuda
from tests.runs import config


def chosen(*words: str) -> DeviceConfig:
    return config(*words).device


@pytest.mark.parametrize(
    ("probes", "cause"),
    [
        (CudaProbes("13.2", gpu_present=False, driver_present=False), "has no NVIDIA GPU"),
        (CudaProbes(None, gpu_present=False, driver_present=False), "has no NVIDIA GPU"),
        (CudaProbes("13.2", gpu_present=True, driver_present=False), "driver is not installed"),
        (CudaProbes("13.2", gpu_present=None, driver_present=False), "driver is not installed"),
        (CudaProbes(None, gpu_present=True, driver_present=True), "built without CUDA"),
        (CudaProbes("13.2", gpu_present=True, driver_present=True), "too old"),
    ],
)
def test_each_cause_has_its_name(probes: CudaProbes, cause: str) -> None:
    assert cause in why_no_cuda(probes)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(device, "probe_cuda", lambda: CudaProbes("13.2", False, False))


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index=0: "NVIDIA Fake 9000")


def test_auto_takes_the_cpu_where_there_is_no_gpu(no_gpu: None) -> None:
    found = resolve(chosen("device=auto"))
    assert (found.accelerator, found.count) == ("cpu", 1)


def test_auto_takes_a_gpu_where_there_is_one(two_gpus: None) -> None:
    found = resolve(chosen("device=auto"))
    assert (found.accelerator, found.count, found.name) == ("gpu", 1, "NVIDIA Fake 9000")


def test_ddp_takes_all_gpus(two_gpus: None) -> None:
    assert resolve(chosen("device=ddp")).count == 2


@pytest.mark.parametrize("name", ["gpu", "mps"])
def test_a_device_that_is_not_here_is_a_users_error(no_gpu: None, name: str) -> None:
    with pytest.raises(UserError, match="device=cpu works here"):
        resolve(chosen(f"device={name}"))


def test_more_gpus_than_there_are(two_gpus: None) -> None:
    with pytest.raises(UserError, match="3 were asked for, 2 are here"):
        resolve(chosen("device=gpu", "device.devices=3"))


def test_half_precision_on_the_cpu(no_gpu: None) -> None:
    with pytest.raises(UserError, match="16-mixed needs a GPU"):
        resolve(chosen("device=cpu", "device.precision=16-mixed"))


def test_ddp_on_the_cpu_says_what_it_takes(no_gpu: None) -> None:
    for words in (("device=ddp",), ("device=ddp", "device.accelerator=cpu")):
        with pytest.raises(UserError, match=r"device\.devices=auto: on the CPU .*\n.*device\.devices=2"):
            resolve(chosen(*words))
    shared = resolve(chosen("device=ddp", "device.accelerator=cpu", "device.devices=2"))
    assert (shared.count, shared.per_node, shared.launched) == (2, 2, False)


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of the last of two times two processes."""
    given = {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    for name, value in (given | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}).items():
        monkeypatch.setenv(name, value)


def test_a_launchers_processes_are_taken_as_they_are(no_gpu: None, torchrun: None) -> None:
    found = resolve(chosen("device=ddp"))
    assert (found.count, found.per_node, found.launched) == (4, 2, True)
    launch = launched()
    assert launch is not None and launch.rank == 3
    assert resolve(chosen("device=ddp", "device.devices=2")).count == 4


@pytest.mark.parametrize("words", [("device=cpu",), ("device=ddp", "device.devices=3")])
def test_a_launcher_and_another_number(no_gpu: None, torchrun: None, words: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match=r"has started 2 processes on this machine\ntype device=ddp"):
        resolve(chosen(*words))


def test_threads_follow_the_work_of_a_step() -> None:
    small, large = 64 * 2 * 784 * 10, 64 * 2 * 784 * 4096  # operations of a batch of 64
    assert choose_threads(chosen(), small, 8) == 1
    assert choose_threads(chosen(), large, 8) == 8
    assert choose_threads(chosen(), large, 2) == 2
    assert choose_threads(chosen("device.threads=3"), large, 2) == 3
