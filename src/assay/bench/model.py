"""`bench=model`: layers, shapes, parameters and FLOP of the configured network, and how fast it answers.

Latency is the time of one forward pass whose end is waited for. On a GPU, passes that are queued one behind
the other give more samples a second: that is its throughput, a row of its own.
"""

import copy
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from assay.bench.device import Device
from assay.bench.hardware import peaks_of
from assay.bench.measure import Job
from assay.bench.record import Check, Record, Task
from assay.bench.session import Session
from assay.bench.views import rows
from assay.config.components import build
from assay.config.schema import ModelConfig
from assay.report import Report, Table

IN_SHAPE = (1, 28, 28)
CLASSES = 10
LESSON_SHAPE = (8, 28, 28)  # eight grey images, as the lesson has them
ERROR_LIMIT = 1e-5  # relative, of float32 against float64


def network(node: Mapping[str, Any], seed: int) -> nn.Module:
    """The configured network, with the weights of the seed."""
    torch.manual_seed(seed)
    return build(node, "model", in_shape=IN_SHAPE, out_shape=(CLASSES,))


def images(count: int, seed: int) -> Tensor:
    """Normal pixels of shape (count, 1, 28, 28), on the host."""
    return torch.randn(count, *IN_SHAPE, generator=torch.Generator().manual_seed(seed))


def memory(model: nn.Module, batch: int) -> int:
    """Bytes that a pass takes at most: parameters, images, and the outputs of all layers."""
    values = math.prod(IN_SHAPE) + sum(math.prod(layer["out"]) for layer in layers(model))
    return 4 * batch * values + sum(parameter.nbytes for parameter in model.parameters())


def measure(config: ModelConfig, session: Session) -> None:
    """The layers once, then class and Sequential side by side on every device, for each batch size."""
    model = network(config.model, config.seed).eval()
    chain = sequential(model)
    forms = {"class": model} | ({"Sequential": chain} if chain is not None else {})
    parts = layers(model)
    session.details |= {"model": type(model).__name__, "layers": parts, "shapes": lesson_shapes(model)}
    session.details["sequential"] = chain is not None
    flop = float(sum(layer["flop"] for layer in parts))
    places = session.places(session.cpu_threads(config.threads))

    def jobs(batch: int) -> list[Job]:
        x = images(batch, config.seed)
        return [
            Job(
                Task(what, by, device.name, threads=threads, size=batch, flop=flop * batch, samples=batch),
                device,
                prepare=partial(_forward, form, x, device),
                needs=memory(model, batch),
                check=partial(_check, form, x),
                limit=peaks_of(device, threads).get("float32"),
                alone=what == "latency",
            )
            for device, threads in places
            for what in (("latency",) if device.name == "cpu" else ("latency", "throughput"))
            for by, form in forms.items()
        ]

    session.measure_each([partial(jobs, batch) for batch in config.batch_sizes])


def _forward(model: nn.Module, x: Tensor, device: Device) -> Callable[[], Tensor]:
    return torch.inference_mode()(partial(copy.deepcopy(model).to(device.place), x.to(device.place)))


def _check(model: nn.Module, x: Tensor, output: Tensor) -> Check:
    with torch.inference_mode():
        right = copy.deepcopy(model).double()(x[:64].double())
        error = float((output[:64].cpu().double() - right).norm() / right.norm())
    return Check.of(error, ERROR_LIMIT)


def lesson_shapes(model: nn.Module) -> dict[str, list[int]]:
    """The lesson's batch of eight images without a channel axis, if the network takes it."""
    x = torch.zeros(LESSON_SHAPE)
    x = x if isinstance(next(model.children(), None), nn.Flatten) else x.unsqueeze(1)
    with torch.no_grad():
        return {"in": list(x.shape), "out": list(model(x).shape)}


def layers(model: nn.Module) -> list[dict[str, Any]]:
    """Each leaf module in the order of its call, its output shape, parameters and FLOP for one sample."""
    rows: list[dict[str, Any]] = []
    flops = FlopCounterMode(display=False)
    before = 0

    def note(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal before
        now = flops.get_total_flops()
        parameters = sum(p.numel() for p in module.parameters())
        kind, out = type(module).__name__, list(output.shape[1:])
        rows.append({"name": name, "kind": kind, "out": out, "parameters": parameters, "flop": now - before})
        before = now

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in leaves]
    with torch.no_grad(), flops:
        model(torch.zeros(1, *IN_SHAPE))
    for hook in hooks:
        hook.remove()
    return rows


def sequential(model: nn.Module) -> nn.Sequential | None:
    """The network's layers in a row, sharing its weights; None where that is not the same function."""
    chain = nn.Sequential(*model.children()).eval()
    x = images(2, seed=0)
    with torch.no_grad():
        try:
            same = torch.equal(chain(x), model(x))
        except (RuntimeError, TypeError, ValueError):  # layers that do not fit onto each other in a row
            return None
    return chain if same else None


def report(record: Record) -> Report:
    """Shapes first, then layers, then speed."""
    name, shapes, parts = (record.details[key] for key in ("model", "shapes", "layers"))
    total = {key: sum(layer[key] for layer in parts) for key in ("parameters", "flop")}
    lines = [
        f"{name}: {tuple(shapes['in'])} in, {tuple(shapes['out'])} out",
        f"{total['parameters']:,} parameters, {total['flop']:,} FLOP a sample forward",
    ]
    if not record.details["sequential"]:
        lines.append(f"{name} is no chain of its layers: there is no Sequential to compare with")
    cells = tuple(
        (p["name"], p["kind"], str(tuple(p["out"])), f"{p['parameters']:,}", f"{p['flop']:,}") for p in parts
    )
    columns = ("layer", "kind", "output of a sample", "parameters", "FLOP")
    return Report(tuple(lines), (Table(name, columns, cells), rows("forward pass", record.measurements)))
