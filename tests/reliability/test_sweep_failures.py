"""R6: one job of four fails, as an exception, as `sys.exit()`, as a crash beneath Python."""

import os
from pathlib import Path

import pytest

from tests.sweep.sweeps import ROOT, results, sweep, table

LAUNCHERS = {"basic": (), "joblib": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")}
CASES = [("basic", "exception"), ("basic", "abort")]
MORE = [("basic", "exit"), ("joblib", "exception"), ("joblib", "exit"), ("joblib", "abort")]
REASONS = {"exception": "division by zero", "exit": "SystemExit", "abort": "died without a word"}


@pytest.mark.parametrize(
    ("launcher", "fault"), [*CASES, *(pytest.param(*case, marks=pytest.mark.full) for case in MORE)]
)
def test_the_others_complete_and_the_table_has_all_with_the_reason(
    tmp_path: Path, launcher: str, fault: str
) -> None:
    words = ("seed=0,1,2,3", "sweep.name=faulty", "trainer.max_epochs=1", *LAUNCHERS[launcher])
    faulty = {"PYTHONPATH": str(ROOT / "tests/sweep/faulty"), "BAD_SEED": "1", "FAULT": fault}
    failed = sweep(tmp_path, *words, env={**os.environ, **faulty})
    assert failed.returncode == 1, failed.stdout + failed.stderr
    rows = table(tmp_path / "sweeps" / "faulty")
    assert [row["status"] for row in rows[:3]] == ["completed"] * 3
    assert rows[3]["seed"] == "1"
    assert REASONS[fault] in rows[3]["reason"]
    assert "1 did not complete" in failed.stdout
    healed = sweep(tmp_path, *words)
    assert healed.returncode == 0
    assert [row["status"] for row in table(tmp_path / "sweeps" / "faulty")] == ["completed"] * 4


def test_after_a_failure_no_job_is_started_where_that_is_wanted(tmp_path: Path) -> None:
    words = ("seed=0,1,2", "sweep.name=stopped", "sweep.on_failure=stop", "trainer.max_epochs=1")
    faulty = {"PYTHONPATH": str(ROOT / "tests/sweep/faulty"), "BAD_SEED": "0", "FAULT": "exception"}
    assert sweep(tmp_path, *words, env={**os.environ, **faulty}).returncode == 1
    assert len(results(tmp_path / "sweeps" / "stopped")) == 1
