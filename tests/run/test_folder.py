"""The run folder: one for each run, one process at a time."""

import errno
import json
import logging
import os
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from assay.config import saved
from assay.errors import UserError
from assay.run import folder as module
from assay.run.folder import RunFolder, record_failure
from assay.run.process import this_process
from assay.run.provenance import provenance
from assay.training.atomic import WriteError
from tests.runs import config

WRONG = (
    '{"status": "running", "process": null}',
    '{"status": "running", "process": {"pid": 1}}',
    '{"status": "completed", "process": {"pid": 1, "host": "a"}, "metrics": 3}',
    "[" * 100_000,
)


def made(path: Path, **values: Any) -> RunFolder:
    folder = RunFolder.create(path, config(), [])
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
    one, two = (RunFolder.create(tmp_path, config("name=mine"), []) for _ in range(2))
    assert one.path.name == "2026-01-02_03-04-05-mine-aaaaaa"
    assert two.path.name == "2026-01-02_03-04-05-mine-bbbbbb"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match=r"output_dir: .*out cannot be written to"):
        RunFolder.create(tmp_path / "out", config(), [])


@pytest.mark.parametrize("text", [None, "", "{", "[]", "{}", *WRONG])
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
    folder = RunFolder.create(tmp_path, config(), [])
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
    folder = RunFolder.create(tmp_path, config(), [])
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


def test_it_is_there_with_its_config_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", killed)
        RunFolder.create(tmp_path, config(), ["seed=0"])
    assert [path for path in (tmp_path / "runs").iterdir() if not path.name.startswith(".")] == []
    folder = RunFolder.create(tmp_path, config(), ["seed=0"])
    assert (folder.path / "config.yaml").is_file() and (folder.path / "overrides.yaml").is_file()


@pytest.mark.parametrize("name", ["checkpoints", "metrics.csv", "log.txt", ".lock", "result.json"])
def test_something_else_in_the_place_of_a_file(tmp_path: Path, name: str) -> None:
    folder = RunFolder.create(tmp_path, config(), [])
    if name == "checkpoints":
        (folder.path / name).touch()
    else:
        (folder.path / name).mkdir()
    with pytest.raises(UserError, match=rf"{name} is (a|no) folder"), folder.claimed():
        raise AssertionError("it was claimed")


def test_a_file_system_without_locks_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    folder = made(tmp_path)
    monkeypatch.setattr("fcntl.flock", refuse)
    with caplog.at_level(logging.WARNING), folder.claimed():
        folder.update(status="completed")
    assert "cannot be locked (No locks available)" in caplog.text


def test_a_failure_is_as_complete_as_any_result(tmp_path: Path) -> None:
    """The sweep's parent says it for a job whose process died, before or after its first word."""
    folder = RunFolder(tmp_path)
    record_failure(folder, config("seed=7"), ["seed=7"], "interrupted", "killed by SIGKILL")
    read = RunFolder.open(tmp_path)
    assert (read.status, read.result["error"], read.result["seed"]) == ("interrupted", "killed by SIGKILL", 7)
    assert read.result["seconds"]["total"] == 0.0 and read.result["overrides"] == ["seed=7"]
    read.update(epochs=3)
    record_failure(read, config("seed=7"), ["seed=7"], "failed", "again")
    assert (read.result["epochs"], read.result["status"]) == (3, "failed")


@pytest.mark.parametrize(
    ("words", "label"),
    [
        (
            ["optimizer=sgd", "model.width=64", "output_dir=/tmp/x", "ckpt=a/b"],
            "optimizer=sgd,model.width=64",
        ),
        (["stages=[test]", "+optimizer.eps=1e-8"], "stages=test,optimizer.eps=1e-8"),
        (["model.token=abc def", "data.root=/x", "name=mine"], "model.token=redacted_def"),
        (["../../x=1", "model.width=" + "9" * 200], "x=1,model.width=" + "9" * 58),
        ([], ""),
    ],
)
def test_a_folder_is_named_after_what_was_changed(words: list[str], label: str) -> None:
    assert saved.folder_label(words) == label


def test_new_code_of_ones_own_changes_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    monkeypatch.setattr("assay.run.provenance.PROJECT", tmp_path)
    (tmp_path / "my").mkdir()
    (tmp_path / "train.py").touch()
    git("init")
    git("add", ".")
    git("-c", "user.name=x", "-c", "user.email=x", "commit", "-m", "x")
    digests: list[str] = []
    for code in ("x = 1", "x = 2", "x = 1"):
        (tmp_path / "my" / "models.py").write_text(code)
        digests.append(provenance()["git"]["diff"])
    assert digests[0] == digests[2] != digests[1]
