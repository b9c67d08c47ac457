import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from assay import PROJECT
from assay.config import components
from assay.config.components import TargetError, build, component_problems, resolve_target
from assay.config.load import check_components, load, trial_problems
from assay.config.saved import as_plain
from assay.errors import UserError
from assay.run.earlier import find_earlier

from .dangerous import DANGEROUS

NAMES = [f"{at}-{node['_target_']}" for at, node in enumerate(DANGEROUS)]


def test_there_are_forty() -> None:
    assert len(DANGEROUS) == len(set(map(json.dumps, DANGEROUS))) == 40


@pytest.mark.parametrize("node", DANGEROUS, ids=NAMES)
def test_a_dangerous_target_is_refused_with_its_reason(node: dict[str, Any]) -> None:
    problems = component_problems(node, "model")
    assert any("is refused: it is" in problem.what for problem in problems), problems


@pytest.mark.parametrize("node", DANGEROUS, ids=NAMES)
def test_the_door_refuses_it_too(
    node: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is refused"):
        build(node, "model", in_shape=(1, 28, 28), out_shape=(10,))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("node", DANGEROUS[::5], ids=NAMES[::5])
def test_a_run_folder_is_data(node: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    OmegaConf.save(as_plain(load("train", []).config) | {"model": node}, tmp_path / "config.yaml")
    with pytest.raises(UserError, match="is refused"):
        check_components(load("train", [f"ckpt={tmp_path}", "stages=[test]"], find_earlier).config)


def test_nothing_is_imported_for_a_target_that_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "stranger.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert component_problems({"_target_": "stranger.Model"}, "model")
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
    assert "hydra.callbacks={y: {_target_: subprocess.run, args: [touch, pwned]}} is refused" in done.stderr
    (folder / "evil.yaml").write_text(
        "# @package _global_\ncallbacks:\n  x:\n    _target_: os.system\n    command: touch pwned\n"
    )
    with pytest.raises(UserError, match=r"callbacks\.x\._target_=os\.system is refused"):
        words = [f"hydra.searchpath=[file://{tmp_path}]", "experiment=evil"]
        check_components(load("train", words).config)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["experiment"]


def test_real_code_is_found_by_any_of_its_names() -> None:
    assert resolve_target("torch.optim.Adam") is torch.optim.Adam
    assert resolve_target("torch.optim.adam.Adam") is torch.optim.Adam


def test_a_misspelt_class_is_near_the_right_one() -> None:
    with pytest.raises(TargetError) as caught:
        resolve_target("torch.optim.Adma")
    assert "torch.optim.Adam" in caught.value.near


@pytest.mark.parametrize(
    "target", ["", "Adam", "torch.optim.", "torch.optim..Adam", "../x", 3, ["a"], {"a": 1}]
)
def test_a_target_is_a_dotted_name(target: object) -> None:
    with pytest.raises(TargetError):
        resolve_target(target)


def test_a_prefix_in_code_lets_code_of_ones_own_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text("import torch\nclass Net(torch.nn.Module):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TargetError, match="prefix"):
        resolve_target("my_models.Net")
    monkeypatch.setattr(components, "PREFIXES", (*components.PREFIXES, "my_models."))
    assert resolve_target("my_models.Net").__name__ == "Net"


ADAM = {"_target_": "torch.optim.Adam", "lr": 0.01, "betas": [0.9, 0.99]}
SHAPE = (1, 28, 28)


def test_what_the_signature_knows_is_supplied() -> None:
    network = build(load("train", []).config.model, "model", in_shape=SHAPE, out_shape=(7,), seed=3)
    assert network.linear2.out_features == 7


def test_the_optimizer_gets_the_parameters_themselves() -> None:
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = build(ADAM, "optimizer", params=[weight])
    assert optimizer.param_groups[0]["params"][0] is weight
    assert optimizer.param_groups[0]["betas"] == [0.9, 0.99] or optimizer.param_groups[0]["betas"] == (
        0.9,
        0.99,
    )


def test_no_target_is_nothing() -> None:
    assert build({"_target_": None}, "scheduler", optimizer=None, total_steps=1) is None
    assert not component_problems({"_target_": None}, "scheduler")
    assert component_problems({"_target_": None}, "model")


def test_a_config_may_set_the_classes_but_not_the_shape() -> None:
    node = {"_target_": "assay.models.mlp.MNISTClassifier", "out_shape": [12]}
    assert build(node, "model", in_shape=SHAPE, out_shape=(10,)).linear2.out_features == 12
    (problem,) = component_problems(node | {"in_shape": [3, 3]}, "model")
    assert "Assay itself supplies in_shape" in problem.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"lr": "abc"}, "optimizer.lr=abc is not allowed: a number"),
        ({"epss": 1e-7}, "did you mean optimizer.eps=1e-07?"),
        ({"betas": [0.9]}, "a list of 2 values"),
        ({"params": []}, "Assay itself supplies params"),
        ({"_partial_": True}, "optimizer._partial_=true is not allowed"),
        ({"_args_": [1]}, "optimizer._args_=[1] is not allowed"),
        ({"_target_": "torch.optim.Adma"}, "did you mean torch.optim.Adam"),
        ({"_target_": "torch.nn.Linear"}, "Linear is no torch.optim.optimizer.Optimizer"),
        ({"lr": float("nan")}, "optimizer.lr=nan"),
    ],
)
def test_a_wrong_key_or_value_is_named(changes: dict[str, object], says: str) -> None:
    assert says in "\n".join(problem.text for problem in component_problems(ADAM | changes, "optimizer"))


def test_a_range_that_only_the_constructor_knows() -> None:
    with pytest.raises(
        UserError, match=r"^optimizer\.lr=-1: torch\.optim\.Adam refuses its values"
    ) as caught:
        build(ADAM | {"lr": -1}, "optimizer", params=[torch.nn.Parameter(torch.zeros(2))])
    assert "Invalid learning rate: -1" in str(caught.value)
    plain = as_plain(load("train", ["optimizer.lr=-1"]).config)
    assert "Invalid learning rate: -1" in trial_problems(plain)[0].text


def test_a_bug_in_code_of_ones_own_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(in_shape: tuple[int, ...]) -> torch.nn.Module:
        raise TypeError("unsupported operand")

    broken.__module__, broken.__qualname__ = "assay.models.mlp", "broken"
    monkeypatch.setattr("assay.models.mlp.broken", broken, raising=False)
    with pytest.raises(TypeError, match="unsupported operand"):
        build({"_target_": "assay.models.mlp.broken"}, "model", in_shape=SHAPE)


def test_the_exceptions_own_text_is_kept() -> None:
    node = {"_target_": "assay.models.cnn.CNN"}
    with pytest.raises(UserError, match=r"a CNN needs images of shape \(channels, height, width\)"):
        build(node, "model", in_shape=(3,), out_shape=(2,))


def test_a_missing_argument_is_said_with_the_word_that_adds_it() -> None:
    (problem,) = component_problems({"_target_": "torch.optim.lr_scheduler.StepLR"}, "scheduler")
    assert "scheduler.step_size is missing" in problem.what
    assert "+scheduler.step_size=" in problem.text


def test_a_class_of_torch_works_as_a_schedule() -> None:
    optimizer = build(ADAM, "optimizer", params=[torch.nn.Parameter(torch.zeros(2))])
    node = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2}
    assert build(node, "scheduler", optimizer=optimizer, total_steps=9).step_size == 2
