"""`report.html` of a run: it holds what it should, opens offline, and shows a user's text as text."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from assay.run import report
from assay.run.folder import RunFolder
from assay.training import figures
from tests.runs import result, train

NASTY = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("outputs"), "model.width=16")


def cells(text: str) -> list[list[str]]:
    rows = re.findall(r"<tr[^>]*>(<td>.*?)</tr>", text, re.DOTALL)
    return [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)] for row in rows]


def test_it_holds_result_classes_changes_environment_curves_and_pictures(folder: Path) -> None:
    text, found = (folder / "report.html").read_text(), result(folder)
    rows = dict(row for row in cells(text) if len(row) == 2)
    assert rows["test/accuracy"] == f"{found['metrics']['test/accuracy']:.2%}"
    assert rows["model.width"] == "16" and rows["steps"] == "40"
    assert {rows[str(digit)] for digit in range(10)} == {f"{x:.2%}" for x in found["class_accuracy"].values()}
    assert found["git"]["sha"] in rows["git"] and found["versions"]["torch"] in rows["versions"]
    assert found["command"].split()[0] in text
    assert text.count("data:image/png;base64,") == 3  # curves, confusion and mistakes
    assert text.index("Curves</h2>") < text.index('alt="curves"') < text.index('alt="confusion"')
    assert "width: 16" in text  # of the whole config


def test_it_opens_offline(folder: Path) -> None:
    text = (folder / "report.html").read_text()
    assert all(address.startswith("data:") for address in re.findall(r'(?:src|href)="([^"#]+)"', text))
    assert "@import" not in text


def test_what_a_user_typed_is_text(folder: Path, tmp_path: Path) -> None:
    copied = RunFolder(tmp_path / NASTY.replace("/", ""), result(folder))
    (copied.path / "figures").mkdir(parents=True)
    (copied.path / "figures" / "<b>.png").write_bytes(b"")
    (copied.path / "config.yaml").write_text(f"name: {NASTY}")
    copied.note(
        command=NASTY, overrides=[f"name={NASTY}"], class_accuracy={NASTY: 1.0}, device={"name": NASTY}
    )
    text = report.html(copied)
    assert "<script>alert" not in text and "<b>" not in text
    assert text.count("&lt;script&gt;alert(1)") == 7


def test_secrets_are_not_in_it_nor_in_the_event_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter2hunter2")
    folder = train(tmp_path, "logger=csv", "+logger.csv.prefix=${oc.env:MY_TOKEN}")
    files = [folder / "report.html", *folder.glob("events.out.tfevents.*")]
    assert len(files) == 2
    assert not [file for file in files if b"hunter2" in file.read_bytes()]
    assert "&lt;redacted&gt;" in files[0].read_text()


def test_a_report_that_fails_costs_a_warning_and_leaves_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: RunFolder) -> str:
        raise KeyError("metric")

    monkeypatch.setattr(report, "html", broken)
    folder = train(tmp_path)
    log = (folder / "log.txt").read_text()
    assert result(folder)["status"] == "completed" and not (folder / "report.html").exists()
    assert (
        "WARNING assay.run.run: pictures or report are not complete: KeyError" in log and "Traceback" in log
    )


def test_a_picture_that_fails_costs_a_warning_and_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("no axes")

    monkeypatch.setattr(figures, "confusion", broken)
    folder = train(tmp_path)
    assert result(folder)["status"] == "completed" and result(folder)["class_accuracy"]
    assert "are not complete: ZeroDivisionError: no axes" in (folder / "log.txt").read_text()
    assert "accuracy" in (folder / "report.html").read_text()


def test_a_first_ctrl_c_lets_the_pictures_of_a_whole_result_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = figures.confusion

    def interrupted(*args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(*args)

    monkeypatch.setattr(figures, "confusion", interrupted)
    folder = train(tmp_path)
    assert result(folder)["status"] == "completed"
    assert (folder / "report.html").is_file() and (folder / "figures" / "confusion.png").is_file()


def test_a_run_that_only_tests_has_one_too(folder: Path, tmp_path: Path) -> None:
    tested = train(tmp_path, "stages=[test]", f"ckpt={folder}")
    text = (tested / "report.html").read_text()
    assert "test accuracy" in text and 'alt="curves"' not in text
