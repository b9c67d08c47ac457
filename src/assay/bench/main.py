"""`bench.py` after its config was judged: measure, report, write, print."""

import dataclasses
import importlib
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from assay.bench import compare, folder
from assay.bench.device import Device
from assay.bench.hardware import busy, busy_percent, environment, find_devices
from assay.bench.measurement import Record
from assay.bench.report import Report
from assay.bench.session import Session
from assay.bench.table import show
from assay.config.schema import BenchConfig, bench_schema
from assay.config.judge import judge
from assay.errors import UserError

INTERRUPTED = 130  # exit code: 128 + SIGINT


class Bench(Protocol):
    """What a bench's module has."""

    def measure(self, config: Any, session: Session) -> None:
        """Put measurements and facts into the session."""
        ...

    def report(self, config: Any, record: Record) -> Report:
        """What the record says; also of one that Ctrl-C cut short."""
        ...


def main(composed: DictConfig, overrides: list[str]) -> int:
    """Run the bench that the config names, or compare two results; returns the exit code.

    Raises `UserError`.
    """
    config = judge(bench_schema(composed.bench), composed)
    screen = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160)
    if config.compare is not None:
        return _compare(config.compare[0], config.compare[1], config.fail_if_slower, screen)
    plain = cast(Mapping[str, Any], OmegaConf.to_container(composed, resolve=True))
    devices, absent = find_devices(config.devices)
    return _run(config, {**plain, "overrides": overrides}, devices, absent, screen)


def _run(
    config: BenchConfig,
    plain: Mapping[str, Any],
    devices: list[Device],
    absent: Mapping[str, str],
    screen: Console,
) -> int:
    bench = cast(Bench, importlib.import_module(f"assay.bench.{config.bench}"))
    around = environment(devices, absent)  # before the work: free memory and clocks as the bench found them
    status = "completed"
    with _progress(config.seconds) as tell:
        session = Session(devices, absent, config.seconds, config.seed, tell)
        try:
            bench.measure(config, session)
        except KeyboardInterrupt:
            status = "interrupted"
    if status == "interrupted" and not session.record.measurements:
        print("interrupted before anything was measured", file=sys.stderr)
        return INTERRUPTED
    around["busy_percent"].append(busy_percent())
    report = bench.report(config, session.record)
    report = dataclasses.replace(report, lines=(*report.lines, *busy(around)))
    path = folder.create(Path(config.output_dir), config.bench)
    folder.write(path, config.bench, status, plain, around, session.record, report)
    show(report, screen)
    screen.print(f"{status}: {path}", markup=False, highlight=False, soft_wrap=True)
    if status == "interrupted":
        return INTERRUPTED
    return exit_code(session.record, report)


def exit_code(record: Record, report: Report) -> int:
    """1 where a result was refused or a checked claim failed; what was skipped is no failure."""
    return int(bool(report.failures) or any(m.status == "invalid" for m in record.measurements))


@contextmanager
def _progress(seconds: float) -> Generator[Any]:
    """A bar on standard error that says what is being timed and how much of the budget is left."""
    columns = (
        BarColumn(),
        TextColumn("at most {task.fields[left]:.0f} s left"),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=seconds, left=seconds)

        def tell(text: str, left: float) -> None:
            progress.update(task, completed=seconds - left, description=text, left=left)

        yield tell


def _compare(before: str, after: str, fail_if_slower: bool, screen: Console) -> int:
    (old, old_rows), (new, new_rows) = folder.read(before), folder.read(after)
    rows = compare.compare(old_rows, new_rows)
    if not rows:
        raise UserError(f"compare: {before} and {after} have no row in common")
    left_out = len({m.task.key for m in (*old_rows, *new_rows)}) - len(rows)
    show(compare.report(rows, left_out, _differences(old["environment"], new["environment"])), screen)
    return int(fail_if_slower and any(row.verdict == "SLOWER" for row in rows))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What a reader must know before blaming the code for a difference."""
    pairs = {
        "CPU": (old["cpu"]["name"], new["cpu"]["name"]),
        "devices": (old["devices"], new["devices"]),
        "versions": (old["versions"], new["versions"]),
        "BLAS": (old["blas"], new["blas"]),
    }
    return [f"{name} differ: {a} and {b}" for name, (a, b) in pairs.items() if a != b]
