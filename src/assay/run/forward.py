"""Two samples through network and loss before training: what it costs, what it gives, and where it fails."""

import inspect
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate
from torch.utils.flop_counter import FlopCounterMode

from assay.data.module import DataModule
from assay.data.source import Source
from assay.errors import UserError
from assay.run.failures import is_out_of_memory
from assay.training.learner import Learner
from assay.training.tasks import Task

SAMPLES = 2


@dataclass(frozen=True)
class Forward:
    """`flop` are those of one sample; `shapes` those of each layer's output for one sample, by its name."""

    flop: float
    shapes: Mapping[str, tuple[int, ...]]


def forward(learner: Learner, data: DataModule, typed: Sequence[str] = ()) -> Forward:
    """What the pass shows; `typed` are the shapes of the network that the config says and not the data.

    Raises what a person's network or task raises, with a note of what came in where; `ValueError`, a bug of
    theirs, where outputs, loss or values have another shape than is needed. Where a shape was typed, or the
    network is torch's own, the values of the config do not fit: that is a `UserError`.
    """
    features, targets = default_collate([data.split("train")[0]] * SAMPLES)
    network, shapes = learner.model, dict[str, tuple[int, ...]]()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter, _watched(network, shapes):
            outputs = network.eval()(features)
        _check_outputs(learner, data.source, outputs)
    except (TypeError, ValueError, RuntimeError) as error:
        is_torchs = type(network).__module__.startswith("torch.")
        if is_out_of_memory(error) or not (typed or is_torchs):
            raise
        keys = ", ".join(f"model.{key}" for key in typed) or "model"
        notes = [note for note in getattr(error, "__notes__", []) if not note.startswith("at ")]
        raise UserError("\n  ".join([f"{keys} does not fit {data.source.name}: {error}", *notes])) from error
    network.train()
    _check_task(learner.task, outputs, targets)
    return Forward(counter.get_total_flops() / SAMPLES, shapes)


def _check_outputs(learner: Learner, source: Source, outputs: Any) -> None:
    needed, is_tensor = (SAMPLES, *learner.task.out_shape(source)), isinstance(outputs, Tensor)
    if is_tensor and tuple(outputs.shape) == needed:
        return
    gives = tuple(outputs.shape) if is_tensor else f"a {type(outputs).__name__}"
    what = f"{type(learner.model).__name__} gives {gives} for {SAMPLES} samples of {source.name}"
    classes = needed == (SAMPLES, source.num_classes)
    why = f", one logit for each of {source.num_classes} classes" if classes else ""
    raise _bug(f"{what}; {needed} is needed{why}", learner.model)


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
    means = {metric: float(value.double().mean()) for metric, value in values.items()}
    try:
        given = {*task.metrics(means)}
    except (ArithmeticError, ValueError):  # of one sample, twice, there may be none
        return
    if given != {*task.directions}:
        what = f"{name}.metrics gives {', '.join(sorted(given)) or 'nothing'}"
        raise _bug(f"{what}; {name}.directions names {', '.join(task.directions)}", task)


def check_directions(task: Task) -> None:
    """Raises `ValueError`, a bug of the task's author, where it does not say what it measures."""
    directions = getattr(task, "directions", None)
    if not directions or not {*directions.values()} <= {"max", "min"}:
        what = f"{type(task).__name__}.directions is {directions}; each metric's best end is needed"
        raise _bug(f'{what}, such as {{"accuracy": "max"}}', task)


def _bug(what: str, of: object) -> ValueError:
    """An error of what a person's class returns, with the place where that class is written."""
    error, file = ValueError(what), inspect.getsourcefile(type(of))
    error.add_note(f"at {file}:{inspect.getsourcelines(type(of))[1]}")
    return error
