"""`bench=autograd`: is the gradient right, and what does the graph cost?

Right: the lesson's y = x^3 + 5 at 4, a table of functions against their derivatives from calculus, and
`torch.autograd.gradcheck` of the configured model in float64. Cost: time and peak memory of the forward
pass under `inference_mode`, `no_grad` and with the graph, and of forward + backward.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.gradcheck import GradcheckError
from torch.func import functional_call

from assay.bench import words
from assay.bench.device import Device, cpu_threads
from assay.bench.live_memory import live_bytes
from assay.bench.measure import Job, in_bytes
from assay.bench.measurement import Measurement, Record, Task
from assay.bench.report import Figure, Report, Series, Table
from assay.bench.session import Session
from assay.config.schema import AutogradConfig
from assay.config.components import build

IN_SHAPE = (1, 28, 28)
CLASSES = 10
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


def gradient(function: Function, at: float) -> tuple[float, float]:
    """The value and autograd's derivative at a point, in float64."""
    x = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    y = function(x)
    y.backward()
    assert x.grad is not None
    return y.item(), x.grad.item()


def measure(config: AutogradConfig, session: Session) -> None:
    """The checks, then the forms of a pass side by side, for each batch size on each device."""
    model: nn.Module = build(config.model, "model", in_shape=IN_SHAPE, num_classes=CLASSES)
    y, grad = gradient(FUNCTIONS["x^3 + 5"][0], 4.0)
    session.facts["lesson"] = {"y": y, "x_grad": grad, "calculus": 3 * 4.0**2}
    session.facts["functions"] = [_against_calculus(name) for name in FUNCTIONS]
    session.tell("gradcheck of the model in float64")
    session.facts["gradcheck"] = gradcheck(model, config.seed)
    threads = max(session.cpu_threads(config.threads))
    groups = [(device, batch) for device in session.devices for batch in config.batch_sizes]
    for left, (device, batch) in zip(range(len(groups), 0, -1), groups, strict=True):
        jobs = pass_jobs(model.float().to(device.place), device, batch, threads, config.seed)
        memory = session.facts.setdefault("live_bytes", {})
        memory |= {job.task.key: live_bytes(job.prepare())._asdict() for job in jobs}
        session.measure(jobs, session.left / left)


def _against_calculus(name: str) -> dict[str, Any]:
    function, derivative, at = FUNCTIONS[name]
    value, grad = gradient(function, at)
    exact = derivative(torch.tensor(at, dtype=torch.float64)).item()
    error = abs(grad - exact) / max(abs(exact), 1.0)
    return {"f": name, "x": at, "value": value, "autograd": grad, "calculus": exact, "error": error}


def gradcheck(model: nn.Module, seed: int) -> str:
    """ "passed", or what `torch.autograd.gradcheck` has against the
    model's gradients in its input and its parameters; in float64, dropout off."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(1, *IN_SHAPE, generator=random, dtype=torch.float64, requires_grad=True)
    parameters = dict(model.double().eval().named_parameters())

    def forward(x: Tensor, *values: Tensor) -> Tensor:
        return functional_call(model, dict(zip(parameters, values, strict=True)), (x,))

    try:
        torch.autograd.gradcheck(forward, (x, *parameters.values()), fast_mode=True)
    except GradcheckError as error:
        return f"failed: {str(error).splitlines()[0]}"
    return "passed"


def pass_jobs(model: nn.Module, device: Device, batch: int, threads: int, seed: int) -> list[Job]:
    """Forward in three modes, and forward + backward, on the same batch."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, *IN_SHAPE, generator=random).to(device.place)
    labels = torch.randint(0, CLASSES, (batch,), generator=random).to(device.place)

    def forward_in(mode: Callable[[], Any]) -> Callable[[], Any]:
        def forward() -> Tensor:
            with mode():
                return model(x)

        return forward

    def with_backward() -> Tensor:
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        return loss.detach()

    forms = {
        "forward, inference_mode": forward_in(torch.inference_mode),
        "forward, no_grad": forward_in(torch.no_grad),
        "forward, with the graph": forward_in(torch.enable_grad),
        "forward + backward": with_backward,
    }
    count = threads if device.kind == "cpu" else None
    return [
        Job(
            Task("pass", by, device.name, threads=count, size=batch, samples=batch),
            device,
            prepare=partial(_return, call),
            setting=partial(cpu_threads, count),
        )
        for by, call in forms.items()
    ]


def _return(call: Callable[[], Any]) -> Callable[[], Any]:
    return call


def report(config: AutogradConfig, record: Record) -> Report:
    """The lesson's three numbers first."""
    lesson = record.facts["lesson"]
    lines = [
        f"Y = {lesson['y']}",
        f"X Grad = {lesson['x_grad']}",
        f"3(4)**2 = {lesson['calculus']:.0f}",
        f"gradcheck of {config.model['_target_'].rpartition('.')[2]}: {record.facts['gradcheck']}",
    ]
    failures = [
        f"autograd of {row['f']}: {row['error']:.1e} off" for row in _wrong(record.facts["functions"])
    ]
    if record.facts["gradcheck"] != "passed":
        failures.append(f"gradcheck {record.facts['gradcheck']}")
    tables = (
        _functions(record.facts["functions"]),
        _cost(record),
        words.rows("all rows", record.measurements, False),
    )
    return Report(tuple(lines), tables, _figures(record), failures=tuple(failures))


def _wrong(functions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in functions if row["error"] > TOLERANCE]


def _functions(found: Sequence[dict[str, Any]]) -> Table:
    columns = ("f(x)", "x", "autograd", "calculus", "relative error")
    rows = [
        (r["f"], f"{r['x']}", f"{r['autograd']:.12g}", f"{r['calculus']:.12g}", f"{r['error']:.1e}")
        for r in found
    ]
    return Table("autograd against calculus (float64)", columns, tuple(rows))


def _cost(record: Record) -> Table:
    """Each form's time and memory, and how many times those of inference mode."""
    rows: list[tuple[str, ...]] = []
    for m in record.all(what="pass"):
        base = [
            b
            for b in record.ok(what="pass", device=m.task.device, size=m.task.size)
            if "inference" in b.task.by
        ]
        times = f"{m.median_s / base[0].median_s:.2f} x" if m.ok and base else ""
        rows.append(
            (m.task.device, str(m.task.size), m.task.by, _time(m), times, *_memory(m, record), words.notes(m))
        )
    columns = (
        "device", "batch", "pass", "time", "of inference_mode", "tensors alive, peak", "at the end", "notes"
    )  # fmt: skip
    return Table("what the graph costs", columns, tuple(rows))


def _time(found: Measurement) -> str:
    return words.seconds(found.median_s) if found.ok else ""


def _memory(found: Measurement, record: Record) -> tuple[str, str]:
    live = record.facts["live_bytes"][found.task.key]
    return in_bytes(live["peak"]), in_bytes(live["kept"])


def _figures(record: Record) -> tuple[Figure, ...]:
    names = dict.fromkeys((m.task.device, m.task.by) for m in record.ok(what="pass"))
    series = tuple(
        Series(
            f"{device} {by}",
            tuple(
                (float(m.task.size or 0), m.median_s) for m in record.ok(what="pass", device=device, by=by)
            ),
        )
        for device, by in names
    )
    return (Figure("passes", "One pass of the model", "batch size", "seconds", series),)
