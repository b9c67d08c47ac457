"""Whole runs on real MNIST, short ones: what they leave, and that the same command gives the same bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from assay.errors import UserError
from assay.models.mlp import MNISTClassifier
from assay.run import parts
from assay.run.compare import reproduce
from assay.run.folder import RunFolder
from assay.run.run import run_in, run_new
from assay.run.signals import StopRequest
from tests.processes import start
from tests.runs import SHORT, checkpoint, config, result, rows, run, same_tensors, train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="module")
def folder(runs: Path) -> Path:
    return train(runs)


def test_the_run_folder_is_complete(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    wanted = {"config.yaml", "overrides.yaml", "result.json", "metrics.csv", "log.txt"}
    wanted |= {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    wanted |= {f"figures/{name}.png" for name in ("curves", "confusion", "mistakes")}
    assert wanted <= names
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    assert yaml.safe_load((folder / "config.yaml").read_text())["model"]["width"] == 128


def test_result_says_what_happened(folder: Path) -> None:
    found = result(folder)
    assert found["status"] == "completed" and found["error"] is None
    assert set(found["metrics"]) >= {"train/loss", "val/loss", "val/accuracy", "test/loss", "test/accuracy"}
    assert all(0 <= found["metrics"][f"{split}/accuracy"] <= 1 for split in ("train", "val", "test"))
    assert (found["epochs"], found["steps"]) == (2, 40)
    assert len(found["seconds"]["epochs"]) == 2
    assert found["seconds"]["total"] > found["seconds"]["fit"] > sum(found["seconds"]["epochs"])
    assert found["device"]["accelerator"] == "cpu" and found["device"]["threads"] == 1
    assert found["versions"]["torch"] == torch.__version__.partition("+")[0]
    assert found["data"]["name"] == "MNIST" and len(found["data"]["sha256"]) == 64
    assert (folder / found["checkpoint"]).is_file()


def test_rows_and_curves_count_optimizer_steps(folder: Path) -> None:
    trained = [row for row in rows(folder) if row["train/loss"]]
    assert [int(row["step"]) for row in trained] == list(range(5, 45, 5))
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == list(range(5, 45, 5))
    assert [event.step for event in events.Scalars("val/accuracy")] == [20, 40]
    tags: Any = events.Tags()
    assert {"learning_rate", "samples_per_second", "test/accuracy"} <= set(tags["scalars"])


def test_the_same_command_gives_the_same_bits(folder: Path, runs: Path) -> None:
    again = train(runs)
    assert again != folder
    assert rows(again) == rows(folder)
    assert result(again)["metrics"] == result(folder)["metrics"]
    assert same_tensors(checkpoint(again)["state_dict"], checkpoint(folder)["state_dict"])


def test_another_seed_gives_other_weights(folder: Path, runs: Path) -> None:
    other = train(runs, "seed=1")
    assert not same_tensors(checkpoint(other)["state_dict"], checkpoint(folder)["state_dict"])
    assert result(other)["config_id"] != result(folder)["config_id"]


@pytest.mark.parametrize("steps", [1, 7])
def test_steps_per_execution_changes_nothing(folder: Path, runs: Path, steps: int) -> None:
    other = train(runs, f"trainer.steps_per_execution={steps}")
    assert rows(other) == rows(folder)
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert same_tensors(checkpoint(other)[part], checkpoint(folder)[part])
    assert result(other)["config_id"] == result(folder)["config_id"]


def test_testing_a_run_rebuilds_its_own_model(runs: Path) -> None:
    folder = train(runs, "model.width=17")
    tested = train(runs, "stages=[test]", f"ckpt={folder}")
    assert result(tested)["metrics"]["test/accuracy"] == result(folder)["metrics"]["test/accuracy"]
    assert yaml.safe_load((tested / "config.yaml").read_text())["model"]["width"] == 17


def test_max_steps_ends_inside_an_epoch(runs: Path) -> None:
    found = result(train(runs, "trainer.max_steps=27"))
    assert (found["steps"], found["epochs"]) == (27, 2)


def test_clipped_gradients_are_those_of_torch(runs: Path, folder: Path) -> None:
    clipped = train(runs, "trainer.gradient_clip_val=0.01")
    assert not same_tensors(checkpoint(clipped)["state_dict"], checkpoint(folder)["state_dict"])
    loose = train(runs, "trainer.gradient_clip_val=1e6")
    assert same_tensors(checkpoint(loose)["state_dict"], checkpoint(folder)["state_dict"])


@pytest.mark.parametrize(
    "words",
    [
        ("optimizer=sgd", "scheduler=cosine"),
        ("scheduler=none",),
        ("device.precision=bf16-mixed",),
        ("device.precision=64-true",),
        ("model=cnn", "model.width=2"),
        ("data.in_memory=false", "data.num_workers=1"),
        ("callbacks=early_stopping",),
        ("trainer.check_val_every_n_epoch=2",),
        ("trainer.limit_val_batches=0",),
    ],
    ids=lambda words: " ".join(words),
)
def test_every_choice_trains(runs: Path, words: tuple[str, ...]) -> None:
    folder = train(runs, *words)
    assert result(folder)["status"] == "completed"
    assert result(folder)["steps"] == 40


def test_the_lessons_random_dataset_trains_in_batches_of_4_4_2(runs: Path) -> None:
    folder = train(
        runs, "data=random", "data.length=10", "data.batch_size=4", "trainer.limit_train_batches=null"
    )
    assert result(folder)["steps"] == 6


def test_streamed_data_gives_the_bits_of_data_in_memory(runs: Path, folder: Path) -> None:
    streamed = train(runs, "data.in_memory=false")
    assert same_tensors(checkpoint(streamed)["state_dict"], checkpoint(folder)["state_dict"])


def test_two_processes_train_like_one(runs: Path, folder: Path) -> None:
    words = ("device=ddp", "device.accelerator=cpu", "device.devices=2", "device.threads=1")
    child = start("train", runs, *SHORT, *words, f"output_dir={runs / 'two'}")
    assert child.wait() == 0, child.text
    (shared,) = (runs / "two" / "runs").iterdir()
    one, two = result(folder), result(shared)
    assert two["status"] == "completed" and two["device"]["count"] == 2
    assert two["steps"] == one["steps"]
    assert [row["step"] for row in rows(shared)] == [row["step"] for row in rows(folder)]
    for name, tensor in checkpoint(folder)["state_dict"].items():
        assert torch.allclose(tensor, checkpoint(shared)["state_dict"][name], atol=1e-4)
    assert two["metrics"]["val/accuracy"] == pytest.approx(one["metrics"]["val/accuracy"], abs=0.01)


def test_secrets_are_not_written(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2hunter2")
    folder = train(runs, "logger=csv", "+logger.csv.prefix=${oc.env:MY_TOKEN}")
    written = [
        path for path in folder.rglob("*") if path.is_file() and path.suffix in (".yaml", ".json", ".txt")
    ]
    assert written
    assert not [path for path in written if "hunter2" in path.read_text()]


def longer(folder: Path, *words: str) -> None:
    """`resume=<folder> words`, as the command does it once the stored config is read."""
    overrides = [*SHORT, f"output_dir={folder.parent.parent}", *words]
    run_in(RunFolder.open(folder), config(*overrides), overrides, Console(), StopRequest())


def test_a_completed_run_is_made_longer(runs: Path) -> None:
    """One-cycle, whose state holds its length; the learning rate is that of the new length from there on."""
    folder, whole = train(runs), train(runs, "trainer.max_epochs=3")
    longer(folder, "trainer.max_epochs=3")
    assert result(folder)["status"] == "completed"
    assert (result(folder)["epochs"], result(folder)["steps"]) == (3, 60)
    assert yaml.safe_load((folder / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    assert result(folder)["config_id"] == result(whole)["config_id"]
    rates = [[row["learning_rate"] for row in rows(one) if row["train/loss"]] for one in (folder, whole)]
    assert rates[0][8:] == rates[1][8:] and rates[0] != rates[1]


def test_a_run_that_ended_inside_an_epoch_goes_on_there(runs: Path) -> None:
    words = ("scheduler=none", "trainer.max_steps=27")
    folder, whole = train(runs, *words), train(runs, "scheduler=none")
    longer(folder, "scheduler=none", "trainer.max_steps=40")
    assert result(folder)["steps"] == 40
    assert same_tensors(checkpoint(folder)["state_dict"], checkpoint(whole)["state_dict"])


def test_a_run_is_not_made_shorter(runs: Path) -> None:
    folder = train(runs)
    with pytest.raises(UserError, match="the run has done 40 steps"):
        longer(folder, "trainer.max_epochs=1")
    assert result(folder)["status"] == "completed"


def test_nothing_to_train_on_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("trainer.limit_train_batches=0", f"output_dir={tmp_path}") == 2
    assert (
        "trainer.limit_train_batches=0 is not allowed: a whole number of at least 1"
        in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


def fails_in(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def broken(*args: Any, **kwargs: Any) -> None:
        raise TypeError("unsupported operand")

    monkeypatch.setattr(MNISTClassifier, where, broken)


def test_a_bug_in_a_persons_model_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails_in(monkeypatch, "forward")
    folder = train(tmp_path, code=1)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "failed: TypeError: unsupported operand" and said[1].startswith(f"  at {__file__}:")
    assert said[2] == f"the traceback is in {folder / 'log.txt'}" and len(said) == 3
    assert "Traceback" in (folder / "log.txt").read_text()
    assert result(folder)["status"] == "failed" and result(folder)["seconds"]["total"] == 0.0


def test_adam_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build, built = parts.build, list[str]()

    def counted(node: Any, key: str, **supplied: Any) -> Any:
        built.append(key)
        return build(node, key, **supplied)

    monkeypatch.setattr(parts, "build", counted)
    train(tmp_path)
    assert sorted(built) == ["data", "model", "optimizer", "scheduler", "task"]


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (4, 3)])
def test_one_core_is_left_to_the_rest_of_the_machine(
    cores: int, threads: int, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assay.run.parts.usable_cores", lambda: cores)
    words = ("device.threads=auto", "model.width=1024", "data.batch_size=512", "stages=[fit]")
    folder = train(runs, *words, "trainer.max_steps=1", f"name=cores{cores}")
    assert result(folder)["device"]["threads"] == threads


def test_a_repetition_has_the_threads_of_the_original(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = [*SHORT, f"output_dir={runs}", "device.threads=auto", "data.batch_size=256"]
    original = run_new(config(*overrides), overrides, Console(), StopRequest(), threads=1)
    reproduce(str(original.path))
    assert "bit-identical" in capsys.readouterr().out
