"""Which process it was, and whether it lives: pids are reused, clocks are set, hosts differ."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from assay.run.process import is_alive, this_process


def test_this_one_lives() -> None:
    assert is_alive(this_process()) is True


def test_a_pid_that_another_process_has_now() -> None:
    me = this_process()
    started = None if me["started"] is None else me["started"] - 100
    assert is_alive(me | {"started": started, "created": me["created"] - 1}) is False


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own count of time is read from /proc")
def test_a_clock_that_was_set_back() -> None:
    assert is_alive(this_process() | {"created": time.time() + 3600}) is True


def test_a_process_that_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert is_alive(this_process() | {"pid": child.pid}) is False


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no zombies here")
def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    assert is_alive(this_process() | {"pid": child.pid, "started": None}) is False
    child.wait()


@pytest.mark.parametrize("elsewhere", [{"host": "another"}, {"system": "another boot"}])
def test_elsewhere_nothing_is_known(elsewhere: dict[str, str]) -> None:
    assert is_alive(this_process() | elsewhere) is None


def test_what_only_says_when_it_was_created() -> None:
    short = {name: this_process()[name] for name in ("pid", "host", "created")}
    assert is_alive(short) is True
    assert is_alive(short | {"created": 0.0}) is False
