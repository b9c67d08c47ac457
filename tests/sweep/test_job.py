"""What is composed and validated before any job runs, and what a folder says of its jobs."""

import errno
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from assay.errors import UserError
from assay.run.folder import RunFolder
from assay.run.process import this_process
from assay.sweep.job import DIED, Entry, Listed, SweepFolder, read
from assay.sweep.plan import plan, ranking


def write_result(path: Path, status: str, **process: Any) -> None:
    path.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"status": status, "error": None, "process": {**this_process(), **process}})
    (path / "result.json").write_text(text)


def entry(path: Path) -> Entry:
    return read(Listed("1", "1", path.name, ()), path)


def test_a_job_runs_while_its_process_lives_and_died_if_that_said_nothing(tmp_path: Path) -> None:
    assert entry(tmp_path / "a").status == "pending"
    write_result(tmp_path / "a", "running")
    assert entry(tmp_path / "a").status == "running"
    write_result(tmp_path / "a", "running", pid=2**22 + 1)
    died = entry(tmp_path / "a")
    assert died.status == "interrupted" and (died.error or "").startswith(DIED)
    write_result(tmp_path / "a", "completed")
    assert entry(tmp_path / "a").status == "completed"


def test_a_damaged_result_counts_as_none(tmp_path: Path) -> None:
    write_result(tmp_path / "a", "completed")
    (tmp_path / "a" / "result.json").write_bytes(b"\x00\xff")
    assert entry(tmp_path / "a").status == "pending"


def test_the_lock_of_a_job_is_that_of_its_run_folder_and_its_holder_may_enter_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert not RunFolder(tmp_path).is_locked()
    with folder.claimed():
        with folder.claimed():
            assert RunFolder(tmp_path).is_locked()
        assert RunFolder(tmp_path).is_locked()
        with pytest.raises(UserError), RunFolder(tmp_path).claimed():
            pass
    assert not RunFolder(tmp_path).is_locked()


def test_a_file_system_without_locks_is_answered_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(self: FileLock) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(FileLock, "_acquire", no_locks)
    with (
        pytest.raises(UserError, match="has no locks: No locks available\n  set output_dir"),
        SweepFolder(tmp_path).locked(),
    ):
        pass


def test_no_secret_is_written_into_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush")
    wanted = plan(("name=hush-hush", "seed=0,1"))
    by = ranking(wanted.jobs[0].config, {"accuracy": "max"})
    SweepFolder(tmp_path).write_manifest(by, wanted.jobs, "python train.py -m name=hush-hush seed=0,1")
    text = (tmp_path / "sweep.json").read_text()
    assert "hush" not in text and text.count("<redacted>") == 3


def test_a_jobs_folder_is_found_by_its_id_whatever_keys_were_swept_when_it_was_made(tmp_path: Path) -> None:
    sweep, job = SweepFolder(tmp_path), plan(("seed=0,1",)).jobs[0]
    before = sweep.entries([job])[job.id].folder
    assert before == tmp_path / "jobs" / f"seed=0-{job.id}"
    grown = plan(("optimizer=adam,sgd", "seed=0,1")).jobs[0]
    assert grown.id == job.id and grown.name != job.name
    before.mkdir(parents=True)
    assert sweep.entries([grown])[job.id].folder == before


def test_a_job_is_handed_over_with_less_than_two_kilobytes() -> None:
    jobs = plan(("seed=range(0,3)", "optimizer=sgd,adam")).jobs
    assert max(len(pickle.dumps(job)) for job in jobs) < 2048


def test_a_zip_is_not_too_large_because_its_product_would_be() -> None:
    grid = ("seed=range(0,101)", "optimizer.lr=range(0.001,0.102,0.001)", "sweep.mode=zip")
    assert len(plan(grid).jobs) == 101


def test_a_problem_is_said_once_with_the_first_job_that_has_it() -> None:
    with pytest.raises(UserError) as refused:
        plan(("optimizer.lr=0.1", "seed=0,-1", "optimizer=sgd,adam"))
    assert "in job 3 of 4 (seed=-1 optimizer=sgd) and 1 more" in str(refused.value)
    assert str(refused.value).count("seed=-1:") <= 1
