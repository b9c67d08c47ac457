"""`bench=model`: layers, shapes, parameters and FLOP of the configured network, and how fast it answers.

Latency is the time of one forward pass, throughput the samples of a batch over it. The class is timed against
`nn.Sequential` of the same layers, where those in a row give the same output.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from assay.bench import words
from assay.bench.device import Device, cpu_threads
from assay.bench.measure import Job
from assay.bench.measurement import Check, Record, Task
from assay.bench.peaks import peak_of
from assay.bench.report import Figure, Report, Series, Table
from assay.bench.session import Session
from assay.config.schema import ModelConfig
from assay.config.components import build

IN_SHAPE = (1, 28, 28)
CLASSES = 10
LESSON_SHAPE = (8, 28, 28)  # eight grey images, as the lesson has them
ERROR_LIMIT = 1e-5  # relative, of float32 against float64


def measure(config: ModelConfig, session: Session) -> None:
    """The layers once, then class and Sequential side by side, for each batch size on each device."""
    torch.manual_seed(config.seed)
    model: nn.Module = build(config.model, "model", in_shape=IN_SHAPE, num_classes=CLASSES).eval()
    session.facts["layers"] = layers(model)
    session.facts["shapes"] = lesson_shapes(model)
    chain = sequential(model)
    session.facts["sequential"] = chain is not None
    forms = {"class": model} | ({"Sequential": chain} if chain is not None else {})
    counts = session.cpu_threads(config.threads)
    groups = [(device, batch) for device in session.devices for batch in config.batch_sizes]
    for left, (device, batch) in zip(range(len(groups), 0, -1), groups, strict=True):
        session.measure(
            [
                _job(net, by, device, batch, threads, config.seed)
                for threads in (counts if device.kind == "cpu" else [None])
                for by, net in forms.items()
            ],
            session.left / left,
        )


def lesson_shapes(model: nn.Module) -> dict[str, list[int] | None]:
    """The lesson's batch of eight images without a channel axis, if the network takes it."""
    x = torch.zeros(LESSON_SHAPE)
    x = x if isinstance(next(model.children(), None), nn.Flatten) else x.unsqueeze(1)
    with torch.no_grad():
        return {"in": list(x.shape), "out": list(model(x).shape)}


def layers(model: nn.Module) -> list[dict[str, Any]]:
    """Each leaf module in the order of its call, its output shape, parameters and FLOP for one sample."""
    found: list[dict[str, Any]] = []
    flops = FlopCounterMode(display=False)
    before = 0

    def note(name: str, module: nn.Module, inputs: Any, output: Tensor) -> None:
        nonlocal before
        now = flops.get_total_flops()
        found.append(
            {
                "name": name,
                "kind": type(module).__name__,
                "out": list(output.shape[1:]),
                "parameters": sum(p.numel() for p in module.parameters()),
                "flop": now - before,
            }
        )
        before = now

    leaves = [(name, module) for name, module in model.named_modules() if not any(module.children())]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in leaves]
    with torch.no_grad(), flops:
        model(torch.zeros(1, *IN_SHAPE))
    for hook in hooks:
        hook.remove()
    return found


def sequential(model: nn.Module) -> nn.Sequential | None:
    """The network's layers in a row, sharing its weights; None where that is not the same function."""
    chain = nn.Sequential(*model.children()).eval()
    x = torch.randn(2, *IN_SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        try:
            same = torch.equal(chain(x), model(x))
        except (RuntimeError, TypeError, ValueError):  # layers that do not fit onto each other in a row
            return None
    return chain if same else None


def _job(model: nn.Module, by: str, device: Device, batch: int, threads: int | None, seed: int) -> Job:
    flop = float(sum(layer["flop"] for layer in layers(model.cpu())) * batch)
    x = torch.randn(batch, *IN_SHAPE, generator=torch.Generator().manual_seed(seed))
    return Job(
        Task("model", by, device.name, threads=threads, size=batch, flop=flop, samples=batch),
        device,
        prepare=partial(_forward, model, x, device),
        needs=x.nbytes * 4,
        check=partial(_check, model, x),
        setting=partial(cpu_threads, threads),
        limit=peak_of(device.kind, device.title, threads).arithmetic("float32"),
    )


def _forward(model: nn.Module, x: Tensor, device: Device) -> Callable[[], Tensor]:
    model, there = model.to(device.place), x.to(device.place)

    def forward() -> Tensor:
        with torch.inference_mode():
            return model(there)

    return forward


def _check(model: nn.Module, x: Tensor, output: Tensor) -> Check:
    """The logits of the first samples against the same network in float64."""
    few, place = x[:64], next(model.parameters()).device
    with torch.inference_mode():
        right = model.cpu().double()(few.double())
        model.float().to(place)
        error = float((output[:64].cpu().double() - right).norm() / right.norm())
    return Check.of(error, ERROR_LIMIT)


def report(config: ModelConfig, record: Record) -> Report:
    """Shapes first, then layers, then speed."""
    name = config.model["_target_"].rpartition(".")[2]
    shapes = record.facts["shapes"]
    found = record.facts["layers"]
    parameters, flop = (sum(layer[key] for layer in found) for key in ("parameters", "flop"))
    lines = [
        f"{name}: {tuple(shapes['in'])} in, {shapes['out']} out",
        f"{parameters:,} parameters, {flop:,} FLOP a sample forward",
    ]
    if not record.facts["sequential"]:
        lines.append(f"{name} is no chain of its layers: there is no Sequential to compare with")
    rows = tuple(
        (layer["name"], layer["kind"], str(layer["out"]), f"{layer['parameters']:,}", f"{layer['flop']:,}")
        for layer in found
    )
    columns = ("layer", "kind", "output of a sample", "parameters", "FLOP")
    tables = (
        Table(name, columns, rows), _speed(record), words.rows("all rows", record.measurements, screen=False)
    )  # fmt: skip
    return Report(tuple(lines), tables, _figures(record))


def _speed(record: Record) -> Table:
    rows = tuple(
        (
            str(m.task.size),
            m.task.device,
            str(m.task.threads or ""),
            m.task.by,
            words.seconds(m.median_s) if m.ok else "",
            f"{m.samples_per_second:,.0f}" if m.ok and m.samples_per_second else "",
            words.flops(m.tflops) if m.ok and m.tflops else "",
            words.notes(m),
        )
        for m in record.all(what="model")
    )
    columns = ("batch", "device", "threads", "form", "latency", "samples/s", "rate", "notes")
    return Table("forward pass", columns, rows)


def _figures(record: Record) -> tuple[Figure, ...]:
    names = dict.fromkeys((m.task.device, m.task.threads, m.task.by) for m in record.ok(what="model"))
    rates: list[Series] = []
    times: list[Series] = []
    for device, threads, by in names:
        found = record.ok(what="model", device=device, threads=threads, by=by)
        label = f"{device}{f' {threads} threads' if threads else ''}, {by}"
        times.append(Series(label, tuple((float(m.task.size or 0), m.median_s) for m in found)))
        rates.append(
            Series(label, tuple((float(m.task.size or 0), m.samples_per_second or 0.0) for m in found))
        )
    return (
        Figure("latency", "One forward pass", "batch size", "seconds", tuple(times)),
        Figure("throughput", "Forward passes", "batch size", "samples / s", tuple(rates)),
    )
