"""What a run says at its start and at its end."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from torch import nn

from assay.run.device import Device
from assay.run.parts import Parts


def introduce(console: Console, folder: Path, device: Device, parts: Parts, seed: int) -> None:
    """Device, data and model, before anything is trained."""
    data, source, threads = parts.data, parts.data.source, parts.threads
    sizes = ", ".join(f"{len(data.split(name)):,} {name}" for name in ("train", "val", "test"))  # type: ignore[arg-type]
    workers = f"{device.count} processes, " if device.count > 1 else ""
    console.print(f"run     {folder}", highlight=False, soft_wrap=True)
    console.print(
        f"device  {device.accelerator} ({device.name}), {workers}{threads} thread{'s' * (threads > 1)}, "
        f"{device.precision}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"data    {source.name}: {sizes}; batch {source.batch_size}, {data.num_batches:,} steps an epoch, "
        f"seed {seed}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(model_table(parts.classifier.model))


def model_table(model: nn.Module) -> Table:
    """One row a layer, with its parameter count."""
    table = Table(title=type(model).__name__, title_justify="left", title_style="bold")
    table.add_column("layer")
    table.add_column("type")
    table.add_column("parameters", justify="right")
    for name, layer in model.named_modules():
        if name and not list(layer.children()):
            table.add_row(name, repr(layer), f"{num_parameters(layer):,}")
    table.add_section()
    table.add_row("", "total", f"{num_parameters(model):,}")
    return table


def num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def conclude(console: Console, folder: Path, result: Mapping[str, Any], output_dir: Path) -> None:
    """The result, and the commands a person may want next."""
    metrics, seconds = result["metrics"], result["seconds"]
    if "val/accuracy" in metrics:
        console.print(f"validation accuracy {metrics['val/accuracy']:.2%}", highlight=False, soft_wrap=True)
    if "test/accuracy" in metrics:
        console.print(
            f"[bold]test accuracy {metrics['test/accuracy']:.2%}[/bold]", highlight=False, soft_wrap=True
        )
    rate = result["samples_per_second"]
    speed = f", {rate:,.0f} samples/s in training" if rate else ""
    fitting = f"{seconds['fit']:.1f} s fitting, " if seconds["fit"] else ""
    console.print(
        f"{fitting}{seconds['total']:.1f} s in all{speed}",
        highlight=False,
        soft_wrap=True,
    )
    for what, command in next_commands(folder, result, output_dir).items():
        console.print(f"{what:<9}{command}", highlight=False, markup=False, soft_wrap=True)


def next_commands(folder: Path, result: Mapping[str, Any], output_dir: Path) -> dict[str, str]:
    """Commands to copy, quoted for a shell."""
    curves = {"curves": shlex.join(["tensorboard", "--logdir", str(output_dir)])}
    if not result["epochs"]:
        return curves  # nothing was trained
    test = train_command("stages=[test]", f"ckpt={folder}")
    return {**curves, "test": test, "resume": resume_command(folder)}


def resume_command(folder: Path) -> str:
    return train_command(f"resume={folder}")


def train_command(*words: str) -> str:
    program = Path(sys.argv[0]).name
    command = [program] if program.startswith("assay") else ["python", "train.py"]
    return shlex.join([*command, *words])
