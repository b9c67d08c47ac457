"""`bench.py` after its config was validated: measure, keep the record, and say what is in it."""

import dataclasses
import importlib
import multiprocessing
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from assay.bench.device import Accelerator, Cpu, Device
from assay.bench.hardware import environment
from assay.bench.record import Record
from assay.bench.session import Session, load, save
from assay.bench.views import compared_rows, comparison
from assay.config.schema import BenchConfig
from assay.errors import Interrupted, RunFailed, UserError
from assay.report import Report, show
from assay.report import save as save_report
from assay.run.device import probe_cuda, why_no_cuda

CPU_ALONE = ("loader", "training")
SIGNAL_S = 2.0  # in which a Ctrl-C at the terminal reaches the process that measures by itself


class Bench(Protocol):
    """What a bench's module has; both functions are called with that bench's own config and record."""

    def measure(self, config: Any, session: Session) -> None:
        """Put measurements and details into the session."""
        ...

    def report(self, record: Record) -> Report:
        """What the record says; also of one that Ctrl-C cut short."""
        ...


def main(config: BenchConfig, overrides: Sequence[str]) -> None:
    """Run the bench that the config names, draw a result's tables and figures again, or compare two results.

    Raises `UserError`; `RunFailed` where a result was refused, a checked claim does not hold, or a row is
    slower and `fail_if_slower` is set; `Interrupted` at Ctrl-C, with what was measured on disk.
    """
    screen = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160)
    if config.compare is not None:
        return _compare(*config.compare, config.fail_if_slower, screen)
    if config.report is not None:
        record = load(config.report, "report")
        path = Path(config.report)
        return _publish(record, path if path.is_dir() else path.parent, screen)
    devices(config)  # refused, if so, before anything is written
    path = new_folder(Path(config.output_dir), config.bench)
    try:
        for _ in range(config.processes):
            (measure_once if config.processes == 1 else _in_fresh_process)(config, tuple(overrides), path)
    except Interrupted:
        if not path.exists():
            print("interrupted before anything was measured", file=sys.stderr)
        else:
            _publish(load(path, "report"), path, screen)
        raise
    record = dataclasses.replace(load(path, "report"), status="completed")
    save(record, path)
    _publish(record, path, screen)


def measure_once(config: BenchConfig, overrides: tuple[str, ...], path: Path) -> None:
    """Measure in this process and add to the record in the folder, which is made with the first rows.

    Raises `RunFailed` for a bug, with the traceback in `log.txt`.
    """
    found, absent = devices(config)
    plain = dataclasses.asdict(config)
    record = Record(
        environment=environment(found, absent), bench=config.bench, config=plain, overrides=overrides
    )
    if path.exists():
        record = load(path, "report")
    seconds = config.seconds / config.processes
    with _progress(seconds) as tell, _stoppable():
        session = Session(found, record, seconds, config.seed, lambda record: save(record, path), tell)
        try:
            bench_of(config.bench).measure(config, session)
        except Interrupted:
            if session.record.measurements:
                save(dataclasses.replace(session.record, status="interrupted"), path)
            raise
        except (UserError, RunFailed):
            raise
        except Exception as error:
            save(dataclasses.replace(session.record, status="failed", error=repr(error)), path)
            raise _bug(error, path) from error
    save(session.record, path)


