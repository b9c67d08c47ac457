"""The run folder: one for each run, one process at a time."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assay.errors import UserError
from assay.run import folder as module
from assay.run.folder import RunFolder, provenance
from assay.run.process import this_process
from assay.training.atomic import WriteError


def made(path: Path, **values: Any) -> RunFolder:
    folder = RunFolder.create(path, None)
    folder.update(**{"status": "running", "process": this_process()} | values)
    return folder


def test_two_of_one_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even with the same id, drawn twice."""
    ids = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(module.secrets, "token_hex", lambda count: next(ids))

    class Still(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Still":
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(module, "datetime", Still)
    one, two = RunFolder.create(tmp_path, "mine"), RunFolder.create(tmp_path, "mine")
    assert one.path.name == "2026-01-02_03-04-05-mine-aaaaaa"
    assert two.path.name == "2026-01-02_03-04-05-mine-bbbbbb"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match=r"output_dir: .*out cannot be written to"):
        RunFolder.create(tmp_path / "out", None)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", '{"status": "running", "process": null}'])
def test_a_result_that_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=r"result\.json"):
        RunFolder.open(tmp_path)


def test_status(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert RunFolder.open(folder.path).status == "running"
    folder.update(process=this_process() | {"pid": 2**22 + 1})
    assert RunFolder.open(folder.path).status == "interrupted"
    folder.update(status="completed")
    assert RunFolder.open(folder.path).status == "completed"


def test_killed_before_its_first_word(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, None)
    folder.write_config({"seed": 0}, ["seed=0"])
    found = RunFolder.open(folder.path)
    assert found.status == "interrupted" and found.result == {}


def test_one_process_at_a_time(tmp_path: Path) -> None:
    folder = made(tmp_path)
    other, holder = RunFolder.open(folder.path), rf"still running \(process {this_process()['pid']} on "
    with folder.claimed(), pytest.raises(UserError, match=holder):
        other.claimed().__enter__()
    with RunFolder.open(folder.path).claimed():
        pass


def test_one_that_has_just_begun(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, None)
    with folder.claimed(), pytest.raises(UserError, match="held by another process that just began"):
        RunFolder(folder.path).claimed().__enter__()


def test_who_claims_cleans_up(tmp_path: Path) -> None:
    folder = made(tmp_path)
    (folder.path / ".result.json.99.tmp").touch()
    with folder.claimed():
        assert not list(folder.path.glob(".*.tmp"))


def test_a_result_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    folder = made(tmp_path)
    scratch = folder.path / f".result.json.{this_process()['pid']}.tmp"
    scratch.mkdir()  # no file can be opened by this name
    with pytest.raises((WriteError, OSError)):
        folder.update(status="completed")
    assert json.loads((folder.path / "result.json").read_text())["status"] == "running"


def test_where_a_result_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    found = provenance()
    assert found["versions"].keys() >= {"assay", "torch", "python"}
    assert found["process"]["pid"] == this_process()["pid"] and found["slurm_job"] == "12"
