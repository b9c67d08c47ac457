"""Two runs beside each other: what differs between them, and whether a repetition came out bit-identical.

`diff` reads folders and needs no torch. `reproduce` runs a folder's own config again, through the same door
as any other config, and compares what must be equal: every value of `metrics.csv` but the clock's, the
metrics, and the last checkpoint's weights bit by bit.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from assay import imports
from assay.config.messages import show
from assay.config.redact import redact
from assay.config.saved import differences, read_config, saved_config
from assay.errors import RunFailed, UserError
from assay.report import Table, shortened
from assay.run.folder import RunFolder
from assay.terminal import grid, screen

ABSENT = "-"
SECTIONS = ("status", "metrics", "epochs", "steps", "seed", "versions", "git", "data", "device")
CLOCK = ("seconds", "samples_per_second")  # columns of metrics.csv that no two runs share


@dataclass(frozen=True)
class Difference:
    """One value that two runs do not share; `ABSENT` where a run has none."""

    section: str
    key: str
    first: Any
    second: Any


def compared(first: Path, second: Path) -> list[Difference]:
    """What differs between two runs: config, results, versions, git, data, device; clocks aside."""
    config = differences(read_config(first), read_config(second), ABSENT)
    differing = [Difference("config", *one) for one in config]
    results = RunFolder.open(first).result, RunFolder.open(second).result
    for section in SECTIONS:
        one, other = ({section: result.get(section)} for result in results)
        for key, a, b in differences(one, other, ABSENT):
            differing.append(Difference(section, key.removeprefix(f"{section}."), a, b))
    return [
        replace(one, first=_redacted(one.first, one.key), second=_redacted(one.second, one.key))
        for one in differing
    ]


def _redacted(value: Any, key: str) -> Any:
    return value if value == ABSENT else redact(value, key)


def table(differing: list[Difference]) -> Table:
    """The differences as one table, a section a block."""
    rows: list[tuple[str, ...]] = []
    before = ""
    for one in differing:
        whole = [value if value == ABSENT else show(value) for value in (one.first, one.second)]
        short = [shortened(text) for text in whole]
        values = short if short[0] != short[1] else whole
        rows.append((one.section if one.section != before else "", one.key, *values))
        before = one.section
    return Table("", ("what", "key", "first", "second"), tuple(rows))


def diff(first: str, second: str) -> None:
    """Print what differs between two run folders."""
    differing, console = compared(Path(first), Path(second)), screen()
    for name, folder in (("first", first), ("second", second)):
        console.print(f"{name:<8}{folder}", markup=False, highlight=False, soft_wrap=True)
    if differing:
        console.print(grid(table(differing), console.width))
    else:
        console.print("no difference in config, results, versions, git, data and device")


def rows_of(folder: Path) -> list[Mapping[str, str]]:
    """The rows of `metrics.csv` without the clock's columns; raises `UserError` where it cannot be read."""
    path = folder / "metrics.csv"
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    return [{name: text for name, text in row.items() if name not in CLOCK} for row in rows]


def weights_differ(first: Path, second: Path) -> list[str]:
    """The names of the weights of two runs' last checkpoints that are not the same bit by bit."""
    import torch  # seconds; `diff` does without

    from assay.training.checkpoint import load_checkpoint

    one, other = (load_checkpoint(folder / "checkpoints" / "last.ckpt", "cpu") for folder in (first, second))
    a, b = one["state_dict"], other["state_dict"]
    same = {name for name in a.keys() & b.keys() if torch.equal(a[name], b[name])}
    return sorted((a.keys() | b.keys()) - same)


def unlike(first: Path, second: Path) -> list[str]:
    """What of two runs of one config should be equal and is not; empty for bit-identical runs."""
    a, b = RunFolder.open(first).result, RunFolder.open(second).result
    lines = [f"{key}: {x} and {y}" for key, x, y in differences(a.get("metrics", {}), b.get("metrics", {}))]
    if rows_of(first) != rows_of(second):
        lines.append("metrics.csv: the rows differ")
    if (first / "checkpoints" / "last.ckpt").is_file():
        lines += [f"weights: {name}" for name in weights_differ(first, second)]
    return lines


def reproduce(folder: str) -> None:
    """Run the config of a run folder again, with as many threads as it had.

    Raises `RunFailed` if the two are not bit-identical, with what differs in results and machine.
    """
    original = RunFolder.open(Path(folder))
    if original.status != "completed":
        raise UserError(
            f"reproduce={folder}: the run is {original.status}: only a completed run can be compared"
        )
    config = replace(saved_config(original.path), resume=None, name="reproduced")
    rows_of(original.path)  # one that cannot be read is refused before anything is run

    with imports():
        from assay.run.device import resolve  # torch takes seconds; `diff` does without
        from assay.run.run import run_new
        from assay.run.signals import stop_requests

    before = original.result.get("device") or {}
    device = resolve(config.device)
    here = {"name": device.name, "accelerator": device.accelerator, "count": device.count}
    for key, then, now in differences({name: before.get(name) for name in here}, here):
        print(f"device {key} was {then} and is {now} here: the same bits cannot be promised")
    with stop_requests() as request:
        repeated = run_new(config, [f"reproduce={folder}"], Console(), request, before.get("threads"))
    _report(original.path, repeated.path)


def _report(original: Path, repeated: Path) -> None:
    lines = unlike(original, repeated)
    if not lines:
        print(f"bit-identical: {repeated} came out as {original}")
        return
    causes = [
        f"{one.section} {one.key}: {show(one.first)} and {show(one.second)}"
        for one in compared(original, repeated)
        if one.section in ("versions", "git", "device", "data")
    ]
    listed = "\n".join(f"  {line}" for line in [*lines[:10], *causes])
    raise RunFailed(f"not identical: {repeated} and {original}\n{listed}")
