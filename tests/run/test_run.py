"""Whole runs on real MNIST, short ones: what they leave, and that the same command gives the same bits."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import checkpoint, result, rows, same_tensors, train


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
    shared = train(runs, *words)
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
