"""Loss and metrics as a component: what ships, what does not fit, a person's own."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from assay.training.tasks import Classification, Regression, Sums, Task
from tests.runs import checkpoint, result, rows, run, same_tensors, train


def measured(task: Task, outputs: Tensor, targets: Tensor, batch: int) -> dict[str, float]:
    """The metrics, added up batch by batch."""
    sums = Sums()
    for some, wanted in zip(outputs.split(batch), targets.split(batch), strict=True):
        values = {name: each.sum().item() for name, each in task.values(some, wanted).items()}
        sums.add(task.loss(some, wanted).item(), values, len(wanted))
    return sums.metrics(task, "")


@pytest.mark.parametrize("shape", [(1,), (2, 3)])
def test_regression_is_measured_as_over_all_numbers_at_once(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    targets = 3 + torch.randn(50, *shape, generator=generator, dtype=torch.float64)
    outputs = targets + 0.5 * torch.randn(50, *shape, generator=generator, dtype=torch.float64)
    squared = ((outputs - targets) ** 2).sum()
    r2 = 1 - squared / ((targets - targets.mean()) ** 2).sum()
    absolute = (outputs - targets).abs().mean().item()
    found = measured(Regression(), outputs, targets, batch=7)
    assert found == {
        "loss": pytest.approx(squared.item() / targets.numel()),
        "r2": pytest.approx(r2.item()),
        "mae": pytest.approx(absolute),
    }
    assert measured(Regression(error="absolute"), outputs, targets, batch=7)["loss"] == pytest.approx(
        absolute
    )


def test_a_metric_that_cannot_be_computed_is_left_out() -> None:
    assert measured(Regression(), torch.zeros(4, 1), torch.ones(4, 1), batch=4) == {"loss": 1.0, "mae": 1.0}


def test_smoothed_labels_are_torchs() -> None:
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    expected = nn.CrossEntropyLoss(label_smoothing=0.2)(logits, labels)
    assert torch.equal(Classification(label_smoothing=0.2).loss(logits, labels), expected)


def test_ink_is_learnt(tmp_path: Path) -> None:
    folder = train(tmp_path, "experiment=ink", "trainer.limit_train_batches=100", "data.in_memory=true")
    metrics = result(folder)["metrics"]
    assert metrics["test/r2"] > 0.8 and "test/accuracy" not in metrics
    assert (result(folder)["metric"], result(folder)["direction"]) == ("val/r2", "max")
    assert [row["val/mae"] != "" for row in rows(folder) if row["train/epoch_r2"]] == [True, True]
    assert sorted(path.name for path in (folder / "figures").iterdir()) == ["curves.png", "predictions.png"]


def test_an_autoencoder_learns_its_inputs_and_is_tested_by_its_checkpoint_alone(tmp_path: Path) -> None:
    folder = train(tmp_path, "experiment=autoencoder", "trainer.limit_train_batches=100")
    assert result(folder)["metrics"]["test/r2"] > 0.3
    assert (folder / "figures" / "outputs.png").exists()
    again = train(tmp_path, "stages=[test]", f"ckpt={folder}")  # data, model and task are those of that run
    assert result(again)["metrics"]["test/r2"] == result(folder)["metrics"]["test/r2"]


@pytest.mark.parametrize("target", ["ink", "image"])
def test_targets_are_the_same_streamed_and_in_memory(tmp_path: Path, target: str) -> None:
    words = ("experiment=autoencoder",) if target == "image" else ("experiment=ink",)
    one, other = (
        train(tmp_path, *words, f"data.in_memory={held}", "trainer.limit_train_batches=5")
        for held in ("true", "false")
    )
    assert same_tensors(checkpoint(one)["state_dict"], checkpoint(other)["state_dict"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("task=regression",), "task=regression needs targets that are numbers; those of MNIST are labels"),
        (("data.target=ink",), "task=classification needs labels; the targets of MNIST are numbers"),
        (("task=regresion",), "did you mean task=regression?"),
        (("task.label_smoothing=1",), "task.label_smoothing=1 is not allowed"),
        (("experiment=autoencoder", "model=mlp"), "an MLP gives one row of numbers a sample"),
        (("data.target=inc",), "did you mean data.target=ink?"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*words, f"output_dir={tmp_path}") == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and len(error.splitlines()) <= 4
    assert not list(tmp_path.iterdir())


OWN = """
from assay.training.tasks import Task
from torch import nn

