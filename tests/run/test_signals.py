"""What each signal means at each moment."""

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from assay.errors import Interrupted
from assay.run.signals import StopRequest, slurm_job, stop_requests


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)


def asking(request: StopRequest) -> list[int]:
    asked: list[int] = []
    request.ask = asked.append
    return asked


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_with_nothing_to_save_it_leaves_at_once(signum: signal.Signals) -> None:
    with pytest.raises(Interrupted) as stopped, stop_requests():
        os.kill(os.getpid(), signum)
    assert stopped.value.signum == signum and str(stopped.value) == f"stopped by {signum.name}"


def test_the_first_asks_and_the_second_leaves() -> None:
    with stop_requests() as request:
        asked = asking(request)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == [signal.SIGINT]
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)
        assert asked == [signal.SIGINT] and request.received == signal.SIGINT


def test_handlers_are_put_back() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
    with stop_requests() as request:
        assert signal.getsignal(signal.SIGTERM) is request
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL  # no scheduler is here
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)] == before


def test_sigterm_is_taken_back_from_lightning() -> None:
    with stop_requests() as request:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        request.take_sigterm()
        assert signal.getsignal(signal.SIGTERM) is request
    StopRequest().take_sigterm()  # outside nothing is taken
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_in_another_thread_nothing_is_handled() -> None:
    found: list[Any] = []

    def enter() -> None:
        with stop_requests() as request:
            found.append(request.received)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [None]


def test_a_workers_process_leaves_it_to_the_run() -> None:
    request = StopRequest()
    request._process = -1  # pyright: ignore[reportPrivateUsage]
    request(signal.SIGINT, None)
    assert request.received is None


@pytest.fixture
def handler() -> Any:
    """Submitit's, which was there before."""
    called: list[int] = []

    def handle(signum: int, frame: object) -> None:
        called.append(signum)

    before = signal.signal(signal.SIGUSR2, handle)
    yield called
    signal.signal(signal.SIGUSR2, before)


def run_until_stopped(then: Callable[[StopRequest], None]) -> None:
    with stop_requests() as request:
        asked = asking(request)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert asked == [signal.SIGUSR2]
        then(request)


def test_an_announcement_is_handed_over_after_the_run(handler: list[int]) -> None:
    """SIGTERM, which SLURM sends along with it, is no second wish; Ctrl-C is one."""

    def then(request: StopRequest) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        assert handler == []
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)

    run_until_stopped(then)
    assert handler == [signal.SIGUSR2]


def test_slurm_without_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("PATH", "/nowhere")
    run_until_stopped(lambda request: None)
    assert "could not be put back into the queue: scontrol requeue 12" in capsys.readouterr().err


def test_the_id_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert slurm_job() is None
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    assert slurm_job() == "12"
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "11")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    assert slurm_job() == "11_3"
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3; rm")
    assert slurm_job() is None
