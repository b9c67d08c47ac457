"""The predict stage: a person's own pictures, as the network sees them, and what it takes them for."""

import csv
import glob
import io
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from assay.config import messages
from assay.config.schema import TrainConfig
from assay.data.pictures import BROKEN, read
from assay.data.source import PictureSource, Source
from assay.errors import UserError
from assay.report import Table
from assay.run.parts import Run
from assay.terminal import grid
from assay.training import figures
from assay.training.atomic import write_durably
from assay.training.tasks import Task

COLUMNS = ("file", "class", "probability", "second_class", "second_probability")
SHOWN = 24  # pictures in the figure
THUMBNAIL = 256  # pixels of a picture in the figure
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prediction:
    """A picture with what the network saw of it, or why it could not be read."""

    file: Path
    given: Image.Image | None = None
    seen: Tensor | None = None  # of the shape of a sample
    probabilities: Tensor | None = None  # (classes,)
    problem: str = ""


def files_of(config: TrainConfig, source: Source, task: Task) -> list[Path]:
    """The pictures that `predict.images` means, in order.

    Raises `UserError` where it means none, and for a model that does not tell classes of pictures apart.
    """
    wanted = config.predict.images
    if not wanted:
        raise UserError("stages=[predict] needs pictures\n  for example 'predict.images=photos/*.png'")
    is_of_classes = source.num_classes is not None and task.out_shape(source) == (source.num_classes,)
    if not isinstance(source, PictureSource) or not is_of_classes:
        raise UserError(
            f"stages=[predict] reads pictures into classes; this model was trained for "
            f"{type(task).__name__.lower()} of {source.name}"
        )
    patterns = (wanted,) if isinstance(wanted, str) else wanted
    return list(dict.fromkeys(file for pattern in patterns for file in _matching(pattern)))


def _matching(pattern: str) -> list[Path]:
    path = Path(pattern)
    # `Path.glob` takes no absolute pattern
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207
    files = sorted(one for one in found if one.is_file())
    if not files:
        raise UserError(
            f"predict.images={pattern}: there is no such file\n  it is a file, a folder or photos/*.png"
        )
    return files


def predict(run: Run) -> list[Prediction]:
    """Every picture through the network; writes `predictions.csv` and a figure into the run folder.

    Raises `UserError` if none of them can be read.
    """
    source, model = run.parts.data.source, run.parts.learner.model.eval()
    weights, files = next(model.parameters()), files_of(run.config, source, run.parts.learner.task)
    predictions: list[Prediction] = []
    for file in files:
        try:
            given = read(file)
        except BROKEN as error:
            problem = f"{type(error).__name__}: {str(error).partition(' (')[0]}"
            log.warning("%s cannot be read: %s", file, problem)
            predictions.append(Prediction(file, problem=problem))
            continue
        assert isinstance(source, PictureSource)
        seen = source.picture(given)
        given.thumbnail((THUMBNAIL, THUMBNAIL))
        with torch.inference_mode():
            logits = model(seen[None].to(weights.device, weights.dtype))[0].float().cpu()
        predictions.append(Prediction(file, given, seen, logits.softmax(0)))
    names = names_of(source)
    write_durably(run.folder.path / "predictions.csv", _csv(predictions, names).encode())
    _draw(run, predictions, names)
    broken = [one for one in predictions if one.problem]
    if len(broken) == len(predictions):
        wanted = messages.show(run.config.predict.images)
        raise UserError(
            f"predict.images={wanted}: none of {len(broken)} files can be read\n"
            f"  {broken[0].file}: {broken[0].problem}"
        )
    return predictions


def names_of(source: Source) -> Sequence[str]:
    return source.class_names or [str(number) for number in range(source.num_classes or 0)]


def _row(one: Prediction, names: Sequence[str]) -> tuple[str, ...]:
    if one.probabilities is None:
        return (str(one.file), "", "", "", "")
    values, classes = one.probabilities.topk(2)
    first, second = map(int, classes)
    return (str(one.file), names[first], f"{values[0]:.4f}", names[second], f"{values[1]:.4f}")


def _csv(predictions: Sequence[Prediction], names: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([COLUMNS, *(_row(one, names) for one in predictions)])
    return text.getvalue()


def show(run: Run, predictions: Sequence[Prediction]) -> None:
    """Classes and probabilities, or why a file could not be read."""
    names = names_of(run.parts.data.source)
    rows = [(*_row(one, names), one.problem) for one in predictions]
    columns = (*(name.replace("_", " ") for name in COLUMNS), "problem")
    run.console.print(grid(Table("", columns, tuple(rows)), run.console.width))


def _draw(run: Run, predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    rows = [
        (one.file.name, one.given, one.seen, one.probabilities)
        for one in predictions
        if one.given is not None and one.seen is not None and one.probabilities is not None
    ]
    if rows:
        drawn = figures.png(figures.pixels(figures.predictions(rows[:SHOWN], names)))
        figures.save(drawn, run.folder.path / "figures" / "predictions.png")
