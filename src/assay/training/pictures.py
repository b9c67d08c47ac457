"""`callbacks=pictures`: what the network sees and how its weights move, into TensorBoard and `figures/`."""

import copy
import logging
import math
from typing import Any, cast, final

import matplotlib
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchvision.utils import make_grid

from assay.data.module import DataModule
from assay.training import figures
from assay.training.learner import Learner
from assay.training.sheets import inputs
from assay.training.tensorboard import TensorBoard

MOST_VALUES = 100_000  # of a tensor in its histogram; of more, evenly spaced ones
MOST_UNITS = 64  # of the first layer
SIDE = 56  # pixels of a unit's weights, or a little more
log = logging.getLogger(__name__)


@final
class Pictures(Callback):
    """A batch of inputs at the start; at each epoch's end histograms and the first layer's weights.

    The gradients are those of one batch of validation samples, on a copy of the network: training is as
    without, to the bit. The pictures of the test are drawn after it, by `figures.of_test`.
    """

    def __init__(self) -> None:
        self._batch: tuple[Tensor, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            data = cast(Any, trainer).datamodule
            self._batch = validation_batch(trainer, data)
            if self._batch[0].ndim == 4:
                drawn = inputs(*self._batch, data.source.class_names).pixels()
                show(_view(trainer), "inputs", drawn, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._batch is None:
            return
        learner, view, step = cast(Learner, pl_module), _view(trainer), trainer.global_step
        for name, weight in learner.model.named_parameters():
            _log_histogram(view, f"weights/{name}", weight.detach(), step)
        for name, gradient in gradients(trainer, learner, *self._batch).items():
            _log_histogram(view, f"gradients/{name}", gradient, step)
        drawn = first_layer(learner.model, cast(Any, trainer).datamodule.source.in_shape)
        if drawn is not None:
            show(view, "first_layer", drawn, step)


def _view(trainer: Trainer) -> TensorBoard:
    return next(one for one in trainer.loggers if isinstance(one, TensorBoard))


def show(view: TensorBoard, name: str, drawn: NDArray[np.uint8], step: int) -> None:
    """The picture in TensorBoard and in `figures/`."""
    content = figures.png(drawn)
    view.log_image(f"pictures/{name}", content, drawn.shape[:2], step)
    try:
        figures.save(content, view.folder / "figures" / f"{name}.png")
    except OSError as error:  # a view of the result, which stands without it
        log.warning("the picture %s.png cannot be written: %s", name, error)


def _log_histogram(view: TensorBoard, name: str, values: Tensor, step: int) -> None:
    """Of the finite values, where there are any."""
    flat = values.flatten()[:: math.ceil(values.numel() / MOST_VALUES) or 1].float().cpu()
    if len(finite := flat[flat.isfinite()]):
        view.log_histogram(name, finite.numpy(), step)


def validation_batch(trainer: Trainer, data: DataModule) -> tuple[Tensor, Tensor]:
    """As many samples as a training batch has, evenly spaced; training samples where there are no others."""
    split = cast(Any, data.split("val"))
    split = split if len(split) else cast(Any, data.split("train"))
    chosen = torch.linspace(0, len(split) - 1, min(data.source.batch_size, len(split))).long().tolist()
    features, targets = default_collate([split[at] for at in chosen])
    device, convert = trainer.strategy.root_device, trainer.precision_plugin.convert_input
    return convert(features).to(device), convert(targets).to(device)


def gradients(trainer: Trainer, learner: Learner, features: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Those of the loss of one batch, by parameter; neither the network nor a random generator notices."""
    network, device = copy.deepcopy(learner.model), features.device
    weights = {name: one for name, one in network.named_parameters() if one.requires_grad}
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.enable_grad():
        with trainer.precision_plugin.forward_context():
            loss = learner.task.loss(network(features), targets)
        found: Any = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)  # may hold None
    return {name: one for name, one in zip(weights, found, strict=True) if one is not None}


def first_layer(network: nn.Module, in_shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """What each unit of the first layer looks for, as one image (height, width, 3); None if it sees none.

    Red is above zero, blue beneath; of three channels the colours are those of the input.
    """
    first = next((one for one in network.modules() if isinstance(one, nn.Linear | nn.Conv2d)), None)
    if first is None or len(in_shape) != 3:
        return None
    weight = first.weight.detach()[:MOST_UNITS].float().cpu()
    if weight.ndim == 2:
        if weight.shape[1] != math.prod(in_shape):
            return None
        weight = weight.unflatten(1, in_shape)
    most = weight.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    shares = (weight / most + 1) / 2
    if shares.shape[1] != 3:
        red_to_blue = matplotlib.colormaps["RdBu_r"](shares[:, 0].numpy())[..., :3]
        shares = torch.from_numpy(red_to_blue).permute(0, 3, 1, 2)
    scale = math.ceil(SIDE / shares.shape[3])
    tiles = shares.repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    sheet = make_grid(tiles, nrow=math.ceil(math.sqrt(len(tiles))), padding=4, pad_value=1.0)
    return (sheet.permute(1, 2, 0) * 255).round().byte().numpy()
