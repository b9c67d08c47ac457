"""R6: one job of four fails, as an exception, as `sys.exit()`, as a crash beneath Python."""

import os
from pathlib import Path

import pytest

from assay import PROJECT
from tests.sweep.sweeps import folders, results, sweep, table

CASES = [("1", "exception"), ("2", "abort")]
MORE = [("1", "exit"), ("2", "exception"), ("2", "exit"), ("1", "abort"), ("2", "kill")]
REASONS = {
    "exception": "division by zero",
    "exit": "SystemExit",
    "abort": "died without a word: killed by SIGABRT",
    "kill": "died without a word: killed by SIGKILL",
}


def faulty(fault: str, seed: int, **more: str) -> dict[str, str]:
    """The environment in which the fitting of one seed fails."""
    path = {"PYTHONPATH": str(PROJECT / "tests/sweep/faulty"), "BAD_SEED": str(seed), "FAULT": fault}
    return {**os.environ, **path, **more}


@pytest.mark.parametrize(
    ("workers", "fault"), [*CASES, *(pytest.param(*case, marks=pytest.mark.full) for case in MORE)]
)
def test_the_others_complete_and_the_table_has_all_with_the_reason(
    tmp_path: Path, workers: str, fault: str
) -> None:
    words = ("seed=0,1,2,3", "sweep.name=faulty", "trainer.max_epochs=1", f"sweep.workers={workers}")
    failed = sweep(tmp_path, *words, env=faulty(fault, 1))
    assert failed.returncode == 1, failed.stdout + failed.stderr
    folder = tmp_path / "sweeps" / "faulty"
    rows = table(folder)
    assert [row["status"] for row in rows[:3]] == ["completed"] * 3
    assert rows[3]["seed"] == "1"
    assert REASONS[fault] in rows[3]["reason"]
    assert "1 did not complete" in failed.stdout
    sound = set(next(iter(results(folder).values())))
    assert all(
        set(one) >= sound - {"resumed", "device", "data", "best", "last"} for one in results(folder).values()
    )
    healed = sweep(tmp_path, *words)
    assert healed.returncode == 0
    assert [row["status"] for row in table(folder)] == ["completed"] * 4


def test_a_job_whose_process_is_killed_once_is_tried_again_by_the_same_command(tmp_path: Path) -> None:
    words = ("seed=0,1", "sweep.name=once", "trainer.max_epochs=1", "sweep.workers=2")
    done = sweep(tmp_path, *words, env=faulty("kill", 1, ONCE=str(tmp_path / "struck")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "struck").exists()
    assert [row["status"] for row in table(tmp_path / "sweeps" / "once")] == ["completed"] * 2


def test_after_a_failure_no_job_is_started_where_that_is_wanted_and_none_is_run_again(tmp_path: Path) -> None:
    words = ("seed=0,1,2", "sweep.name=stopped", "trainer.max_epochs=1")
    env, folder = faulty("exception", 0), tmp_path / "sweeps" / "stopped"
    assert sweep(tmp_path, *words, "sweep.on_failure=stop", env=env).returncode == 1
    assert len(results(folder)) == 1
    rest = sweep(tmp_path, *words, "sweep.retry=none")
    assert rest.returncode == 1
    assert "1 failed and left so (sweep.retry=none)" in rest.stdout
    assert sorted(row["status"] for row in table(folder)) == ["completed", "completed", "failed"]
    assert (
        next(path for path in folders(folder).values() if path.name.startswith("seed=0")) / "log.txt"
    ).exists()
