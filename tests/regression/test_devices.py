"""Several processes of one run, on the CPU of any machine; and a run repeated with the threads it had."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.regression import Shell, config, contents, script
from tests.reliability.harness import ROOT, wait_for
from tests.runs import checkpoint, result, same_tensors

TWO = ("device=ddp", "device.accelerator=cpu", "device.threads=1", "trainer.limit_val_batches=5")
LAUNCHER = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_the_processes_of_torchrun_make_one_run(tmp_path: Path) -> None:
    """Its weights are those of the two processes that Assay starts by itself."""
    short = (*TWO, "trainer.max_epochs=1", "trainer.limit_train_batches=20", "trainer.limit_test_batches=5")
    for name, command in (
        ("torchrun", [*LAUNCHER, str(ROOT / "train.py"), *short]),
        ("alone", script("train", *short, "device.devices=2")),
    ):
        words = [*command, f"output_dir={tmp_path / name}"]
        ended = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=200)
        assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    torchrun, alone = ([*(tmp_path / name / "runs").iterdir()] for name in ("torchrun", "alone"))
    assert len(torchrun) == len(alone) == 1
    for run in (torchrun[0], alone[0]):
        assert result(run)["status"] == "completed" and result(run)["device"]["count"] == 2
        assert result(run)["steps"] == 20 and "test/accuracy" in result(run)["metrics"]
    assert same_tensors(checkpoint(torchrun[0])["state_dict"], checkpoint(alone[0])["state_dict"])


def test_a_rank_that_is_ended_alone_ends_the_run_as_interrupted(tmp_path: Path) -> None:
    words = (*TWO, "device.devices=2", "trainer.max_epochs=2000", "trainer.limit_train_batches=20")
    with (tmp_path / "screen.txt").open("w") as screen:
        run = subprocess.Popen(
            script("train", *words, f"output_dir={tmp_path / 'outputs'}"), cwd=tmp_path, stderr=screen
        )
        wait_for(lambda: list(tmp_path.glob("outputs/runs/*/checkpoints/last.ckpt")), 120)
        ranks = psutil.Process(run.pid).children(recursive=True)
        max(ranks, key=lambda rank: rank.memory_info().rss).send_signal(signal.SIGTERM)
        try:
            assert run.wait(90) == 128 + signal.SIGTERM
        finally:
            run.kill()
    (folder,) = (tmp_path / "outputs" / "runs").iterdir()
    assert result(folder)["status"] == "interrupted"
    assert "Traceback" not in (tmp_path / "screen.txt").read_text()
    _, alive = psutil.wait_procs(ranks, 10)
    assert not alive


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there is no other number of threads")
def test_a_run_is_reproduced_with_the_threads_it_had(shell: Shell) -> None:
    """`auto` takes one thread on one core, as in a parallel sweep; on two it would take two."""
    words = ("device=cpu", "stages=[fit]", "trainer.max_steps=40", "trainer.limit_val_batches=5")
    one_core = sorted(os.sched_getaffinity(0))[:1]
    done = shell.train(*words, cores=one_core)
    assert done.code == 0, done.screen
    (run,) = shell.runs()
    assert config(run)["device"]["threads"] == "auto" and result(run)["device"]["threads"] == 1
    before = contents(run)
    done = shell.train(f"reproduce={run}")
    assert done.code == 0 and "bit-identical" in done.screen, done.screen
    (again,) = shell.runs() - {run}
    assert result(again)["device"]["threads"] == 1 and contents(run) == before


def test_a_run_of_more_threads_than_this_machine_has_says_so(shell: Shell) -> None:
    words = ("device=cpu", "stages=[fit]", "trainer.max_steps=40", "trainer.limit_val_batches=5")
    assert shell.train(*words).code == 0
    (run,) = shell.runs()
    wanted = len(os.sched_getaffinity(0)) + 1
    text, threads = (run / "result.json").read_text(), result(run)["device"]["threads"]
    (run / "result.json").write_text(text.replace(f'"threads": {threads}', f'"threads": {wanted}'))
    assert result(run)["device"]["threads"] == wanted
    done = shell.train(f"reproduce={run}")
    assert done.code in (0, 1, 2) and not done.untrue(), done.screen
    again = [result(folder)["device"]["threads"] for folder in shell.runs() - {run}]
    assert again == [wanted] or f"{wanted} threads" in done.screen, done.screen
