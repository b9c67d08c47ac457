"""`report.html` of one run, and what TensorBoard says of it in words; from the files in its folder. No torch.

The page opens offline and holds all it shows.
"""

import base64
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from assay.config.redact import redact, redact_text
from assay.report import Table, as_text, markdown_table, page
from assay.run.folder import RunFolder
from assay.training.atomic import write_durably

Curve = Mapping[int, float]  # by step


def write_report(folder: RunFolder) -> None:
    """Write the page; raises `WriteError`."""
    write_durably(folder.path / "report.html", html(folder).encode())


def html(folder: RunFolder) -> str:
    """The page as text. All that is a user's is escaped."""
    result = redact(folder.result)
    metric = (result["metric"] or "val/loss").removeprefix("val/")
    changed = result["overrides"]
    accuracies: Mapping[str, float] = result.get("class_accuracy") or {}
    classes = {name: as_text("accuracy", value) for name, value in accuracies.items()}
    files = sorted(folder.path.glob("figures/*.png"))
    pictures = {file.stem.replace("_", " "): _data_uri(file) for file in files}
    return page(
        "run/report.html.j2",
        name=redact_text(folder.path.name),
        headline=_headline(result, metric),
        command=result["command"],
        curves=pictures.pop("curves", ""),
        tables=[
            _table("Result", ("", "result"), results(result)),
            _table("Accuracy of each class", ("class", "in the test"), classes),
            Table("Changed keys", ("key", "value"), tuple(one.partition("=")[::2] for one in changed)),
        ],
        environment=_table("Environment", ("", "of the run"), environment_of(result)),
        pictures=pictures,
        config=_config(folder),
    )


def _headline(result: Mapping[str, Any], metric: str) -> str:
    named = {"test": f"test/{metric}", "validation": f"val/{metric}"}
    said = {split: as_text(name, result["metrics"].get(name)) for split, name in named.items()}
    return ", ".join(f"{split} {metric} {text}" for split, text in said.items() if text)


def results(result: Mapping[str, Any]) -> dict[str, str]:
    """Metrics of the best epoch and of the test, and what they took."""
    seconds, rate = result["seconds"], result["samples_per_second"]
    counted = {
        "best epoch": (result.get("best") or {}).get("epoch"),
        "epochs": result["epochs"] or None,
        "steps": result["steps"] or None,
        "fit seconds": seconds.get("fit"),
        "test seconds": seconds.get("test"),
        "samples/s in training": rate and round(rate),
        "seed": result["seed"],
        "config id": result["config_id"],
    }
    shown = {name: as_text(name, value) for name, value in (result["metrics"] | counted).items()}
    return {name: text for name, text in shown.items() if text}


def environment_of(result: Mapping[str, Any]) -> dict[str, str]:
    """What a run ran on and with, each in a line."""
    said: dict[str, str] = {}
    for key in ("device", "data", "git", "versions"):
        values: Mapping[str, Any] = result.get(key) or {}
        if line := ", ".join(f"{name} {value}" for name, value in values.items() if value is not None):
            said[key] = line
    return said


def texts(folder: RunFolder) -> dict[str, str]:
    """What a run is made of, in Markdown by name."""
    environment = _table("", ("", "of the run"), environment_of(redact(folder.result)))
    return {
        "run/command": f"```\n{redact_text(folder.result['command'])}\n```",
        "run/config": f"```\n{_config(folder)}\n```",
        "run/environment": markdown_table(environment),
    }


def read_curves(folder: Path, names: Sequence[str]) -> dict[str, Curve]:
    """These curves of a run, from its `metrics.csv`."""
    file = folder / "metrics.csv"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    rows = list(csv.DictReader(lines))
    return {name: {int(row["step"]): float(row[name]) for row in rows if row.get(name)} for name in names}


def _table(title: str, columns: tuple[str, str], cells: Mapping[str, str]) -> Table:
    return Table(title, columns, tuple(cells.items()))


def _data_uri(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def _config(folder: RunFolder) -> str:
    return redact_text((folder.path / "config.yaml").read_text(encoding="utf-8"))
