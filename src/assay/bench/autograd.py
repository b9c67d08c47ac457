"""`bench=autograd`: is the gradient right, and what does the graph cost in time and memory?

Right: the lesson's y = x^3 + 5 at 4, a table of functions against their derivatives from calculus, and
`torch.autograd.gradcheck` of the configured model in float64.
"""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.func import functional_call

from assay.bench.device import Device
from assay.bench.measure import Job
from assay.bench.model import CLASSES, images, memory, network
from assay.bench.record import Record, Task
from assay.bench.session import Session
from assay.bench.views import Cell, rows, times_of
from assay.config.schema import AutogradConfig
from assay.report import Report, Table, in_bytes

TOLERANCE = 1e-12  # relative, in float64
Function = Callable[[Tensor], Tensor]

# f, its derivative, and where: points away from the edges of their domains
FUNCTIONS: dict[str, tuple[Function, Function, float]] = {
    "x^3 + 5": (lambda x: x**3 + 5, lambda x: 3 * x**2, 4.0),
    "sin x": (torch.sin, torch.cos, 0.7),
    "exp x": (torch.exp, torch.exp, 1.3),
    "log x": (torch.log, lambda x: 1 / x, 2.5),
    "sqrt x": (torch.sqrt, lambda x: 0.5 / x.sqrt(), 2.0),
    "1 / x": (lambda x: 1 / x, lambda x: -1 / x**2, 3.0),
    "tanh x": (torch.tanh, lambda x: 1 - torch.tanh(x) ** 2, 0.4),
    "sigmoid x": (torch.sigmoid, lambda x: torch.sigmoid(x) * (1 - torch.sigmoid(x)), -0.3),
    "relu x": (torch.relu, lambda x: (x > 0).to(x), 1.5),
    "x sin x^2": (
        lambda x: x * torch.sin(x**2), lambda x: torch.sin(x**2) + 2 * x**2 * torch.cos(x**2), 1.1
    ),
}  # fmt: skip


def against_calculus(name: str, function: Function, derivative: Function, at: float) -> dict[str, Any]:
    """Autograd's derivative and that of calculus at a point, in float64."""
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    y = function(x)
    gradient, exact = torch.autograd.grad(y, x)[0].item(), derivative(x.detach()).item()
    error = abs(gradient - exact) / max(abs(exact), 1.0)
    return {"f": name, "x": at, "value": y.item(), "autograd": gradient, "calculus": exact, "error": error}


def measure(config: AutogradConfig, session: Session) -> None:
    """The checks, then the forms of a pass side by side on every device, for each batch size."""
    model = network(config.model, config.seed).eval()
    session.details["model"] = type(model).__name__
    session.details["functions"] = [against_calculus(name, *FUNCTIONS[name]) for name in FUNCTIONS]
    session.tell("gradcheck of the model in float64")
    session.details["gradcheck"] = gradcheck(model, config.seed)
    kept = session.details.setdefault("graph_bytes", {})
    places = session.places([max(session.cpu_threads(config.threads))])

    def prepare(device: Device, task: Task) -> Callable[[], Tensor]:
        placed, x = copy.deepcopy(model).to(device.place), images(task.size or 0, config.seed)
        x, labels = x.to(device.place), torch.arange(len(x), device=device.place) % CLASSES
        call = partial(FORMS[task.by], placed, x, labels)
        kept[task.key] = graph_bytes(call, (x, labels, *placed.parameters()))
        return call

    def job(batch: int, form: str, device: Device, threads: int | None) -> Job:
        task = Task("pass", form, device.name, threads=threads, size=batch, samples=batch)
        needs = 2 * memory(model, batch)  # values and their gradients
        return Job(task, device, partial(prepare, device, task), needs)

    def jobs(batch: int) -> list[Job]:
        return [job(batch, form, *place) for place in places for form in FORMS]

    session.measure_each([partial(jobs, batch) for batch in config.batch_sizes])


def gradcheck(model: nn.Module, seed: int) -> str:
    """ "passed", or what is wrong with the gradients in the input and the parameters; in float64."""
    model = copy.deepcopy(model).double().eval()
    x = images(1, seed).double().requires_grad_()
    parameters = dict(model.named_parameters())

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(model, dict(zip(parameters, values, strict=True)), (x,))

    try:
        torch.autograd.gradcheck(forward, (x, *parameters.values()), fast_mode=True)
    except GradcheckError as error:
        return f"failed: {str(error).splitlines()[0]}"
    return "passed"


def _forward(mode: Callable[[], Any], model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    with mode():
        return model(x)


def _with_backward(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    model.zero_grad()
    loss = nn.functional.cross_entropy(model(x), labels)
    loss.backward()
    return loss.detach()


FORMS: dict[str, Callable[[nn.Module, Tensor, Tensor], Tensor]] = {
    "forward, inference_mode": partial(_forward, torch.inference_mode),
    "forward, no_grad": partial(_forward, torch.no_grad),
    "forward, with the graph": partial(_forward, torch.enable_grad),
    "forward + backward": _with_backward,
}


def graph_bytes(call: Callable[[], Tensor], given: Iterable[Tensor]) -> int:
    """What the graph of a call keeps for backward, beyond the tensors that are there anyway."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        call()
    there = {tensor.untyped_storage().data_ptr() for tensor in given}
    return sum(count for storage, count in kept.items() if storage not in there)


def report(record: Record) -> Report:
    """The lesson's three numbers first."""
    functions, checked = record.details["functions"], record.details["gradcheck"]
    lesson = functions[0]
    lines = (
        f"Y = {lesson['value']}",
        f"X Grad = {lesson['autograd']}",
        f"3(4)**2 = {lesson['calculus']:.0f}",
        f"gradcheck of {record.details['model']}: {checked}",
    )
    failures = [f"autograd of {f['f']}: {f['error']:.1e} off" for f in functions if f["error"] > TOLERANCE]
    failures += [f"gradcheck {checked}"] if checked != "passed" else []
    calculus = tuple(
        (f["f"], f"{f['x']}", f"{f['autograd']:.12g}", f"{f['calculus']:.12g}", f"{f['error']:.1e}")
        for f in functions
    )
    columns = ("f(x)", "x", "autograd", "calculus", "relative error")
    kept = record.details["graph_bytes"]
    extra: dict[str, Cell] = {
        "of inference_mode": times_of(record, "forward, inference_mode"),
        "kept by the graph": lambda m: in_bytes(kept[m.task.key]),
    }
    tables = (
        Table("autograd against calculus (float64)", columns, calculus),
        rows("what the graph costs", record.measurements, extra),
    )
    return Report(lines, tables, failures=tuple(failures))
