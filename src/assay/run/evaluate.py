"""The stages after fitting: validation, test, and pictures of what came out."""

import logging
from typing import Literal

import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from torch.utils.data import TensorDataset

from assay.run.parts import Run, make_trainer
from assay.training import figures
from assay.training.history import History, MetricsFile, evaluation
from assay.training.tensorboard import TensorBoard

log = logging.getLogger(__name__)


def evaluate(run: Run, stage: Literal["validate", "test"]) -> dict[str, float]:
    """Loss and accuracy on one split of the weights that the classifier has, by one process."""
    trainer = make_trainer(
        run,
        devices=1,
        logger=False,
        enable_checkpointing=False,
        plugins=[LightningEnvironment()],  # and not SLURM's or torchrun's, whatever started this process
        max_epochs=1,
    )  # fmt: skip
    evaluating, split = (trainer.test, "test") if stage == "test" else (trainer.validate, "val")
    evaluating(run.parts.classifier, datamodule=run.parts.data, verbose=False)
    return evaluation(trainer, run.parts.classifier, split)


def write_test_row(run: Run, history: History, metrics: dict[str, float], view: TensorBoard) -> None:
    """The test's row, at the step of the checkpoint that was tested."""
    step, epoch = int(history.best.get("step", 0)), int(history.best.get("epoch", 0))
    file = MetricsFile(run.folder.path / "metrics.csv", keep_rows=history.rows)
    file.append({"epoch": epoch, "step": step, "seconds": history.seconds, **metrics})
    file.close()
    view.log_metrics(metrics, step)


def draw_figures(run: Run, history: History, view: TensorBoard) -> None:
    """Pictures of what the run's files and its test hold."""
    folder, tested = run.folder.path, run.parts.classifier.tested
    drawn = {"curves": figures.curves(folder / "metrics.csv")} if history.last else {}
    if tested:
        logits = torch.cat([logits for logits, _ in tested])
        labels = torch.cat([labels for _, labels in tested])
        drawn["confusion"] = figures.confusion(logits, labels)
        samples = run.parts.data.split("test")
        if isinstance(samples, TensorDataset) and samples.tensors[0].ndim == 4:
            drawn["mistakes"] = figures.mistakes(samples.tensors[0], logits, labels)
    for name, figure in drawn.items():
        pixels = figures.pixels(figure)
        view.log_image(name, pixels, int(history.last.get("step", 0)))
        try:
            figures.save(pixels, folder / "figures" / f"{name}.png")
        except OSError as error:  # a view of the result, which stands without it
            log.warning("the picture %s.png cannot be written: %s", name, error)
