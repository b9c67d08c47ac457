"""A stranger's YAML never runs code and never touches a file, wherever it comes from."""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.processes import start
from tests.regression import Done, Shell, contents

HOSTILE = Path(__file__).with_name("hostile.yaml").read_text()
NAMES = list(yaml.safe_load(HOSTILE))
ENVIRONMENT = {
    "TARGET": "numpy.load",
    "NODE": "{_target_: numpy.load, file: '{trap}/evil.npy', allow_pickle: true}",
    "WRITER": "logging.FileHandler",
    "FILE": "{canary}",
}
ALIVE = "alive"
ATTACK = "import pathlib\npathlib.Path({canary!r}).write_text('')\n"


class Attack:
    """Unpickling it empties the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.canary, "")


@pytest.fixture
def canary(shell: Shell) -> Path:
    """A file of the person's, and in `trap` beside it what would empty it."""
    canary, trap = shell.folder / "canary", shell.folder / "trap"
    canary.write_text(ALIVE)
    trap.mkdir()
    attack = ATTACK.format(canary=str(canary))
    (trap / "evil.py").write_text(attack)
    (trap / "hubconf.py").write_text(f"{attack}def evil(**_):\n    pass\n")
    np.save(trap / "evil.npy", np.array([Attack(canary)], dtype=object), allow_pickle=True)
    return canary


def filled(text: str, canary: Path) -> str:
    return text.replace("{trap}", str(canary.with_name("trap"))).replace("{canary}", str(canary))


def environment(canary: Path) -> dict[str, str]:
    return {name: filled(text, canary) for name, text in ENVIRONMENT.items()}


def hostile(name: str, canary: Path) -> dict[str, Any]:
    return yaml.safe_load(filled(HOSTILE, canary))[name]


def experiment(name: str, canary: Path) -> list[str]:
    """The words that take the hostile file as an experiment; plugins come into play in sweeps alone."""
    conf = canary.with_name("conf")
    (conf / "experiment").mkdir(parents=True)
    text = yaml.safe_dump(hostile(name, canary))
    (conf / "experiment" / "evil.yaml").write_text(f"# @package _global_\n{text}")
    sweep = ["-m", "seed=0,1"] if name.startswith(("launcher", "sweeper")) else []
    return ["--config-dir", str(conf), *sweep, "experiment=evil", "data=random", "trainer.max_steps=1"]


def check(done: Done, canary: Path) -> None:
    assert canary.is_file() and canary.read_text() == ALIVE, done.screen
    assert done.refused(), done.screen
    assert len(done.screen.splitlines()) <= 5, done.screen


def test_the_trap_works(shell: Shell, canary: Path) -> None:
    """Or else its silence would mean nothing."""
    for attack in (
        lambda: exec((canary.with_name("trap") / "evil.py").read_text()),
        lambda: np.load(canary.with_name("trap") / "evil.npy", allow_pickle=True),
    ):
        canary.write_text(ALIVE)
        attack()
        assert canary.read_text() == ""
    assert len(NAMES) >= 25


@pytest.mark.parametrize("name", NAMES)
def test_an_experiment_file_of_a_stranger_is_refused(shell: Shell, canary: Path, name: str) -> None:
    done = shell.train(*experiment(name, canary), env=environment(canary))
    check(done, canary)
    assert sorted(path.name for path in shell.folder.iterdir()) == ["canary", "conf", "trap"]


@pytest.mark.parametrize("verb", ["resume", "ckpt"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.full] if at % 6 else []) for at, name in enumerate(NAMES)]
)
def test_a_run_folder_of_a_stranger_is_refused(
    shell: Shell, stopped: Path, canary: Path, name: str, verb: str
) -> None:
    run = shell.copy(stopped)
    known = yaml.safe_load((run / "config.yaml").read_text())
    for key, node in hostile(name, canary).items():
        both = isinstance(node, dict) and isinstance(known.get(key), dict)
        known[key] = known[key] | node if both else node
    (run / "config.yaml").write_text(yaml.safe_dump(known))
    before = contents(run)
    done = shell.train(f"{verb}={run}", env=environment(canary))
    check(done, canary)
    assert contents(run) == before and shell.runs() == {run}


@pytest.mark.parametrize("name", ["callback-create", "handler-empties", "launcher-create", "model-target"])
def test_a_whole_process_refuses_it_too(canary: Path, name: str) -> None:
    env = {**os.environ, **environment(canary)}
    ended = start("train", canary.parent, *experiment(name, canary), env=env)
    check(Done(ended.wait(), ended.text), canary)
    shutil.rmtree(canary.with_name("conf"))
    assert sorted(path.name for path in canary.parent.iterdir()) == ["canary", "trap"]
