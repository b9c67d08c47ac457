"""`bench=model`: layers, shapes, parameters and FLOP of the configured network, and how fast it answers.

Latency is the time of one forward pass whose end is waited for. On a GPU, passes that are queued one behind
the other give more samples a second: that is its throughput, a row of its own. The class is timed against
`nn.Sequential` of the same layers, where those in a row give the same output.
"""

import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from assay.bench.device import Device
from assay.bench.hardware import peak_of
from assay.bench.measure import Job
from assay.bench.record import Check, Record, Task
from assay.bench.session import Session
from assay.bench.views import all_rows, curves, rows, time_of
from assay.config.components import build
from assay.config.schema import ModelConfig
from assay.report import Report, Table

IN_SHAPE = (1, 28, 28)
CLASSES = 10
LESSON_SHAPE = (8, 28, 28)  # eight grey images, as the lesson has them
ERROR_LIMIT = 1e-5  # relative, of float32 against float64
FEW = 2  # samples of which the memory of a batch is told


def network(node: Mapping[str, Any], seed: int) -> nn.Module:
    """The configured network, with the weights of the seed."""
    torch.manual_seed(seed)
    return build(node, "model", in_shape=IN_SHAPE, num_classes=CLASSES)


def images(count: int, seed: int) -> Tensor:
    """Normal pixels of shape (count, 1, 28, 28), on the host."""
    return torch.randn(count, *IN_SHAPE, generator=torch.Generator().manual_seed(seed))


def parameter_bytes(model: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in model.parameters())


def activation_bytes(forward: Callable[[Tensor], Any], batch: int) -> int:
    """What a pass of so many samples holds at its peak, input included, told from a pass of a few."""
    x = images(FEW, seed=0)
    return (x.nbytes + live_bytes(lambda: forward(x)).peak) * batch // FEW


class LiveBytes(NamedTuple):
    """Bytes of tensors beyond those that were there before the call."""

    peak: int  # the most that were alive at once
    kept: int  # alive at the end, with the result


def live_bytes(call: Callable[[], Any]) -> LiveBytes:
    """Do the call once and follow its tensors; what a kernel takes for itself is not seen."""
    with _LiveTensors() as counted:
        result = call()
        kept = counted.live
    del result
    return LiveBytes(counted.peak, kept)


@final
class _LiveTensors(TorchDispatchMode):
    """Counts the storages made while it is active: torch counts allocations on a GPU alone.

    The mode is torch's documented way to see every operation, though its module's name begins with `_`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sizes = weakref.WeakKeyDictionary[torch.UntypedStorage, int]()
        self.peak = 0

    @property
    def live(self) -> int:
        return sum(self._sizes.values())

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # what goes in was there before: views and in-place results of it are no new memory
        given = {leaf.untyped_storage() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage()) not in given:
                self._sizes[storage] = storage.nbytes()
        self.peak = max(self.peak, self.live)
        return result


def measure(config: ModelConfig, session: Session) -> None:
    """The layers once, then class and Sequential side by side, for each batch size on each device."""
    model = network(config.model, config.seed).eval()
    session.details |= {
        "model": type(model).__name__,
        "layers": layers(model),
        "shapes": lesson_shapes(model),
    }
    chain = sequential(model)
    session.details["sequential"] = chain is not None
    forms = {"class": model} | ({"Sequential": chain} if chain is not None else {})
    counts = session.cpu_threads(config.threads)
    groups = [(device, batch) for device in session.devices for batch in config.batch_sizes]
    session.measure_each([partial(_jobs, forms, *group, counts, config.seed) for group in groups])


def _jobs(
    forms: Mapping[str, nn.Module], device: Device, batch: int, counts: Sequence[int], seed: int
) -> list[Job]:
    x = images(batch, seed)
    flop = float(sum(layer["flop"] for layer in layers(forms["class"].cpu())) * batch)
    model = forms["class"]
    return [
        Job(
            Task(what, by, device.name, threads=threads, size=batch, flop=flop, samples=batch),
            device,
            prepare=partial(_forward, form, x, device),
            needs=activation_bytes(torch.inference_mode()(model), batch) + parameter_bytes(model),
            check=partial(_check, form, x),
            limit=peak_of(device, threads).arithmetic("float32"),
            alone=what == "latency",
        )
        for what in (("latency",) if device.name == "cpu" else ("latency", "throughput"))
        for threads in (counts if device.name == "cpu" else [None])
        for by, form in forms.items()
    ]


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


def _forward(model: nn.Module, x: Tensor, device: Device) -> Callable[[], Tensor]:
    model, there = model.to(device.place), x.to(device.place)

    def forward() -> Tensor:
        with torch.inference_mode():
            return model(there)

    return forward


def _check(model: nn.Module, x: Tensor, output: Tensor) -> Check:
    """The logits of the first samples against the same network in float64."""
    few, device = x[:64], next(model.parameters()).device
    with torch.inference_mode():
        right = model.cpu().double()(few.double())
        model.float().to(device)
        error = float((output[:64].cpu().double() - right).norm() / right.norm())
    return Check.of(error, ERROR_LIMIT)


def report(record: Record) -> Report:
    """Shapes first, then layers, then speed."""
    name, shapes, found = (record.details[key] for key in ("model", "shapes", "layers"))
    total = {key: sum(layer[key] for layer in found) for key in ("parameters", "flop")}
    lines = [
        f"{name}: {_shape(shapes['in'])} in, {_shape(shapes['out'])} out",
        f"{total['parameters']:,} parameters, {total['flop']:,} FLOP a sample forward",
    ]
    if not record.details["sequential"]:
        lines.append(f"{name} is no chain of its layers: there is no Sequential to compare with")
    cells = tuple(
        (layer["name"], layer["kind"], _shape(layer["out"]), f"{layer['parameters']:,}", f"{layer['flop']:,}")
        for layer in found
    )
    columns = ("layer", "kind", "output of a sample", "parameters", "FLOP")
    passes = record.measurements
    speed = rows("forward pass", passes, {"samples/s": lambda m: f"{m.samples_per_second or 0:,.0f}"})
    figures = (
        curves("latency", "One forward pass", "batch size", "seconds", record.all(what="latency"), time_of),
        curves(
            "samples", "Forward passes", "batch size", "samples / s", passes, lambda m: m.samples_per_second
        ),
    )
    return Report(tuple(lines), (Table(name, columns, cells), speed, all_rows(record)), figures)


def _shape(sizes: Sequence[int]) -> str:
    return f"({', '.join(map(str, sizes))}{',' if len(sizes) == 1 else ''})"
