"""Two samples through network and loss before training: what it costs, what it gives, and where it fails."""

import inspect
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from assay.data.module import DataModule
from assay.training.learner import Learner
from assay.training.tasks import Task

SAMPLES = 2


@dataclass(frozen=True)
class Forward:
    """`flop` are those of one sample; `shapes` those of each layer's output for one sample, by its name."""

    flop: float
    shapes: Mapping[str, tuple[int, ...]]


def forward(learner: Learner, data: DataModule) -> Forward:
    """What the pass shows.

    Raises what the network or the task raises, with a note of what came in where; `ValueError`, a bug of
    theirs, where outputs, loss or values have another shape than the task needs.
    """
    features, targets = default_collate([data.split("train")[0]] * SAMPLES)
    network, task, shapes = learner.model, learner.task, dict[str, tuple[int, ...]]()
    with torch.no_grad(), FlopCounterMode(display=False) as counter, _watched(network, shapes):
        outputs = network.eval()(features)
    network.train()
    needed = (SAMPLES, *task.out_shape(data.source))
    if not isinstance(outputs, Tensor) or tuple(outputs.shape) != needed:
        gives = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        classes = data.source.num_classes
        why = (
            f"one logit for each of {classes} classes"
            if needed == (SAMPLES, classes)
            else "as the targets are"
        )
        what = f"{type(network).__name__} gives {gives} for {SAMPLES} samples of {data.source.name}"
        raise _bug(f"{what}; {needed} is needed, {why}", network)
    _check_task(task, outputs, targets)
    return Forward(counter.get_total_flops() / SAMPLES, shapes)


@contextmanager
def _watched(network: nn.Module, shapes: dict[str, tuple[int, ...]]) -> Generator[None]:
    """Note what each layer gives; an error inside one gets a note of what came in."""
    inside: list[tuple[str, nn.Module, Any]] = []

    def enter(name: str, layer: nn.Module, given: Any) -> None:
        inside.append((name, layer, given))

    def leave(name: str, given: Any) -> None:
        inside.pop()
        if isinstance(given, Tensor):
            shapes[name] = tuple(given.shape[1:])

    hooks: list[Any] = []
    for name, layer in network.named_modules():
        if not list(layer.children()):
            hooks.append(
                layer.register_forward_pre_hook(lambda one, given, name=name: enter(name, one, given))
            )
            hooks.append(layer.register_forward_hook(lambda one, given, out, name=name: leave(name, out)))
    try:
        yield
    except Exception as error:
        if inside:
            name, layer, given = inside[-1]
            came = ", ".join(str(tuple(one.shape)) for one in given if isinstance(one, Tensor))
            error.add_note(f"{name or 'the network'}: {layer} was given {came}{_expected(layer)}")
        raise
    finally:
        for hook in hooks:
            hook.remove()


def _expected(layer: nn.Module) -> str:
    """What a layer of torch's takes, where its attributes say so."""
    last, second = getattr(layer, "in_features", None), getattr(layer, "in_channels", None)
    second = second or getattr(layer, "num_features", None)
    return f", expected (..., {last})" if last else f", expected (batch, {second}, ...)" if second else ""


def _check_task(task: Task, outputs: Tensor, targets: Tensor) -> None:
    name, shapes = type(task).__name__, f"outputs {tuple(outputs.shape)}, targets {tuple(targets.shape)}"
    try:
        loss, values = task.loss(outputs, targets), task.values(outputs, targets)
    except Exception as error:
        error.add_note(f"{name} was given {shapes} of {targets.dtype}")
        raise
    if loss.shape:
        raise _bug(
            f"the loss of {name} is of shape {tuple(loss.shape)}; () is needed, the batch's mean", task
        )
    for metric, value in values.items():
        if tuple(value.shape) != (SAMPLES,):
            what = f"{metric} of {name}.values is of shape {tuple(value.shape)} for {SAMPLES} samples"
            raise _bug(f"{what}; ({SAMPLES},) is needed, one value a sample", task)


def _bug(what: str, of: object) -> ValueError:
    """An error of what a person's class returns, with the place where that class is written."""
    error, file = ValueError(what), inspect.getsourcefile(type(of))
    error.add_note(f"at {file}:{inspect.getsourcelines(type(of))[1]}")
    return error
