"""Several processes for one run: a launcher's are taken as they are; one that is ended alone ends the run."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from assay import PROJECT
from tests import processes
from tests.processes import wait_for
from tests.reliability.harness import only_run
from tests.runs import SHORT, checkpoint, result, rows, same_tensors

QUICK = ("device=ddp", "device.accelerator=cpu", *(word for word in SHORT if word != "device=cpu"))


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of two processes that Assay starts by itself."""
    output = tmp_path_factory.mktemp("alone")
    ended(started(output, str(PROJECT / "train.py"), "device.devices=2"))
    return only_run(output)


def started(output: Path, *command: str) -> "subprocess.Popen[str]":
    """Nothing here is forked from what has imported all: each process is new."""
    words = [sys.executable, *command, *QUICK, f"output_dir={output}"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}  # as many threads as a launcher says
    return subprocess.Popen(words, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def torchrun(output: Path, *options: str) -> "subprocess.Popen[str]":
    return started(output, "-m", "torch.distributed.run", *options, str(PROJECT / "train.py"))


def ended(process: "subprocess.Popen[str]") -> None:
    """Wait until it has, and well."""
    with process:
        try:
            out, _ = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 0 and "Traceback" not in out, out


def check(run: Path, alone: Path) -> None:
    """It is one run, and the same as `alone`."""
    assert result(run)["status"] == "completed" and result(run)["device"]["count"] == 2
    assert result(run)["steps"] == result(alone)["steps"] and "test/accuracy" in result(run)["metrics"]
    assert same_tensors(checkpoint(run)["state_dict"], checkpoint(alone)["state_dict"])
    assert rows(run) == rows(alone)
    assert len(rows(run)) == len({tuple(row.values()) for row in rows(run)}) == 11


def test_torchrun_makes_one_run(alone: Path, tmp_path: Path) -> None:
    ended(torchrun(tmp_path, "--standalone", "--nproc-per-node", "2"))
    check(only_run(tmp_path), alone)


def test_two_machines_train_like_two_processes_of_one(alone: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    address = ("--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", port)
    nodes = [torchrun(tmp_path, *address, "--node-rank", rank) for rank in ("0", "1")]
    for node in nodes:
        ended(node)
    check(only_run(tmp_path), alone)


def test_a_process_that_is_ended_alone_ends_the_run(tmp_path: Path) -> None:
    words = (*QUICK, "device.devices=2", "trainer.max_epochs=2000", f"output_dir={tmp_path}")
    run = processes.start("train", tmp_path, *words)
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoints/last.ckpt")))
    ranks = psutil.Process(run.pid).children(recursive=True)
    max(ranks, key=lambda rank: rank.create_time()).send_signal(signal.SIGTERM)  # the last one is a rank
    assert run.wait(90) == 128 + signal.SIGTERM
    folder = only_run(tmp_path)
    assert result(folder)["status"] == "interrupted" and result(folder)["epochs"] >= 1
    assert "Traceback" not in run.text
    wait_for(lambda: not any(rank.is_running() and rank.status() != "zombie" for rank in ranks), 10)
