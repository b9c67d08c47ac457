"""`bench.py` after its config was validated: measure, keep the record, and say what is in it."""

import dataclasses
import importlib
import multiprocessing
import os
import secrets
import sys
import traceback
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from datetime import datetime
from functools import partial
from pathlib import Path
from types import ModuleType

import torch
from rich.console import Console

from assay.bench.device import Device
from assay.bench.hardware import environment
from assay.bench.record import Record, load, save
from assay.bench.session import Session
from assay.bench.views import compared_rows, comparison, complete
from assay.config.schema import BenchConfig
from assay.errors import Interrupted, RunFailed, UserError
from assay.report import Report
from assay.report import save as save_report
from assay.run.device import probe_cuda, why_no_cuda
from assay.run.failures import explained
from assay.run.signals import stop_requests
from assay.terminal import show

CPU_ALONE = ("loader", "training", "overhead")
SIGNAL_S = 2.0  # in which a Ctrl-C at the terminal reaches the process that measures by itself


def main(config: BenchConfig, overrides: Sequence[str]) -> None:
    """Run the bench that the config names, draw a result's tables and figures again, or compare two results.

    Raises `UserError`; `RunFailed` where a result was refused, a checked claim does not hold, or a row is
    SLOWER and that is to fail; `Interrupted` at Ctrl-C, with what was measured on disk.
    """
    screen = Console(soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 160)
    if config.compare is not None:
        return _compare(*config.compare, config.fail_if_slower, screen)
    if config.report is not None:
        path = Path(config.report)
        return _publish(load(path, "report"), path if path.is_dir() else path.parent, screen)
    used, absent = devices(config)  # refused, if so, before anything is written
    path = new_folder(Path(config.output_dir), config.bench)
    around, plain = environment(used, absent), dataclasses.asdict(config)
    record = Record(environment=around, bench=config.bench, config=plain, overrides=tuple(overrides))
    try:
        with stop_requests():
            for _ in range(config.processes):
                record = (_measured if config.processes == 1 else _in_fresh_process)(config, record, path)
    except Interrupted:
        if path.exists():
            _publish(dataclasses.replace(load(path, "report"), status="interrupted"), path, screen)
        else:
            print("interrupted before anything was measured", file=sys.stderr)
        raise
    except (UserError, RunFailed):
        raise
    except Exception as error:
        record = load(path, "report") if path.exists() else record
        save(dataclasses.replace(record, status="failed", error=repr(error)), path)
        raise _bug(error, path) from error
    _publish(dataclasses.replace(record, status="completed"), path, screen)


def _measured(config: BenchConfig, record: Record, path: Path) -> Record:
    """The record with what this process has measured; it is in the folder from the first rows on."""
    used, seconds, bench = devices(config)[0], config.seconds / config.processes, bench_of(config.bench)
    with stop_requests(), Console(stderr=True).status("", refresh_per_second=2) as status:
        session = Session(used, record, seconds, config.seed, partial(save, folder=path), status.update)
        bench.measure(config, session)
    return record


def _in_fresh_process(config: BenchConfig, record: Record, path: Path) -> Record:
    """`_measured` in a process of its own: memory layout and chosen kernels differ between processes."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pid = pool.submit(os.getpid).result()
        measuring = pool.submit(_measured, config, record, path)
        try:
            return measuring.result()
        except Interrupted as stop:
            if not wait([measuring], SIGNAL_S).done:  # the signal was for this process alone
                os.kill(pid, stop.signum)
            raise


def _bug(error: Exception, path: Path) -> RunFailed:
    (path / "log.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return RunFailed(explained(error, path / "log.txt"))


def _publish(record: Record, path: Path, screen: Console) -> None:
    """Save the record, derive tables and figures from it, save and show them. Raises `RunFailed`."""
    save(record, path)
    try:
        report = complete(bench_of(record.bench).report(record), record)
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
    slower = sum(row.verdict == "SLOWER" for row in rows)
    if fail_if_slower and slower:
        raise RunFailed(f"fail_if_slower=true: {slower} of {len(rows)} rows are SLOWER")


def raise_failures(record: Record, report: Report) -> None:
    """Raises `RunFailed` for refused results and failed claims; what was skipped is no failure."""
    refused = [f"{m.task.key}: {m.reason}" for m in record.measurements if m.status == "invalid"]
    if problems := [*report.failures, *refused]:
        more = [f"and {len(problems) - 3} more"] if len(problems) > 3 else []
        raise RunFailed("\n".join([*problems[:3], *more]))


def bench_of(name: str) -> ModuleType:
    """The module with `measure(config, session)` and `report(record)`, which Ctrl-C may have cut short."""
    return importlib.import_module(f"assay.bench.{name}")


def new_folder(output_dir: Path, bench: str) -> Path:
    """A path for a result, not made yet; two benches of the same second get two."""
    return output_dir / "bench" / f"{bench}-{datetime.now():%Y-%m-%d_%H-%M-%S}-{secrets.token_hex(3)}"


def devices(config: BenchConfig) -> tuple[list[Device], dict[str, str]]:
    """The devices to measure, and why a kind is absent. Raises `UserError` for one that cannot be used."""
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    here, absent = ["cpu"], dict[str, str]()
    if config.bench in CPU_ALONE:
        absent |= dict.fromkeys(("cuda", "xpu", "mps"), f"bench={config.bench} runs on the CPU alone")
    elif accelerator is None:
        absent["cuda"] = why_no_cuda(probe_cuda())
    elif accelerator.type == "mps":
        here.append("mps")
    else:
        here += [f"{accelerator.type}:{i}" for i in range(torch.accelerator.device_count())]
    chosen = choose(here if config.devices == "auto" else config.devices, here, absent)
    return [Device(name) for name in chosen], absent


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
