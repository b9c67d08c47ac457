"""R5: SIGTERM and Ctrl-C save and stop, a second one leaves at once; SLURM's signal puts the job back."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from assay.run.folder import RunFolder
from assay.training.checkpoint import load_verified, saved_step
from tests.processes import Child, Zygote, wait_for
from tests.reliability.harness import WORDS, only_run, strays
from tests.runs import checkpoint, result, rows, same_tensors

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
LONG = (*WORDS, "trainer.max_epochs=200", "scheduler=none")


def start(zygote: Zygote, *words: str, **fault: Any) -> Child:
    return zygote.start("tests.reliability.faults:train", words=words, fault=fault)


@pytest.mark.parametrize("signum", CODES)
@pytest.mark.parametrize("where", [{"step": 70}, {"validation": 5}], ids=["train", "validation"])
def test_saves_and_stops(
    zygote: Zygote, undisturbed: Path, tmp_path: Path, signum: signal.Signals, where: dict[str, int]
) -> None:
    """At the very batch, and the run that is resumed from there ends to the same bits."""
    words = (*WORDS, f"output_dir={tmp_path}")
    code, text = zygote.train(*words, fault={**where, "signal": signum})
    folder = only_run(tmp_path)
    found = result(folder)
    assert code == CODES[signum], text
    assert found["status"] == "interrupted" and found["error"] == f"stopped by {signal.Signals(signum).name}"
    assert f"resume={folder}" in text and "Traceback" not in text
    assert saved_step(folder / "checkpoints" / "last.ckpt") == (70 if "step" in where else 120)
    assert found["steps"] == 60 and found["epochs"] == 1 and "val/accuracy" in found["metrics"]
    assert zygote.train(f"resume={folder}")[0] == 0
    assert same_tensors(checkpoint(folder)["state_dict"], checkpoint(undisturbed)["state_dict"])
    assert rows(folder) == rows(undisturbed)
    assert found["metrics"] != result(folder)["metrics"] == result(undisturbed)["metrics"]
    print(
        f"R5 {signum.name} in {next(iter(where))}: exit {code}, saved at that batch, resumed to the same bits"
    )


def test_while_data_is_loaded(zygote: Zygote, tmp_path: Path) -> None:
    """A batch that takes long is waited for, no more than that one."""
    child = start(zygote, *LONG, f"output_dir={tmp_path}", slow_data=0.5)
    wait_for(lambda: "samples" in child.text or list(tmp_path.glob("runs/*/metrics.csv")))
    time.sleep(1)
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 143
    took = time.monotonic() - began
    folder = only_run(tmp_path)
    assert RunFolder.open(folder).status == "interrupted"
    assert load_verified(folder / "checkpoints" / "last.ckpt")[1] is None
    print(f"R5 SIGTERM while loading batches of 0.5 s: saved and left after {took:.1f} s")
    assert took < 10


def test_a_second_ctrl_c_leaves_at_once(zygote: Zygote, tmp_path: Path) -> None:
    """During a save that takes long; what was saved before is whole."""
    child = start(zygote, *LONG, f"output_dir={tmp_path}", slow_save=1.0, marker=str(tmp_path / "saving"))
    wait_for(lambda: list(tmp_path.glob("runs/*/checkpoints/last.ckpt")))
    folder = only_run(tmp_path)
    wait_for(lambda: list(folder.glob("checkpoints/.last.ckpt.[0-9]*.tmp")))
    child.send_signal(signal.SIGINT)
    time.sleep(0.1)
    began = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.wait() == 130
    took = time.monotonic() - began
    assert result(folder)["status"] == "interrupted"
    state, _ = load_verified(folder / "checkpoints" / "last.ckpt")
    assert state["global_step"] >= 25
    assert strays(folder) == []
    print(f"R5 second Ctrl-C during a save: left after {took:.2f} s with a valid checkpoint")
    assert took < 5  # it is some 0.1 s; a busy machine must not fail this


def test_during_a_save(zygote: Zygote, tmp_path: Path) -> None:
    """One signal lets the save end."""
    marker = tmp_path / "saving"
    child = start(zygote, *LONG, f"output_dir={tmp_path}", slow_save=0.5, marker=str(marker))
    wait_for(marker.exists)
    child.send_signal(signal.SIGTERM)
    assert child.wait() == 143
    folder = only_run(tmp_path)
    assert load_verified(folder / "checkpoints" / "last.ckpt")[1] is None
    assert strays(folder) == []


def test_before_and_after_training(zygote: Zygote, tmp_path: Path) -> None:
    """A run stopped in its test stage has all of its training, and only tests when it is resumed."""
    command = [*WORDS, "stages=[fit,test]", f"output_dir={tmp_path}"]
    code, _ = zygote.train(*command, fault={"test": 1, "signal": signal.SIGTERM})
    folder = only_run(tmp_path)
    assert code == 143
    assert result(folder)["status"] == "interrupted" and result(folder)["epochs"] == 3
    weights = (folder / "checkpoints" / "last.ckpt").read_bytes()
    code, text = zygote.train(f"resume={folder}")
    assert code == 0 and "epoch " not in text
    assert "test/accuracy" in result(folder)["metrics"]
    assert (folder / "checkpoints" / "last.ckpt").read_bytes() == weights
    code, text = zygote.train(f"resume={folder}")
    assert code == 0 and "is complete" in text and "test accuracy" in text
    assert result(folder)["resumed"] == 1


@pytest.mark.parametrize("signum", [signal.SIGUSR1, signal.SIGUSR2])
def test_slurm_puts_the_job_back(zygote: Zygote, tmp_path: Path, signum: signal.Signals) -> None:
    """Saved, `scontrol requeue` called; the same command, run again, goes on in the same folder."""
    called = tmp_path / "called"
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    scontrol.chmod(0o755)
    env = {"PATH": f"{scontrol.parent}:/usr/bin:/bin", "SLURM_JOB_ID": "4711", "SLURM_NTASKS": "1"}
    command = [*WORDS, f"output_dir={tmp_path / 'out'}"]
    code, text = zygote.train(*command, fault={"step": 80, "signal": signum}, env=env)
    folder = only_run(tmp_path / "out")
    assert code == 128 + signum, text
    assert called.read_text() == "requeue 4711\n"
    assert saved_step(folder / "checkpoints" / "last.ckpt") == 80
    code, text = zygote.train(*command, env=env | {"SLURM_RESTART_COUNT": "1"})
    assert code == 0 and f"resuming {folder}" in text
    assert only_run(tmp_path / "out") == folder and result(folder)["steps"] == 180
    print(f"R5 {signum.name} under SLURM: saved, requeued, gone on with by the same command")


def test_submitit_puts_its_own_job_back(zygote: Zygote, tmp_path: Path) -> None:
    """The handler that was there before is called when the checkpoint is written, not earlier."""
    handed = tmp_path / "handed"
    fault = {"step": 80, "signal": signal.SIGUSR2, "handler": str(handed)}
    code, _ = zygote.train(
        *WORDS, f"output_dir={tmp_path / 'out'}", fault=fault, env={"SLURM_JOB_ID": "4711"}
    )
    folder = only_run(tmp_path / "out")
    assert code == 255  # as submitit's handler leaves
    assert handed.read_text() == "80"
    assert result(folder)["status"] == "interrupted"
