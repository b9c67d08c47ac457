"""The stages after fitting: validation, test, and pictures of what came out."""

import math
from typing import Literal

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.callbacks import Checkpoint
from torch import Tensor
from torch.utils.data import TensorDataset

from assay.run.parts import Run, make_trainer
from assay.run.report import read_curves
from assay.training import figures
from assay.training.history import History, MetricsFile, columns, evaluation
from assay.training.pictures import Pictures, show
from assay.training.tensorboard import TensorBoard


def evaluate(run: Run, stage: Literal["validate", "test"]) -> dict[str, float]:
    """Loss, metrics and what callbacks log on one split, of the learner's weights, by one process."""
    testing = stage == "test"  # in `validate`, one that averages weights would measure others
    trainer = make_trainer(
        run,
        devices=1,
        callbacks=[one for one in run.parts.callbacks if testing and not isinstance(one, Checkpoint)],
        logger=False,
        enable_checkpointing=False,
        plugins=[LightningEnvironment()],  # and not SLURM's or torchrun's, whatever started this process
        max_epochs=1,
    )  # fmt: skip
    evaluating, split = (trainer.test, "test") if testing else (trainer.validate, "val")
    evaluating(run.parts.learner, datamodule=run.parts.data, verbose=False)
    logged = {name: float(value) for name, value in trainer.callback_metrics.items()}
    finite = {name: value for name, value in logged.items() if math.isfinite(value)}
    return finite | evaluation(trainer, run.parts.learner, split)


def class_accuracy(run: Run) -> dict[str, float] | None:
    """Of each class in the test; None where it has no classes."""
    outputs, targets = _tested(run)
    source = run.parts.data.source
    if source.num_classes != outputs.shape[-1] or not figures.is_of_classes(outputs, targets):
        return None
    return figures.class_accuracy(outputs, targets, source.class_names)


def _tested(run: Run) -> tuple[Tensor, Tensor]:
    """Outputs and targets of the test, all of it."""
    outputs, targets = zip(*run.parts.learner.tested, strict=True)
    return torch.cat(outputs), torch.cat(targets)


def write_test_row(run: Run, history: History, metrics: dict[str, float], view: TensorBoard) -> None:
    """The test's row, at the step of the checkpoint that was tested."""
    step, epoch = int(history.best.get("step", 0)), int(history.best.get("epoch", 0))
    file = MetricsFile(
        run.folder.path / "metrics.csv", columns(run.parts.learner.task), keep_rows=history.rows
    )
    file.append({"epoch": epoch, "step": step, "seconds": history.seconds, **metrics})
    file.close()
    view.log_metrics(metrics, step)


def draw_figures(run: Run, history: History, view: TensorBoard) -> None:
    """Pictures of what the run's files and its test hold."""
    folder, learner = run.folder.path, run.parts.learner
    shown = dict.fromkeys(("loss", learner.task.metric.removeprefix("val/")))
    measured = read_curves(folder, [f"{split}/{name}" for name in shown for split in ("train", "val")])
    drawn = {"curves": figures.curves(measured, list(shown))} if history.last else {}
    if learner.tested:
        outputs, targets = _tested(run)
        samples = run.parts.data.split("test")
        inputs = samples.tensors[0] if isinstance(samples, TensorDataset) else outputs
        images = inputs if inputs.ndim == 4 else None
        names = run.parts.data.source.class_names
        in_detail = any(isinstance(one, Pictures) for one in run.parts.callbacks)
        drawn |= figures.of_test(outputs, targets, images, names, in_detail)
    for name, figure in drawn.items():
        show(view, name, figures.pixels(figure), int(history.last.get("step", 0)))
