import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from assay.config import allowed
from assay.config.compose import PROJECT, compose
from assay.config.slots import build, judge_slot
from assay.config.stored import stored_config
from assay.errors import UserError

from .dangerous import DANGEROUS

NAMES = [f"{at}-{node['_target_']}" for at, node in enumerate(DANGEROUS)]


def test_there_are_forty() -> None:
    assert len(DANGEROUS) == len(set(map(json.dumps, DANGEROUS))) == 40


@pytest.mark.parametrize("node", DANGEROUS, ids=NAMES)
def test_a_dangerous_target_is_refused_with_its_reason(node: dict[str, Any]) -> None:
    problems = judge_slot(node, "model")
    assert any("is refused: it is" in problem.what for problem in problems), problems


@pytest.mark.parametrize("node", DANGEROUS, ids=NAMES)
def test_the_door_refuses_it_too(
    node: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is refused"):
        build(node, "model", in_shape=(1, 28, 28), num_classes=10)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("node", DANGEROUS[::5], ids=NAMES[::5])
def test_a_run_folder_is_data(node: dict[str, Any], tmp_path: Path) -> None:
    stored: Any = OmegaConf.to_container(compose("train", []), resolve=True)
    OmegaConf.save(stored | {"model": node}, tmp_path / "config.yaml")
    with pytest.raises(UserError, match="is refused"):
        stored_config(tmp_path, [f"ckpt={tmp_path}", "stages=[test]"])


def test_nothing_is_imported_for_a_target_that_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert judge_slot({"_target_": "stranger.Model"}, "model")
    assert "stranger" not in sys.modules


@pytest.mark.parametrize(
    "words",
    [
        "model._target_=os.system",
        "+hydra.callbacks.x._target_=os.system",
        "hydra.launcher._target_=os.system",
        "hydra.sweeper._target_=os.system",
        "+hydra.job_logging.handlers.x.class=subprocess.Popen",
        "+hydra.job_logging.handlers.x.stream=ext://os.environ",
        "+hydra.job.env_set.LD_PRELOAD=evil.so",
        "hydra.searchpath=[pkg://stranger]",
        "hydra.run.dir=/tmp/elsewhere",
        "+callbacks.x={_target_:os.system,command:true}",
        "+logger.x={_target_:builtins.open,file:pwned}",
        "scheduler._target_=builtins.eval",
        "data._target_=subprocess.run",
        "optimizer._target_=torch.load",
    ],
)
def test_the_command_line_cannot_name_code(
    words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from assay.cli import train

    monkeypatch.setattr(sys, "argv", ["train.py", words])
    assert train() == 2
    assert "is refused" in capsys.readouterr().err


def test_an_experiment_file_cannot_name_code(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    folder.mkdir()
    (folder / "evil.yaml").write_text(
        "# @package _global_\ncallbacks:\n  x:\n    _target_: os.system\n    command: touch pwned\n"
        "hydra:\n  callbacks:\n    y:\n      _target_: subprocess.run\n      args: [touch, pwned]\n"
    )
    done = subprocess.run(
        [sys.executable, str(PROJECT / "train.py"), "--config-dir", str(tmp_path), "experiment=evil"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HYDRA_FULL_ERROR": "0"},
    )
    assert done.returncode == 2
    assert "evil.yaml:4: callbacks.x._target_=os.system is refused" in done.stderr
    assert "evil.yaml:9: hydra.callbacks.y._target_=subprocess.run is refused" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment"]


def test_real_code_is_found_by_any_of_its_names() -> None:
    import torch

    assert allowed.resolve("torch.optim.Adam") is torch.optim.Adam
    assert allowed.resolve("torch.optim.adam.Adam") is torch.optim.Adam


def test_a_misspelt_class_is_near_the_right_one() -> None:
    with pytest.raises(allowed.RefusedError) as caught:
        allowed.resolve("torch.optim.Adma")
    assert caught.value.near == ("torch.optim.Adam",)


@pytest.mark.parametrize(
    "target", ["", "Adam", "torch.optim.", "torch.optim..Adam", "../x", 3, ["a"], {"a": 1}]
)
def test_a_target_is_a_dotted_name(target: object) -> None:
    with pytest.raises(allowed.RefusedError):
        allowed.resolve(target)


def test_a_prefix_in_code_lets_code_of_ones_own_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text("import torch\nclass Net(torch.nn.Module):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(allowed.RefusedError, match="prefix"):
        allowed.resolve("my_models.Net")
    monkeypatch.setattr(allowed, "PREFIXES", (*allowed.PREFIXES, "my_models."))
    assert allowed.resolve("my_models.Net").__name__ == "Net"
