"""Who begins when: jobs flow, and one whose result is known makes room while it draws its pictures."""

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from assay.run.folder import blank_result
from assay.run.process import this_process
from assay.run.signals import StopRequest
from assay.sweep.job import Ranking, SweepFolder
from assay.sweep.plan import plan
from assay.sweep.pool import Engine, Grid, Handle, Sweep
from assay.sweep.supervisor import Supervisor
from assay.sweep.worker import Task

LOOKS = 30  # at a process, before it has drawn its pictures


class Drawing:
    """An engine whose jobs have their result at once, and go on for a while."""

    def __init__(self) -> None:
        self.left: dict[str, int] = {}
        self.most = 0

    def start(self, tasks: Sequence[Task]) -> list[Handle]:
        for task in tasks:
            result = blank_result(task.job.config, task.job.overrides) | {"process": this_process()}
            task.folder.mkdir(parents=True)
            (task.folder / "result.json").write_text(json.dumps(result | {"status": "completed"}, indent=2))
            self.left[task.job.id] = LOOKS
        drawing = [count for count in self.left.values() if count]
        self.most = max(self.most, len(drawing))
        return [
            Handle(lambda id=task.job.id: self._ended(id), lambda _: None, lambda: None) for task in tasks
        ]

    def _ended(self, id: str) -> str | None:
        self.left[id] -= 1
        return "" if self.left[id] <= 0 else None


@pytest.mark.parametrize(("overlaps", "most"), [(True, 2), (False, 1)])
def test_a_job_that_draws_makes_room_for_one_more(tmp_path: Path, overlaps: bool, most: int) -> None:
    wanted = plan(["seed=0,1,2,3", f"output_dir={tmp_path}"])
    jobs, folder = Drawing(), SweepFolder(tmp_path / "sweeps" / "one")
    engine = Engine("here", 1, 1, jobs.start, overlaps=overlaps)
    by = Ranking(metric="val/accuracy", direction="max", directions={"accuracy": "max"})
    console = Console(file=StringIO())
    sweep = Sweep(wanted, Grid(wanted.jobs), folder, engine, StopRequest(), console, by)
    Supervisor(sweep, folder.entries(wanted.jobs), lambda entries: None).run()
    assert len(jobs.left) == 4 and set(jobs.left.values()) == {0}  # each begun once, and waited for
    assert jobs.most == most