def _bug(error: Exception, path: Path) -> RunFailed:
    """The failure that a person sees, with the traceback kept in the folder."""
    (path / "log.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return RunFailed(f"failed: {type(error).__name__}: {error}\nthe traceback is in {path / 'log.txt'}")


def _in_fresh_process(config: BenchConfig, overrides: tuple[str, ...], path: Path) -> None:
    """`measure_once` in a process of its own: memory layout and chosen kernels differ between processes."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        pid = pool.submit(os.getpid).result()
        measuring = pool.submit(measure_once, config, overrides, path)
        try:
            with _stoppable():
                measuring.result()
        except Interrupted as stop:
            if not wait([measuring], SIGNAL_S).done:  # the signal was for this process alone
                os.kill(pid, stop.signum)
            raise


@contextmanager
def _stoppable() -> Generator[None]:
    """Ctrl-C and SIGTERM raise `Interrupted`: at a KeyboardInterrupt Lightning ends the process itself."""
    process = os.getpid()

    def stop(signum: int, frame: FrameType | None) -> None:
        if os.getpid() == process:  # not in a loader's worker: the process that started it decides
            raise Interrupted(signum)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _publish(record: Record, path: Path, screen: Console) -> None:
    """Derive tables and figures from the record, save and show them. Raises `RunFailed`."""
    try:
        report = bench_of(record.bench).report(record)
        loaded = [m.task.key for m in record.measurements if any("under load" in text for text in m.warnings)]
        if loaded:
            line = f"{len(loaded)} rows were measured under load: their times are not to be relied on"
            report = dataclasses.replace(report, lines=(*report.lines, line))
        save(record, path, summary=report.summary, lines=report.lines, failures=report.failures)
        save_report(report, path, f"bench={record.bench}")
    except Exception as error:
        raise _bug(error, path) from error
    show(report, screen)
    screen.print(f"{record.status}: {path}", markup=False, highlight=False, soft_wrap=True)
    raise_failures(record, report)


def _compare(before: str, after: str, fail_if_slower: bool, screen: Console) -> None:
    """Show the verdicts. Raises `UserError`, and `RunFailed` where a row is slower and that is to fail."""
    old, new = load(before, "compare"), load(after, "compare")
    rows = compared_rows(old.measurements, new.measurements)
    if not rows:
        raise UserError(f"compare: {before} and {after} have no row in common")
    show(comparison(rows, old, new), screen)
    slower = [row.key for row in rows if row.verdict == "SLOWER"]
    if fail_if_slower and slower:
        raise RunFailed(f"fail_if_slower=true: {len(slower)} of {len(rows)} rows are SLOWER")


def raise_failures(record: Record, report: Report) -> None:
    """Raises `RunFailed` for refused results and failed claims; what was skipped is no failure."""
    refused = [f"{m.task.key}: {m.reason}" for m in record.measurements if m.status == "invalid"]
    if problems := [*report.failures, *refused]:
        more = [f"and {len(problems) - 3} more"] if len(problems) > 3 else []
        raise RunFailed("\n".join([*problems[:3], *more]))


def bench_of(name: str) -> Bench:
    return cast(Bench, importlib.import_module(f"assay.bench.{name}"))


def new_folder(output_dir: Path, bench: str) -> Path:
    """A path for a result, not made yet; two benches of the same second get two."""
    return output_dir / "bench" / f"{bench}-{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(3)}"


def devices(config: BenchConfig) -> tuple[list[Device], dict[str, str]]:
    """The devices to measure, and why a kind is absent. Raises `UserError` for one that cannot be used."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    kind = accelerator.type if accelerator else ""
    names = ["mps"] if kind == "mps" else [f"{kind}:{i}" for i in range(torch.accelerator.device_count())]
    absent = {} if kind else {"cuda": why_no_cuda(probe_cuda())}
    wanted = ["cpu", *names] if config.devices == "auto" else config.devices
    chosen = choose(wanted, ["cpu", *names], absent)
    if config.bench in CPU_ALONE:
        if config.devices != "auto" and chosen != ["cpu"]:
            others = ",".join(name for name in chosen if name != "cpu")
            raise UserError(
                f"devices=[{others}] cannot be used: bench={config.bench} runs on the CPU alone\n"
                "  allowed: devices=auto, devices=[cpu]"
            )
        chosen = ["cpu"]
    found: list[Device] = [Cpu() if name == "cpu" else Accelerator(names.index(name)) for name in chosen]
    return found, absent


def choose(wanted: Sequence[str], here: Sequence[str], absent: Mapping[str, str]) -> list[str]:
    """The names, each once. Raises `UserError` for one that is not here."""
    full = {name: f"{name}:0" if name in ("cuda", "xpu") else name for name in wanted}
    for name in wanted:
        if full[name] in here:
            continue
        kind = name.partition(":")[0]
        if kind not in ("cpu", "cuda", "mps", "xpu"):
            raise UserError(
                f"devices=[{name}] is no device\n"
                f"  allowed: cpu, cuda:0, cuda:1, ..., xpu:0, mps; on this machine: {', '.join(here)}"
            )
        reason = absent.get(kind, f"this machine has no {name}")
        raise UserError(f"devices=[{name}] cannot be used: {reason}\n  on this machine: {', '.join(here)}")
    return list(dict.fromkeys(full.values()))


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
