"""`bench=optimizer`: what one step costs, in time and memory.

Each optimizer in the forms that torch has: a Python loop over the parameters, `foreach` (all parameters in
one call of each operation) and `fused` (one kernel). Two networks: the configured one, and a deep one of
many small tensors, where the loop's overhead shows most.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from assay.bench import words
from assay.bench.device import Device, cpu_threads, is_unsupported
from assay.bench.live_memory import live_bytes
from assay.bench.measure import Job, in_bytes
from assay.bench.measurement import Measurement, Record, Task
from assay.bench.report import Figure, Report, Table
from assay.bench.session import Session
from assay.config.schema import OptimizerConfig
from assay.config.components import build

IN_SHAPE = (1, 28, 28)
CLASSES = 10
LR = 1e-3
OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], dict[str, float]]] = {
    "SGD": (torch.optim.SGD, {"lr": LR}),
    "SGD with momentum": (torch.optim.SGD, {"lr": LR, "momentum": 0.9}),
    "Adam": (torch.optim.Adam, {"lr": LR}),
    "AdamW": (torch.optim.AdamW, {"lr": LR}),
}
FORMS: dict[str, dict[str, bool]] = {
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}


def measure(config: OptimizerConfig, session: Session) -> None:
    """All optimizers in all forms side by side, for each network on each device."""
    threads = max(session.cpu_threads(config.threads))
    model: nn.Module = build(config.model, "model", in_shape=IN_SHAPE, num_classes=CLASSES)
    networks = {
        config.model["_target_"].rpartition(".")[2]: _shapes(model),
        f"{config.depth} layers of {config.width}": [(config.width, config.width), (config.width,)]
        * config.depth,
    }
    session.facts["networks"] = {
        name: {"tensors": len(shapes), "parameters": sum(torch.Size(shape).numel() for shape in shapes)}
        for name, shapes in networks.items()
    }
    groups = [(device, name) for device in session.devices for name in networks]
    for left, (device, name) in zip(range(len(groups), 0, -1), groups, strict=True):
        jobs = [
            _job(device, name, networks[name], optimizer, form, threads, config.seed)
            for optimizer in OPTIMIZERS
            for form in FORMS
        ]
        memory = session.facts.setdefault("memory", {})
        memory |= {job.task.key: found for job in jobs if (found := _memory(job))}
        session.measure(jobs, session.left / left)


def _shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


def _job(
    device: Device,
    network: str,
    shapes: Sequence[tuple[int, ...]],
    optimizer: str,
    form: str,
    threads: int,
    seed: int,
) -> Job:
    count = threads if device.kind == "cpu" else None
    numbers = sum(torch.Size(shape).numel() for shape in shapes)
    return Job(
        Task(f"{optimizer}, {network}", form, device.name, threads=count),
        device,
        prepare=partial(_stepper, device, shapes, optimizer, form, seed),
        needs=4 * numbers * 4,  # parameters, gradients and at most two averages, in float32
        setting=partial(cpu_threads, count),
    )


def _stepper(
    device: Device, shapes: Sequence[tuple[int, ...]], optimizer: str, form: str, seed: int
) -> Callable[[], Tensor]:
    """One step on parameters that have gradients; the first parameter is what it returns."""
    random = torch.Generator().manual_seed(seed)

    def normal(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, generator=random).to(device.place)

    parameters = [nn.Parameter(normal(shape)) for shape in shapes]
    for parameter in parameters:
        parameter.grad = normal(tuple(parameter.shape))
    kind, settings = OPTIMIZERS[optimizer]
    make: Any = kind
    stepping: torch.optim.Optimizer = make(parameters, **settings, **FORMS[form])

    def step() -> Tensor:
        stepping.step()
        return parameters[0].detach()

    return step


def _memory(job: Job) -> dict[str, int] | None:
    """Bytes that the optimizer keeps between steps, and that a later step takes for itself at its peak."""
    try:
        with job.setting():
            step = job.prepare()
            kept = live_bytes(step).kept
            return {"state": kept, "step": live_bytes(step).peak}
    except (RuntimeError, TypeError) as error:
        if is_unsupported(error):
            return None  # the row says so itself when it is measured
        raise


def report(config: OptimizerConfig, record: Record) -> Report:
    """One table a network: time, against the loop, and memory."""
    tables = [_table(name, found, record) for name, found in record.facts["networks"].items()]
    tables.append(words.rows("all rows", record.measurements, screen=False))
    return Report((), tuple(tables), _figures(record))


def _table(network: str, found: dict[str, int], record: Record) -> Table:
    rows: list[tuple[str, ...]] = []
    for m in (m for m in record.measurements if m.task.what.endswith(f", {network}")):
        loop = list(record.ok(what=m.task.what, device=m.task.device, by="loop"))
        memory = record.facts["memory"].get(m.task.key)
        rows.append(
            (
                m.task.what.removesuffix(f", {network}"),
                m.task.device,
                m.task.by,
                words.seconds(m.median_s) if m.ok else "",
                f"{loop[0].median_s / m.median_s:.2f} x" if m.ok and loop else "",
                in_bytes(memory["state"]) if memory else "",
                in_bytes(memory["step"]) if memory else "",
                words.notes(m),
            )
        )
    columns = ("optimizer", "device", "form", "step", "speedup", "state", "extra in a step", "notes")
    title = f"{network}: {found['tensors']} tensors, {found['parameters']:,} parameters"
    return Table(title, columns, tuple(rows))


def _figures(record: Record) -> tuple[Figure, ...]:
    names = list(dict.fromkeys(m.task.what for m in record.measurements))
    bars = {f"{what}, {form}": record.ok(what=what, by=form) for what in names for form in FORMS}
    return (Figure("steps", "One optimizer step", "", "microseconds", bars=_bars(bars)),)


def _bars(found: dict[str, list[Measurement]]) -> dict[str, float]:
    return {f"{name}, {m.task.device}": m.median_s * 1e6 for name, rows in found.items() for m in rows}
