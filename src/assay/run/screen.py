"""What a run says at its start and at its end."""

import shlex
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import nn

from assay.report import Table, as_text
from assay.run.folder import RunFolder
from assay.run.parts import Run
from assay.terminal import grid


def introduce(run: Run) -> None:
    """Device, data and model, before anything is trained."""
    device, data, source, threads = run.device, run.parts.data, run.parts.data.source, run.parts.threads
    counts = {"train": data.split("train"), "val": data.split("val"), "test": data.split("test")}
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in counts.items())  # type: ignore[arg-type]
    processes = f"{device.count} processes, " if device.count > 1 else ""
    used = f"{processes}{threads} thread{'s' * (threads > 1)}, {device.precision}"
    steps = f"batch {source.batch_size}, {data.num_batches:,} steps an epoch"
    _say(run.console, f"run     {run.folder.path}")
    if run.config.ckpt is not None and run.point is None:
        _say(run.console, f"weights {run.config.ckpt}")
    _tell(run.console, "device", f"{device.accelerator} ({device.name}), {used}")
    _tell(run.console, "data", f"{source.name}: {sizes}; {steps}, seed {run.config.seed}")
    run.console.print(grid(model_table(run.parts.learner.model, run.parts.shapes), run.console.width))


def _say(console: Console, line: str, style: str = "") -> None:
    """One line as it is, however wide the screen."""
    console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _tell(console: Console, name: str, text: str) -> None:
    """A sentence after its name; on a terminal it goes on beneath itself, and no word is broken."""
    width = console.width if console.is_terminal else len(text) + 8
    lines = textwrap.wrap(text, width - 8, break_long_words=False, break_on_hyphens=False)
    _say(console, textwrap.indent("\n".join(lines), " " * 8).replace(" " * 8, f"{name:<8}", 1))


def model_table(model: nn.Module, shapes: Mapping[str, tuple[int, ...]]) -> Table:
    """One row a layer, with the shape of what it gives for one sample, and its parameter count."""
    rows = [
        (name, " x ".join(map(str, shapes.get(name, ()))), f"{num_parameters(layer):,}", repr(layer))
        for name, layer in model.named_modules()
        if name and not list(layer.children())
    ]
    rows.append(("total", "", f"{num_parameters(model):,}", ""))
    styles = (*("" for _ in rows[1:]), "bold")
    return Table(type(model).__name__, ("layer", "output", "parameters", "type"), tuple(rows), styles=styles)


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def say_result(console: Console, result: Mapping[str, Any]) -> None:
    """What was measured, and how long it took."""
    metrics, seconds = result["metrics"], result["seconds"]
    name = (result["metric"] or "val/loss").removeprefix("val/")
    for split, said, style in (("val", "validation", ""), ("test", "test", "bold")):
        if f"{split}/{name}" in metrics:
            _say(console, f"{said} {name} {as_text(name, metrics[f'{split}/{name}'])}", style)
    rate = result["samples_per_second"]
    speed = f", {rate:,.0f} samples/s in training" if rate else ""
    fitting = f"{seconds['fit']:.1f} s fitting, " if seconds["fit"] else ""
    _say(console, f"{fitting}{seconds['total']:.1f} s in all{speed}")


def say_next(console: Console, folder: Path, result: Mapping[str, Any], output_dir: Path) -> None:
    """Where the report is, and the commands a person may want next."""
    if (folder / "report.html").is_file():
        _say(console, f"report   {folder / 'report.html'}")
    for what, command in next_commands(folder, result, output_dir).items():
        _say(console, f"{what:<9}{command}")


def next_commands(folder: Path, result: Mapping[str, Any], output_dir: Path) -> dict[str, str]:
    """Commands to copy, quoted for a shell."""
    curves = {"curves": shlex.join(["tensorboard", "--logdir", str(output_dir)])}
    if not result["epochs"]:
        return curves  # nothing was trained
    return {**curves, "test": train_command("stages=[test]", f"ckpt={folder}")}


def kept(folder: RunFolder) -> str:
    """What an interrupted run leaves, and how to go on."""
    again = resume_command(folder.path)
    if folder.last.is_file():
        return f"kept: {folder.last}\nto go on: {again}"
    return f"no checkpoint was saved yet\nto begin again in this folder: {again}"


def resume_command(folder: Path) -> str:
    return train_command(f"resume={folder}")


def train_command(*words: str) -> str:
    program = Path(sys.argv[0]).name
    command = [program] if program.startswith("assay") else ["python", "train.py"]
    return shlex.join([*command, *words])