class Margin(Task):
    directions = {"violations": "min", "accuracy": "max"}

    def out_shape(self, source):
        return (source.num_classes,)

    def loss(self, outputs, targets):
        return nn.functional.multi_margin_loss(outputs, targets)

    def values(self, outputs, targets):
        right = outputs.gather(1, targets[:, None])
        return {"violations": (outputs > right - 1).sum(1) - 1, "accuracy": outputs.argmax(1) == targets}

    def metrics(self, means):
        return means
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    import sys

    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "tasks.py").write_text(OWN)
    (tmp_path / "conf" / "task").mkdir(parents=True)
    (tmp_path / "conf" / "task" / "margin.yaml").write_text("_target_: my.tasks.Margin\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield ["--config-dir", str(tmp_path / "conf"), "task=margin"]
    for name in [name for name in sys.modules if name.partition(".")[0] == "my"]:
        del sys.modules[name]


def test_the_best_epoch_and_early_stopping_follow_ones_own_metric(tmp_path: Path, own: list[str]) -> None:
    words = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "trainer.max_epochs=8")
    folder = train(tmp_path, *own, *words, "optimizer.lr=0.03", "scheduler=none")
    violations = [float(row["val/violations"]) for row in rows(folder) if row["val/violations"]]
    assert result(folder)["metrics"]["val/violations"] == min(violations)
    assert result(folder)["best"]["epoch"] == violations.index(min(violations)) + 1
    stopped: Mapping[str, float] = checkpoint(folder)["callbacks"][
        "EarlyStopping{'monitor': 'val/violations', 'mode': 'min'}"
    ]
    assert float(stopped["best_score"]) == pytest.approx(min(violations))


LOGS = """
from pytorch_lightning import Callback

class Logs(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        pl_module.log("epochs_seen", trainer.current_epoch + 1.0)

    def on_test_epoch_end(self, trainer, pl_module):
        pl_module.log("test/seen", 7.0)
        pl_module.log("test/undefined", float("nan"))
"""


def test_what_a_callback_logs_in_training_and_in_the_test_is_in_the_record(
    tmp_path: Path, own: list[str]
) -> None:
    (tmp_path / "my" / "logs.py").write_text(LOGS)
    folder = train(tmp_path, *own, "+callbacks.logs._target_=my.logs.Logs")
    assert result(folder)["metrics"]["test/seen"] == 7.0
    assert [row["epochs_seen"] for row in rows(folder) if row["epochs_seen"]] == ["1.0", "2.0"]
    assert rows(folder)[-1]["test/seen"] == "7.0"
    assert "test/undefined" not in result(folder)["metrics"]


def test_ones_own_task_of_classes_reads_ones_own_pictures(tmp_path: Path, own: list[str]) -> None:
    Image.new("L", (40, 40), 255).save(tmp_path / "blank.png")
    folder = train(tmp_path, *own)
    words = ("stages=[predict]", f"ckpt={folder}", f"predict.images={tmp_path}/blank.png")
    assert (train(tmp_path, *own, *words) / "predictions.csv").is_file()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (
            "from torch import nnn",
            "my.other.Own",
            ("cannot be imported: cannot import name 'nnn'", "my/other.py:1"),
        ),
        ("import einopz", "my.other.Own", ("No module named 'einopz'", "my/other.py:1")),
        (OWN.replace("def metrics", "def metric"), "my.other.Margin", ("Margin does not define metrics",)),
        (OWN, "my.othre.Margin", ("my has no othre", "did you mean my.other?")),
    ],
)
def test_a_file_of_ones_own_that_cannot_be_used_is_refused_by_its_line(
    tmp_path: Path,
    own: list[str],
    source: str,
    target: str,
    said: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "my" / "other.py").write_text(source)
    assert run(*own, f"task._target_={target}", f"output_dir={tmp_path}/outputs") == 2
    error = capsys.readouterr().err
    assert all(text in error for text in said) and len(error.splitlines()) <= 4, error
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('directions = {"violations": "min", "accuracy": "max"}', "pass", "Margin.directions is None"),
        ('"min"', '"least"', "each metric's best end is needed"),
        (
            "return means",
            'return {"acc": means["accuracy"]}',
            "Margin.metrics gives acc; Margin.directions names",
        ),
    ],
)
def test_a_task_that_does_not_measure_what_it_says_is_a_bug_at_its_class(
    tmp_path: Path, own: list[str], right: str, wrong: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert right in OWN
    (tmp_path / "my" / "tasks.py").write_text(OWN.replace(right, wrong))
    assert run(*own, f"output_dir={tmp_path}") == 1
    error = capsys.readouterr().err
    assert said in error and "my/tasks.py:5" in error and "Traceback" not in error
    assert len(error.splitlines()) <= 4
    (folder,) = (tmp_path / "runs").iterdir()
    assert result(folder)["status"] == "failed" and said in result(folder)["error"]
