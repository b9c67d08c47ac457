"""`bench=optimizer`: what one step costs, in time and memory, in each form and for few or many tensors."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from assay.bench.device import Device
from assay.bench.measure import Job
from assay.bench.model import network
from assay.bench.record import Record, Task
from assay.bench.session import Session
from assay.bench.views import Cell, rows, times_of
from assay.config.schema import OptimizerConfig
from assay.report import Report, in_bytes

OPTIMIZERS: dict[str, tuple[Any, dict[str, float]]] = {
    "SGD": (torch.optim.SGD, {"lr": 1e-3}),
    "SGD with momentum": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    "Adam": (torch.optim.Adam, {"lr": 1e-3}),
    "AdamW": (torch.optim.AdamW, {"lr": 1e-3}),
}
FORMS: dict[str, dict[str, bool]] = {
    "loop": {"foreach": False, "fused": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
}
Shapes = Sequence[tuple[int, ...]]


def measure(config: OptimizerConfig, session: Session) -> None:
    """All optimizers in all forms side by side on every device, for each network."""
    places = session.places([max(session.cpu_threads(config.threads))])
    model = network(config.model, config.seed)
    deep = [(config.width, config.width), (config.width,)] * config.depth
    networks: dict[str, Shapes] = {
        type(model).__name__: [tuple(parameter.shape) for parameter in model.parameters()],
        f"{config.depth} layers of {config.width}": deep,
    }
    count = {name: sum(map(math.prod, shapes)) for name, shapes in networks.items()}
    session.details["networks"] = {
        name: {"tensors": len(shapes), "parameters": count[name]} for name, shapes in networks.items()
    }
    state = session.details.setdefault("state_bytes", {})

    def prepare(name: str, optimizer: str, device: Device, task: Task) -> Callable[[], Tensor]:
        """A step that has been done once, so that there is the state that is kept between steps."""
        random = torch.Generator().manual_seed(config.seed)
        values = [torch.randn(shape, generator=random).to(device.place) for shape in networks[name]]
        parameters = [nn.Parameter(value) for value in values]
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=random).to(device.place)
        make, settings = OPTIMIZERS[optimizer]
        stepping: torch.optim.Optimizer = make(parameters, **settings, **FORMS[task.by])

        def step() -> Tensor:
            stepping.step()
            return values[0]

        step()
        kept: list[Any] = [value for values in stepping.state.values() for value in values.values()]
        state[task.key] = sum(value.nbytes for value in kept if isinstance(value, Tensor))
        return step

    def job(name: str, optimizer: str, form: str, device: Device, threads: int | None) -> Job:
        task = Task(f"{optimizer}, {name}", form, device.name, threads=threads)
        needs = 4 * count[name] * 4  # parameters, gradients and at most two averages, in float32
        return Job(task, device, partial(prepare, name, optimizer, device, task), needs)

    def jobs(name: str) -> list[Job]:
        return [job(name, *form, *place) for place in places for form in product(OPTIMIZERS, FORMS)]

    session.measure_each([partial(jobs, name) for name in networks])


def report(record: Record) -> Report:
    """One table a network: time, against the loop, and memory."""
    state = record.details["state_bytes"]
    extra: dict[str, Cell] = {
        "of the loop": times_of(record, "loop"),
        "state": lambda m: in_bytes(state[m.task.key]),
    }
    tables = [
        rows(
            f"{name}: {size['tensors']} tensors, {size['parameters']:,} parameters",
            [m for m in record.measurements if m.task.what.endswith(f", {name}")],
            extra,
        )
        for name, size in record.details["networks"].items()
    ]
    return Report(tables=tuple(tables))
