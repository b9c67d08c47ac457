"""A result on disk: `result.json` is the record; `table.md`, `figures/` and events are views of it."""

import dataclasses
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from assay.bench.figures import draw
from assay.bench.measurement import Measurement, Record, from_json, to_json
from assay.bench.report import Report
from assay.bench.table import markdown
from assay.errors import UserError
from assay.training.atomic import write_durably


def create(output_dir: Path, bench: str) -> Path:
    """A new folder under `output_dir`/bench; two benches started in the same second get two."""
    moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    while True:
        path = output_dir / "bench" / f"{bench}-{moment}-{secrets.token_hex(3)}"
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        return path


def write(
    path: Path,
    bench: str,
    status: str,
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    record: Record,
    report: Report,
) -> None:
    """Everything that was found, raw and derived; the record first, so that a failing view cannot lose it."""
    result = {
        "bench": bench,
        "status": status,
        "config": dict(config),
        "environment": dict(environment),
        "facts": {**record.facts, **report.facts},
        "failures": list(report.failures),
        "lines": list(report.lines),
        "measurements": [to_json(m) for m in record.measurements],
    }
    text = json.dumps(result, indent=1, allow_nan=False, default=_plain)
    write_durably(path / "result.json", text.encode())
    (path / "table.md").write_text(markdown(report, f"bench={bench}"), encoding="utf-8")
    (path / "figures").mkdir(exist_ok=True)
    for figure in report.figures:
        draw(figure, path / "figures" / f"{figure.name}.png")
    _write_scalars(path, record)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"{type(value).__name__} does not belong into result.json: {value!r}")


def _write_scalars(path: Path, record: Record) -> None:
    """Medians into TensorBoard, over the size where there is one."""
    from torch.utils.tensorboard import SummaryWriter  # takes a second: only when there is something to write

    timed = [m for m in record.measurements if m.times and m.ok]
    if not timed:
        return
    with SummaryWriter(str(path)) as writer:
        for m in timed:
            task = m.task
            threads = f"-{task.threads}threads" if task.threads else ""
            tag = f"{task.what}/{task.by}-{task.device}{threads}-{task.precision}".replace(" ", "_").replace(
                ",", ""
            )
            writer.add_scalar(f"{tag}/seconds", m.median_s, task.size or 0)
            if m.tflops is not None:
                writer.add_scalar(f"{tag}/tflops", m.tflops, task.size or 0)


def read(name: str) -> tuple[dict[str, Any], list[Measurement]]:
    """A result and its measurements, from a file or a folder. Raises `UserError` where there is none."""
    path = Path(name)
    path = path / "result.json" if path.is_dir() else path
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        return result, [from_json(raw) for raw in result["measurements"]]
    except OSError as error:
        raise UserError(
            f"compare: {name} cannot be read: {error.strerror}\n  a result.json or its folder is needed"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise UserError(
            f"compare: {name} is no result of a bench\n  a result.json or its folder is needed"
        ) from None
