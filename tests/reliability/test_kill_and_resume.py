"""R1: a run killed at any moment and resumed ends as one that was never interrupted, bit for bit."""

import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from assay import PROJECT
from tests.processes import KILLED, Zygote, wait_for
from tests.reliability.harness import STEPS, VALIDATIONS, WORDS, only_run, strays
from tests.runs import checkpoint, result, rows, same_tensors

ARMS: dict[str, tuple[str, ...]] = {
    "sgd": ("optimizer=sgd", "optimizer.lr=0.02", "scheduler=none"),
    "adam": (),  # with one-cycle, as by default
}
OPERATIONS = 130  # about as many as the saves of a run have
COMPARED = ("state_dict", "optimizer_states", "lr_schedulers", "global_step")


@pytest.fixture(scope="module")
def uninterrupted(
    zygote: Zygote, undisturbed: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    output = tmp_path_factory.mktemp("sgd")
    assert zygote.train(*WORDS, *ARMS["sgd"], f"output_dir={output}")[0] == 0
    return {"sgd": only_run(output), "adam": undisturbed}


def points(count: int, seed: int) -> list[tuple[str, list[dict[str, Any]]]]:
    """Optimizer, and where each of its one or two kills strikes."""
    draw = random.Random(seed)
    kinds = ("step", "validation", "save", "step")
    return [
        (
            ("sgd", "adam")[index // 2 % 2],
            [_point(kinds[(index + more) % 4], draw) for more in range(1 + index % 2)],
        )
        for index in range(count)
    ]


def _point(kind: str, draw: random.Random) -> dict[str, Any]:
    if kind == "step":
        return {"step": draw.randint(1, STEPS)}
    if kind == "validation":
        return {"validation": draw.randint(1, VALIDATIONS)}
    return {"operation": draw.randint(1, OPERATIONS)}


def differences(folder: Path, original: Path) -> list[str]:
    """What is not as in the run that nobody disturbed."""
    found = [
        f"{name}.ckpt: {part}"
        for name in ("last", "best")
        for part in COMPARED
        if not same_tensors(checkpoint(folder, name)[part], checkpoint(original, name)[part])
    ]
    if rows(folder) != rows(original):
        found.append("metrics.csv")
    one, other = result(folder), result(original)
    found += [
        key for key in ("status", "metrics", "best", "last", "epochs", "steps") if one[key] != other[key]
    ]
    if len(one["seconds"]["epochs"]) != 3 or one["seconds"]["fit"] < sum(one["seconds"]["epochs"]) * 0.99:
        found.append("seconds")
    return found + [str(path) for path in strays(folder)]


def killed_and_resumed(
    zygote: Zygote,
    output: Path,
    words: tuple[str, ...],
    kills: list[dict[str, Any]],
    short: Sequence[str] = WORDS,
) -> Path:
    """A run that is killed where each of the kills says, and resumed after each."""
    command = [*short, *words, f"output_dir={output}"]
    for kill in kills:
        where = only_run(output) if (output / "runs").exists() else output
        fault: Mapping[str, Any] = kill | {"folder": str(where)}
        code, text = zygote.train(*command, fault=fault)
        assert code in (KILLED, 0), text  # 0: it had fewer steps left than that
        if (only_run(output) / "config.yaml").exists():
            command = [f"resume={only_run(output)}"]
        else:  # there is no run yet, and the same command starts one
            assert zygote.train(f"resume={only_run(output)}")[0] == 2
            shutil.rmtree(only_run(output))
    code, text = zygote.train(*command)
    assert code == 0, text
    return only_run(output)


def show(zygote: Zygote, uninterrupted: dict[str, Path], tmp_path: Path, count: int, seed: int) -> None:
    wrong: dict[str, list[str]] = {}
    for index, (optimizer, kills) in enumerate(points(count, seed)):
        folder = killed_and_resumed(zygote, tmp_path / str(index), ARMS[optimizer], kills)
        found = differences(folder, uninterrupted[optimizer])
        if found:
            wrong[f"{optimizer} {kills}"] = found
    print(
        f"R1: {count - len(wrong)}/{count} killed and resumed runs are bit-identical to the uninterrupted one"
    )
    assert not wrong


def test_eight_kills(zygote: Zygote, uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    show(zygote, uninterrupted, tmp_path, 8, seed=1)


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_fifty_kills(zygote: Zygote, uninterrupted: dict[str, Path], tmp_path: Path) -> None:
    show(zygote, uninterrupted, tmp_path, 50, seed=2)


@pytest.mark.parametrize("words", [("model=cnn", "experiment=ink"), ("experiment=autoencoder",)])
def test_other_tasks(zygote: Zygote, tmp_path: Path, words: tuple[str, ...]) -> None:
    short = [word for word in WORDS if not word.startswith("model=")]
    assert zygote.train(*short, *words, f"output_dir={tmp_path / 'whole'}")[0] == 0
    kills: list[dict[str, Any]] = [{"operation": 60}, {"step": 70}]
    folder = killed_and_resumed(zygote, tmp_path / "killed", words, kills, short)
    assert differences(folder, only_run(tmp_path / "whole")) == []


def test_the_curves_have_no_step_twice(
    zygote: Zygote, uninterrupted: dict[str, Path], tmp_path: Path
) -> None:
    """TensorBoard drops the points of the lost run, and shows every row of metrics.csv once."""
    kills: list[dict[str, Any]] = [{"step": 90}, {"step": 55}]
    folder = killed_and_resumed(zygote, tmp_path, ARMS["sgd"], kills)
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    for name in ("train/loss", "val/accuracy"):
        shown = [(event.step, event.value) for event in events.Scalars(name)]
        written = [(int(row["step"]), float(row[name])) for row in rows(folder) if row[name]]
        assert [step for step, _ in shown] == [step for step, _ in written]
        assert [value for _, value in shown] == pytest.approx([value for _, value in written])


@pytest.mark.full
def test_two_processes(tmp_path: Path) -> None:
    """Each with dropout masks of its own: stopped by SIGTERM after a checkpoint, and gone on with."""
    words = [*WORDS, "device.devices=2", "trainer.steps_per_execution=1"]
    words = [word.replace("'", '"') for word in words]
    command = [sys.executable, "train.py", *words]
    with (tmp_path / "log").open("w") as log:
        done = subprocess.run(
            [*command, f"output_dir={tmp_path / 'a'}"], cwd=PROJECT, check=False, stdout=log, stderr=log
        )
        assert done.returncode == 0
        stopped = subprocess.Popen(
            [*command, f"output_dir={tmp_path / 'b'}"], cwd=PROJECT, stdout=log, stderr=log
        )
        wait_for(lambda: list(tmp_path.glob("b/runs/*/checkpoints/last.ckpt")), 120)
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(60) == 143
        folder, whole = only_run(tmp_path / "b"), only_run(tmp_path / "a")
        resume = [sys.executable, "train.py", f"resume={folder}"]
        assert subprocess.run(resume, cwd=PROJECT, check=False, stdout=log, stderr=log).returncode == 0
    assert differences(folder, whole) == []
    print("R1 with two processes: 1/1 bit-identical")
