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

from assay.bench.device import Device
from assay.bench.measure import Job
from assay.bench.model import live_bytes, network
from assay.bench.record import Measurement, Record, Task
from assay.bench.session import Session
from assay.bench.views import Cell, all_rows, rows
from assay.config.schema import OptimizerConfig
from assay.report import Figure, Report, in_bytes

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
Shapes = Sequence[tuple[int, ...]]


def measure(config: OptimizerConfig, session: Session) -> None:
    """All optimizers in all forms side by side, for each network on each device."""
    threads = max(session.cpu_threads(config.threads))
    model = network(config.model, config.seed)
    networks: dict[str, Shapes] = {
        type(model).__name__: [tuple(parameter.shape) for parameter in model.parameters()],
        f"{config.depth} layers of {config.width}": [(config.width, config.width), (config.width,)]
        * config.depth,
    }
    session.details["networks"] = {
        name: {"tensors": len(shapes), "parameters": _numbers(shapes)} for name, shapes in networks.items()
    }
    session.details["memory"] = {}
    groups = [(device, name, shapes) for device in session.devices for name, shapes in networks.items()]
    session.measure_each([partial(_jobs, *group, threads, session) for group in groups])


def _numbers(shapes: Shapes) -> int:
    return sum(torch.Size(shape).numel() for shape in shapes)


def _jobs(device: Device, network: str, shapes: Shapes, threads: int, session: Session) -> list[Job]:
    count = threads if device.name == "cpu" else None

    def prepare(task: Task, optimizer: str, form: str) -> Callable[[], Tensor]:
        """A step that has been done once; what it keeps between steps and takes for itself is noted."""
        step = stepper(device, shapes, optimizer, form, session.seed)
        kept = live_bytes(step).kept
        session.details["memory"][task.key] = {"state": kept, "step": live_bytes(step).peak}
        return step

    def job(optimizer: str, form: str) -> Job:
        task = Task(f"{optimizer}, {network}", form, device.name, threads=count)
        needs = 4 * _numbers(shapes) * 4  # parameters, gradients and at most two averages, in float32
        return Job(task, device, partial(prepare, task, optimizer, form), needs)

    return [job(optimizer, form) for optimizer in OPTIMIZERS for form in FORMS]


def stepper(device: Device, shapes: Shapes, optimizer: str, form: str, seed: int) -> Callable[[], Tensor]:
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


def report(record: Record) -> Report:
    """One table a network: time, against the loop, and memory."""
    memory = record.details["memory"]
    extra: dict[str, Cell] = {
        "loop's time over it": partial(_against_loop, record),
        "state": lambda m: in_bytes(memory[m.task.key]["state"]),
        "extra in a step": lambda m: in_bytes(memory[m.task.key]["step"]),
    }
    tables = [
        rows(
            f"{name}: {size['tensors']} tensors, {size['parameters']:,} parameters",
            [m for m in record.measurements if m.task.what.endswith(f", {name}")],
            extra,
        )
        for name, size in record.details["networks"].items()
    ]
    bars = {f"{m.task.what}, {m.task.by}, {m.task.device}": m.median_s * 1e6 for m in record.ok()}
    figure = Figure("steps", "One optimizer step", "", "microseconds", bars=bars)
    return Report((), (*tables, all_rows(record)), (figure,))


def _against_loop(record: Record, m: Measurement) -> str:
    loop = record.ok(what=m.task.what, device=m.task.device, by="loop")
    return str(loop[0].against(m)) if loop else ""
