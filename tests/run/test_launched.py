"""Several processes for one run: a launcher's are taken as they are; one that is ended alone ends the run."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from assay import PROJECT
from tests.reliability.harness import only_run, wait_for
from tests.runs import SHORT, checkpoint, result, rows, same_tensors

DDP = ("device=ddp", "device.accelerator=cpu")
QUICK = tuple(word for word in SHORT if word != "device=cpu")
# a launcher's process has as many threads as it says, and says how many
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT)}


def start(words: Sequence[str], *launcher: str) -> "subprocess.Popen[str]":
    command = [sys.executable, *launcher, str(PROJECT / "train.py"), *words]
    return subprocess.Popen(command, env=ENV, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def torchrun(*options: str) -> tuple[str, ...]:
    return ("-m", "torch.distributed.run", *options)


def ended(process: "subprocess.Popen[str]") -> int:
    out, _ = process.communicate(timeout=240)
    print(out)
    return process.returncode


def test_torchrun_makes_one_run(tmp_path: Path) -> None:
    words = [*QUICK, *DDP, f"output_dir={tmp_path}"]
    assert ended(start(words, *torchrun("--nproc-per-node", "2"))) == 0
    folder = only_run(tmp_path)
    assert result(folder)["status"] == "completed" and result(folder)["device"]["count"] == 2
    assert len(rows(folder)) == len({tuple(row.values()) for row in rows(folder)}) == 11


def test_two_machines_train_like_two_processes_of_one(tmp_path: Path) -> None:
    alone = [*QUICK, *DDP, "device.devices=2", f"output_dir={tmp_path / 'a'}"]
    assert ended(start(alone)) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    words = [*QUICK, *DDP, f"output_dir={tmp_path / 'b'}"]
    address = ("--nnodes", "2", "--master-addr", "127.0.0.1", "--master-port", port)
    nodes = [start(words, *torchrun(*address, "--node-rank", rank)) for rank in ("0", "1")]
    assert [ended(node) for node in nodes] == [0, 0]
    one, other = only_run(tmp_path / "a"), only_run(tmp_path / "b")
    assert same_tensors(checkpoint(one)["state_dict"], checkpoint(other)["state_dict"])
    assert rows(one) == rows(other)


def test_a_process_that_is_ended_alone_ends_the_run(tmp_path: Path) -> None:
    words = [*QUICK, *DDP, "device.devices=2", "trainer.max_epochs=500", f"output_dir={tmp_path}"]
    run = start(words)
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoints/last.ckpt")), 120)
    ranks = [
        child
        for child in psutil.Process(run.pid).children(recursive=True)
        if "spawn_main" in " ".join(child.cmdline())
    ]
    ranks[-1].send_signal(signal.SIGTERM)
    assert ended(run) == 128 + signal.SIGTERM
    folder = only_run(tmp_path)
    assert result(folder)["status"] == "interrupted" and result(folder)["epochs"] >= 1
