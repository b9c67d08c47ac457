"""R15: what is resumed is not what it was: another release, another config, damaged events, a wrong clock."""

import json
import os
import random
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from assay.run.folder import RunFolder
from assay.run.process import this_process
from assay.training.checkpoint import save_checkpoint, saved_step
from tests.processes import KILLED, Zygote
from tests.reliability.harness import WORDS, only_run, strays
from tests.runs import checkpoint, result, rows, same_tensors


@pytest.fixture(scope="module")
def killed(zygote: Zygote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its second epoch; each test takes a copy."""
    output = tmp_path_factory.mktemp("killed")
    assert zygote.train(*WORDS, f"output_dir={output}", fault={"step": 100})[0] == KILLED
    return only_run(output)


@pytest.fixture
def run(killed: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / killed.name
    shutil.copytree(killed, folder)
    return folder


def rewrite(path: Path, **changes: Any) -> None:
    """Save a checkpoint again, with other metadata."""
    state = torch.load(path, weights_only=True)
    state["assay"] |= changes
    save_checkpoint(state, path)


def test_killed_without_a_word(run: Path) -> None:
    """kill -9: nothing could be written, and yet the next command that looks knows."""
    assert result(run)["status"] == "running"
    assert RunFolder.open(run).status == "interrupted"


def test_killed_before_its_first_checkpoint(zygote: Zygote, undisturbed: Path, tmp_path: Path) -> None:
    assert zygote.train(*WORDS, f"output_dir={tmp_path}", fault={"step": 20})[0] == KILLED
    folder = only_run(tmp_path)
    assert not (folder / "checkpoints" / "last.ckpt").exists() and rows(folder)
    assert zygote.train(f"resume={folder}")[0] == 0
    assert rows(folder) == rows(undisturbed)
    assert same_tensors(checkpoint(folder)["state_dict"], checkpoint(undisturbed)["state_dict"])
    steps = [event.step for event in EventAccumulator(str(folder)).Reload().Scalars("train/loss")]
    assert len(steps) == len(set(steps))


def test_the_weights_it_started_from(zygote: Zygote, run: Path, tmp_path: Path) -> None:
    """`ckpt=` counts for a run that is resumed before its first checkpoint, and only for that."""
    start = run / "checkpoints" / "last.ckpt"
    command = [*WORDS, f"ckpt={start}", f"output_dir={tmp_path / 'a'}"]
    assert zygote.train(*command, fault={"step": 5})[0] == KILLED
    folder = only_run(tmp_path / "a")
    assert zygote.train(f"resume={folder}", fault={"step": 100})[0] == KILLED
    assert zygote.train(*command[:-1], f"output_dir={tmp_path / 'b'}")[0] == 0
    shutil.rmtree(run)
    assert zygote.train(f"resume={folder}")[0] == 0
    whole = only_run(tmp_path / "b")
    assert rows(folder) == rows(whole)
    assert same_tensors(checkpoint(folder)["state_dict"], checkpoint(whole)["state_dict"])


def test_another_release(zygote: Zygote, run: Path) -> None:
    """Another torch: goes on and says so. Another kind of state: refused, both releases named."""
    last = run / "checkpoints" / "last.ckpt"
    versions = torch.load(last, weights_only=True)["assay"]["versions"]
    rewrite(last, versions=versions | {"torch": "2.11.0"})
    code, text = zygote.train(f"resume={run}")
    assert code == 0 and f"torch 2.11.0 is {versions['torch']} now" in text
    rewrite(last, versions=versions | {"assay": "0.0.9"}, format=0)
    before = result(run) | {"status": "interrupted"}
    (run / "result.json").write_text(json.dumps(before))
    code, text = zygote.train(f"resume={run}")
    assert (
        code == 2
        and "assay 0.0.9" in text
        and f"assay {versions['assay']}" in text
        and f"ckpt={last}" in text
    )
    assert result(run) == before and "Traceback" not in text
    print("R15 releases: another torch is named in a warning, another state is refused with both versions")


def test_a_changed_config(zygote: Zygote, run: Path) -> None:
    """By hand or by the command line: the difference is shown, nothing is trained."""
    code, text = zygote.train(f"resume={run}", "model.width=3")
    assert code == 2 and "model.width=3: the run to resume has model.width=2" in text
    file = run / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["model"]["width"] = 3
    file.write_text(yaml.safe_dump(config))
    before = result(run)
    code, text = zygote.train(f"resume={run}")
    assert code == 2 and "model.width=3: the checkpoint has 2" in text and "ckpt=" in text
    assert result(run) == before
    code, text = zygote.train(f"ckpt={run}", "stages=[test]", f"output_dir={run.parent.parent / 'test'}")
    assert code == 2 and "do not fit this model" in text and "Traceback" not in text
    print("R15 config: drift is shown and refused, 3/3")


@pytest.mark.parametrize("how", ["torn", "flipped"])
def test_a_damaged_event_file(zygote: Zygote, undisturbed: Path, run: Path, how: str) -> None:
    """The view may be lost; the record and the summary are those of an undamaged run."""
    (events,) = run.glob("events.out.tfevents.*")
    content = bytearray(events.read_bytes())
    if how == "torn":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 1
    events.write_bytes(content)
    assert zygote.train(f"resume={run}")[0] == 0
    assert rows(run) == rows(undisturbed)
    assert result(run)["metrics"] == result(undisturbed)["metrics"]


def test_the_clock_goes_back(zygote: Zygote, run: Path) -> None:
    """Which checkpoint is the last one is no question of dates; nor is which process holds a run."""
    step = saved_step(run / "checkpoints" / "last.ckpt")
    assert step is not None
    for path in run.glob("checkpoints/last.*"):
        os.utime(path, (1e9, 1e9))
    for path in run.glob("checkpoints/last.previous.*"):
        os.utime(path)
    code, _ = zygote.train(f"resume={run}", fault={"step": 1, "signal": 15})
    assert code == 143
    assert saved_step(run / "checkpoints" / "last.ckpt") == step + 1
    later = this_process() | {"created": this_process()["created"] + 3600}
    folder = RunFolder.open(run)
    folder.update(status="running", process=later)
    assert folder.status == "running"


def test_last_is_the_newest_unfinished(zygote: Zygote, run: Path) -> None:
    runs, output = run.parent, run.parent.parent
    for name, status in {
        "2026-01-01_00-00-00-aaaaaa": "failed",
        "2999-01-01_00-00-00-bbbbbb": "completed",
    }.items():
        shutil.copytree(run, runs / name)
        (runs / name / "result.json").write_text(json.dumps(result(run) | {"status": status}))
    (runs / "2999-02-01_00-00-00-cccccc").mkdir()
    broken = runs / "2999-03-01_00-00-00-dddddd"
    broken.mkdir()
    (broken / "result.json").write_text("{")
    code, text = zygote.train("resume=last", f"output_dir={output}")
    assert code == 0 and f"resuming {run} (interrupted)" in text, text
    code, text = zygote.train("resume=last", f"output_dir={output}")
    assert "resuming" in text and "aaaaaa (failed)" in text and code == 0
    code, text = zygote.train("resume=last", f"output_dir={output}")
    assert code == 2 and f"there is no unfinished run in {runs}" in text


def test_a_run_that_is_running(zygote: Zygote, run: Path) -> None:
    """Here, and in a place that we cannot look into: only the lock tells."""
    folder = RunFolder.open(run)
    folder.update(status="running", process=this_process())
    code, text = zygote.train(f"resume={run}")
    assert code == 2 and f"is still running (process {os.getpid()} on {socket.gethostname()})" in text
    folder.update(process=this_process() | {"host": "elsewhere", "pid": 1})
    with folder.claimed():
        assert RunFolder.open(run).status == "running"
        code, text = zygote.train(f"resume={run}")
        assert code == 2 and "is still running (process 1 on elsewhere)" in text
    assert RunFolder.open(run).status == "interrupted"


def test_strays_are_removed(zygote: Zygote, run: Path) -> None:
    for name in (".result.json.123.tmp", "checkpoints/.last.ckpt.123.tmp"):
        (run / name).write_bytes(random.Random(0).randbytes(100))
    assert zygote.train(f"resume={run}")[0] == 0
    assert strays(run) == []
