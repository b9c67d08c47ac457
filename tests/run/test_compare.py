import json
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from assay.config.load import load
from assay.config.saved import as_plain
from assay.errors import UserError
from assay.run.compare import compared, diff, reproduce, unlike
from assay.run.process import this_process


def run_folder(path: Path, words: list[str], accuracy: float = 0.9, weight: float = 1.0) -> Path:
    (path / "checkpoints").mkdir(parents=True)
    OmegaConf.save(as_plain(load("train", words).config), path / "config.yaml")
    result = {
        "status": "completed",
        "process": this_process(),
        "metrics": {"test/accuracy": accuracy},
        "seconds": {"total": accuracy * 7, "fit": None, "epochs": []},
        "versions": {"torch": "2.15.0"},
        "git": {"sha": "abc", "dirty": False},
    }
    (path / "result.json").write_text(json.dumps(result))
    (path / "metrics.csv").write_text(f"step,seconds,train/loss\n1,{accuracy},0.5\n")
    torch.save({"state_dict": {"w": torch.tensor([weight])}}, path / "checkpoints" / "last.ckpt")
    return path


def test_what_differs_is_found(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", ["optimizer.lr=0.1"])
    b = run_folder(tmp_path / "b", ["optimizer.lr=0.2", "+model.api_key=hidden"], accuracy=0.8)
    found = {(one.section, one.key): (one.first, one.second) for one in compared(a, b)}
    assert found == {
        ("config", "optimizer.lr"): (0.1, 0.2),
        ("config", "model.api_key"): ("-", "<redacted>"),
        ("metrics", "test/accuracy"): (0.9, 0.8),
    }


def test_it_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = run_folder(tmp_path / "a", ["optimizer.lr=0.1"])
    b = run_folder(tmp_path / "b", ["optimizer.lr=0.2"])
    diff(str(a), str(b))
    shown = capsys.readouterr().out
    assert "optimizer.lr" in shown and "0.1" in shown and "0.2" in shown


def test_the_last_bit_is_shown_where_it_is_all_that_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = (run_folder(tmp_path / f"{at}", [], accuracy=0.8 + at * 1e-13) for at in (0, 1))
    diff(str(a), str(b))
    assert "0.8000000000001" in capsys.readouterr().out


def test_what_is_printed_is_no_markup_and_is_not_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_folder(
        tmp_path / "a", ["stages=[fit,test]", "predict.images='x[/b]/*.png'"], accuracy=0.81234567891
    )
    b = run_folder(tmp_path / "b", ["stages=[test]", "optimizer=sgd"])
    diff(str(a), str(b))
    shown = {
        line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line.strip()
    }
    assert shown["config"] == ["stages", "[fit,", "test]", "[test]"]
    assert shown["optimizer._target_"] == ["torch.optim.Adam", "torch.optim.SGD"]
    assert shown["predict.images"] == ["x[/b]/*.png", "null"]
    assert shown["optimizer.momentum"] == ["-", "0.9"]
    assert shown["metrics"] == ["test/accuracy", "0.812346", "0.9"]


def test_equal_runs_are_bit_identical_whatever_the_clock_says(tmp_path: Path) -> None:
    a, b = run_folder(tmp_path / "a", []), run_folder(tmp_path / "b", [])
    assert unlike(a, b) == []


def test_one_bit_of_one_weight_is_seen(tmp_path: Path) -> None:
    a = run_folder(tmp_path / "a", [])
    b = run_folder(tmp_path / "b", [], weight=1.0 + 2**-23)
    assert unlike(a, b) == ["weights: w"]


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        diff(str(tmp_path), str(tmp_path))
    with pytest.raises(UserError, match="no run folder"):
        reproduce(str(tmp_path))


def test_a_run_that_failed_is_not_repeated(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a", [])
    (folder / "result.json").write_text(json.dumps({"status": "failed", "process": this_process()}))
    with pytest.raises(UserError, match="the run is failed"):
        reproduce(str(folder))
