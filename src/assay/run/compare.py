"""Two runs beside each other: what differs between them, and whether a repetition came out bit-identical.

`diff` reads folders and needs no torch. `reproduce` runs a folder's own config again, through the same door
as any other config, and compares what must be equal: every value of `metrics.csv` but the clock's, the
metrics, and the last checkpoint's weights bit by bit.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from assay.config.messages import show
from assay.config.schema import TrainConfig
from assay.config.judge import judge
from assay.config.messages import refuse
from assay.config.redact import redact
from assay.config.stored import blanked, differences, read_config
from assay.errors import UserError

SECTIONS = ("status", "metrics", "epochs", "steps", "seed", "versions", "git", "data", "device")
CLOCK = ("seconds", "samples_per_second")  # columns of metrics.csv that no two runs share


@dataclass(frozen=True)
class Difference:
    """One value that two runs do not share; None where a run has none."""

    section: str
    key: str
    first: Any
    second: Any


def read_result(folder: Path) -> dict[str, Any]:
    """`result.json` of a run folder; raises `UserError` if it is not there or not readable."""
    path = folder / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(
            f"{folder}: no run folder: it has no result.json\n  the runs are in outputs/runs/"
        ) from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: it cannot be read: {error}") from None
    if not isinstance(result, dict):
        raise UserError(f"{path}: it is no result of a run")
    return result


def compared(first: Path, second: Path) -> list[Difference]:
    """What differs between two runs: config, results, versions, git, data, device; clocks aside."""
    config = differences(read_config(first), read_config(second))
    found = [Difference("config", *one) for one in config]
    results = read_result(first), read_result(second)
    for section in SECTIONS:
        one, other = ({section: result.get(section)} for result in results)
        for key, a, b in differences(one, other):
            found.append(Difference(section, key.removeprefix(f"{section}."), a, b))
    return [
        replace(one, first=redact(one.first, one.key), second=redact(one.second, one.key)) for one in found
    ]


def table(found: list[Difference]) -> Table:
    """The differences as one table, a section a block."""
    rows = Table("what", "key", box=None, header_style="bold")
    for name in ("first", "second"):
        rows.add_column(name, overflow="fold")
    last = None
    for one in found:
        rows.add_row(one.section if one.section != last else "", one.key, show(one.first), show(one.second))
        last = one.section
    return rows


def diff(first: str, second: str) -> int:
    """Print what differs between two run folders."""
    found = compared(Path(first), Path(second))
    console = Console(soft_wrap=True)
    console.print(f"first   {first}\nsecond  {second}\n", markup=False, highlight=False)
    console.print(
        table(found) if found else "no difference in config, results, versions, git, data and device"
    )
    return 0


def rows_of(folder: Path) -> list[Mapping[str, str]]:
    """The rows of `metrics.csv` without the clock's columns."""
    path = folder / "metrics.csv"
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [
            {name: text for name, text in row.items() if name not in CLOCK} for row in csv.DictReader(file)
        ]


def weights_differ(first: Path, second: Path) -> list[str]:
    """The names of the weights of two runs' last checkpoints that are not the same bit by bit."""
    import torch  # seconds; `diff` does without

    from assay.training.durable import load_checkpoint

    one, other = (load_checkpoint(folder / "checkpoints" / "last.ckpt", "cpu") for folder in (first, second))
    a, b = one["state_dict"], other["state_dict"]
    same = {name for name in a.keys() & b.keys() if torch.equal(a[name], b[name])}
    return sorted((a.keys() | b.keys()) - same)


def unlike(first: Path, second: Path) -> list[str]:
    """What of two runs of one config should be equal and is not; empty for bit-identical runs."""
    lines: list[str] = []
    a, b = read_result(first), read_result(second)
    if a.get("metrics") != b.get("metrics"):
        lines += [f"{key}: {x} and {y}" for key, x, y in differences(a["metrics"], b["metrics"])]
    if rows_of(first) != rows_of(second):
        lines.append("metrics.csv: the rows differ")
    if (first / "checkpoints" / "last.ckpt").is_file():
        lines += [f"weights: {name}" for name in weights_differ(first, second)]
    return lines


def reproduce(folder: str) -> int:
    """Run the config of a run folder again; 0 if the two are bit-identical, 1 if not or if the run fails."""
    original = Path(folder)
    status = read_result(original).get("status")
    if status != "completed":
        raise UserError(f"reproduce={folder}: the run is {status}: only a completed run can be compared")
    stored = read_config(original)
    if lost := blanked(stored):
        raise refuse(lost)
    config = replace(judge(TrainConfig, stored | {"resume": None}), name="reproduced")

    from assay.run.folder import RunFolder
    from assay.run.run import execute
    from assay.run.signals import stop_requests

    repeated = RunFolder.create(Path(config.output_dir), config.name)
    try:
        with stop_requests() as request:
            code = execute(config, [f"reproduce={folder}"], Console(), request, repeated)
    finally:
        if not any(repeated.path.iterdir()):
            repeated.path.rmdir()
    return code or _report(original, repeated.path)


def _report(original: Path, repeated: Path) -> int:
    lines = unlike(original, repeated)
    if not lines:
        print(f"bit-identical: {repeated} came out as {original}")
        return 0
    print(f"not identical: {repeated} and {original}")
    print("\n".join(f"  {line}" for line in lines[:10]))
    causes = [
        one for one in compared(original, repeated) if one.section in ("versions", "git", "device", "data")
    ]
    for one in causes:
        print(f"  {one.section} {one.key}: {show(one.first)} and {show(one.second)}")
    return 1
