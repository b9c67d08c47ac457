"""`bench=overhead`: what a user waits for beside the training itself.

Whole processes, as typed, take turns: Python that only imports torch and Lightning, `train.py` alone and
beside a busy process, a sweep of two jobs and one of several. The bare loop trains between them, in this one.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from assay import PROJECT
from assay.bench.measure import Job, Rule
from assay.bench.record import Record, Task
from assay.bench.session import Session
from assay.bench.statistics import Ratio, median_interval, paired_ratio
from assay.bench.training import bare
from assay.bench.views import rows
from assay.config.load import load
from assay.config.schema import OverheadConfig
from assay.report import Report, seconds
from assay.run.report import read_curves

IMPORTS = ("-c", "import torch, pytorch_lightning")
BUSY = ("-c", "while True: pass")
FEW = "sweep of two jobs"  # it has already all that is made once a sweep, such as the table over seeds
BESIDE = "beside a busy process"
Parts = Mapping[str, float]  # seconds by name; "call" is the whole


def measure(config: OverheadConfig, session: Session) -> None:
    """Everything once a round."""
    session.details["jobs"] = config.jobs
    common = ("device=cpu", "scheduler=none")
    words = (*common, f"seed={config.seed}", f"trainer.max_epochs={config.epochs}")
    train = load("train", ["device.threads=1", *words]).config
    calls: dict[tuple[str, str], Callable[[], Callable[[], Parts]]] = {
        ("imports", "python"): lambda: _imports,
        ("run", "train.py"): lambda: partial(whole_run, words),
        ("run", f"train.py, {BESIDE}"): lambda: partial(whole_run, words, _busy),
        (FEW, "train.py -m"): lambda: partial(_sweep, 2, common),
        (f"sweep of {config.jobs} jobs", "train.py -m"): lambda: partial(_sweep, config.jobs, common),
        ("epoch", "bare loop"): lambda: partial(_epoch, bare(train)),
    }

    def job(what: str, by: str, prepare: Callable[[], Callable[[], Parts]]) -> Job:
        task = Task(what, by, "cpu", threads=1 if what == "epoch" else None)
        tells = "sweep" not in what  # which ends before all of its processes have
        return Job(task, session.devices[0], prepare, own_s=lambda parts: parts, tells_load=tells)

    jobs = [job(*name, call) for name, call in calls.items()]
    session.measure(jobs, session.left, Rule.rounds(config.repeats))


@contextmanager
def _busy() -> Generator[None]:
    with subprocess.Popen([sys.executable, *BUSY]) as process:
        try:
            yield
        finally:
            process.kill()


def _seconds(*words: str) -> float:
    """How long a whole Python process takes; raises `CalledProcessError` where it fails."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def _imports() -> Parts:
    return {"call": _seconds(*IMPORTS)}


def whole_run(words: tuple[str, ...], beside: Callable[[], Any] = nullcontext) -> Parts:
    """A run's start, up to its first step, its median epoch, and its end, from the last validation on."""
    with tempfile.TemporaryDirectory() as folder:
        with beside():
            whole = _seconds(str(PROJECT / "train.py"), *words, f"output_dir={folder}")
        (file,) = Path(folder).glob("runs/*/result.json")
        took = json.loads(file.read_text(encoding="utf-8"))["seconds"]
        trained = max(read_curves(file.parent, ["seconds"])["seconds"].values())
    end = whole - took["start"] - trained
    return {"call": whole, "start": took["start"], "epoch": median(took["epochs"]), "end": end}


def _sweep(jobs: int, words: tuple[str, ...]) -> Parts:
    """A sweep of jobs of one epoch, and what of it is neither fitting nor testing."""
    with tempfile.TemporaryDirectory() as folder:
        where = (f"output_dir={folder}", "sweep.name=overhead", "sweep.workers=1")
        grid = ("trainer.max_epochs=1", f"seed=range({jobs})")
        whole = _seconds(str(PROJECT / "train.py"), "-m", *words, *grid, *where)
        files = list(Path(folder).glob("sweeps/overhead/jobs/*/result.json"))
        took = [json.loads(file.read_text(encoding="utf-8"))["seconds"] for file in files]
    return {"call": whole, "outside": whole - sum(one["fit"] + one["test"] for one in took)}


def _epoch(fit: Callable[[], Any]) -> Parts:
    return {"call": median(fit().epoch_s)}


def report(record: Record) -> Report:
    """What a user waits for, a line each."""
    parts = {(m.task.what, m.task.by): {"call": m.times, **m.parts_s} for m in record.ok()}
    alone, beside = parts.get(("run", "train.py"), {}), parts.get(("run", f"train.py, {BESIDE}"), {})
    imports, loop = parts.get(("imports", "python"), {}), parts.get(("epoch", "bare loop"), {})
    few, many = (
        parts.get((what, "train.py -m"), {}) for what in (FEW, f"sweep of {record.details['jobs']} jobs")
    )
    lines: list[str] = []
    if alone and imports:
        said = paired_ratio(alone["start"], imports["call"])
        lines.append(f"the first step begins {said} times as late as torch and Lightning are imported")
    if alone and loop:
        said = paired_ratio(alone["epoch"], loop["call"])
        lines.append(f"an epoch takes {said} times the bare loop's")
    if alone and beside:
        said = paired_ratio(beside["epoch"], alone["epoch"])
        lines.append(f"{BESIDE}, an epoch takes {said} times as long as alone")
    if alone:
        lines.append(f"from the last validation to the prompt: {_around(alone['end'])}, the test included")
    if few and many:
        further = [
            (b - a) / (record.details["jobs"] - 2)
            for a, b in zip(few["outside"], many["outside"], strict=False)
        ]
        lines.append(f"a further job of a sweep, beside fitting and testing: {_around(further)}")
    extra = {
        name: lambda m, name=name: seconds(median(m.parts_s[name])) if name in m.parts_s else ""
        for name in ("start", "epoch", "end", "outside")
    }
    return Report(tuple(lines), (rows("overhead", record.measurements, extra),))


def _around(times: list[float]) -> str:
    return f"{Ratio(median(times), median_interval(times), f'{len(times)} times: no interval')} s"
