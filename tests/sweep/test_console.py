"""What a person sees of a sweep on a terminal, while it runs."""

import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from assay.run.signals import StopRequest
from assay.sweep.console import View
from assay.sweep.job import Entry, Ranking, SweepFolder
from assay.sweep.plan import plan
from assay.sweep.pool import Grid, Sweep, local_engine


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    wanted = plan(["optimizer=sgd,adam", "model.width=8,16", "sweep.workers=2", f"output_dir={tmp_path}"])
    console = Console(file=StringIO(), force_terminal=True, width=70, color_system=None)
    by = Ranking(metric="val/accuracy", direction="max", directions={"accuracy": "max"})
    folder = SweepFolder(tmp_path / "sweeps" / "one")
    return Sweep(wanted, Grid(wanted.jobs), folder, local_engine(wanted), StopRequest(), console, by)


def with_status(entry: Entry, status: str, accuracy: float, seconds: float) -> Entry:
    result = {"status": status, "metrics": {"val/accuracy": accuracy}, "seconds": {"total": seconds}}
    return Entry(entry.id, entry.group, entry.name, entry.overrides, entry.folder, status, None, result)


def test_the_live_block_has_running_jobs_first_and_says_what_is_left(sweep: Sweep) -> None:
    before = sweep.folder.entries(sweep.plan.jobs)
    first, second, third, _ = before.values()
    now = before | {
        first.id: with_status(first, "completed", 0.75, 4.0),
        second.id: with_status(second, "running", 0.5, 0.0),
        third.id: with_status(third, "completed", 0.875, 6.0),
    }
    with View(sweep, before) as view:
        view.update(now)
        assert (
            view.summary(list(now.values())) == "2 of 4 done, 1 running, best so far 87.50%, about 5 s left"
        )
    screen = sweep.console.file
    assert isinstance(screen, StringIO)
    lines = [re.sub(r"\x1b\[\??\d+\w", "", line).rstrip() for line in screen.getvalue().splitlines()]
    assert lines[0] == "1/4  optimizer=sgd model.width=8  completed  val/accuracy 75.00%"
    block = [line for line in lines if line.split()[:1] in (["sgd"], ["adam"])]
    assert block[0].endswith("running") and all(line.endswith("completed") for line in block[1:3])
    assert all(len(line) <= 70 for line in lines)
