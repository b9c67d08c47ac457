"""What a sweep's folder says of its jobs, without running any."""

import json
from pathlib import Path

import pytest

from assay.run.process import this_process
from assay.sweep.folder import DIED, SweepFolder
from assay.sweep.jobs import compose_jobs


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    (tmp_path / "jobs" / "a").mkdir(parents=True)
    return SweepFolder(tmp_path)


def write_result(folder: SweepFolder, status: str) -> None:
    text = json.dumps({"status": status, "error": None, "process": this_process()})
    (folder.job("a") / "result.json").write_text(text)


def test_each_session_is_stopped_by_itself(folder: SweepFolder) -> None:
    folder.stop("first")
    assert folder.is_stopped("first") and not folder.is_stopped("second")
    folder.stop("second")
    assert folder.is_stopped("first") and folder.is_stopped("second")


def test_a_job_is_running_while_it_is_held_and_dead_if_it_said_nothing(
    folder: SweepFolder,
) -> None:
    assert folder.state("a").status == "pending"
    with folder.hold("a", "mine") as mine:
        assert mine
        write_result(folder, "running")
        assert folder.state("a").status == "running"
        with folder.hold("a", "other") as too:
            assert not too
    found = folder.state("a")
    assert (found.status, found.died) == ("interrupted", True) and (found.error or "").startswith(DIED)
    write_result(folder, "completed")
    assert folder.state("a").status == "completed"


def test_no_secret_is_written_into_the_manifest(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hush-hush")
    jobs = compose_jobs(("name=hush-hush", "seed=0,1"))
    folder.write_manifest(jobs, "python train.py -m name=hush-hush seed=0,1")
    text = (folder.path / "sweep.json").read_text()
    assert "hush" not in text and text.count("<redacted>") == 3
