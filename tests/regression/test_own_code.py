"""A bug in a person's own model: `failed`, exit 1, the traceback in the log, their line on the screen."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.processes import start
from tests.regression import Done, Shell, own_model, python_path
from tests.runs import result

WORDS = ("device=cpu", "device.threads=1", "trainer.max_steps=3", "~model.width")
OWN = "model._target_=assay.models.mine.Net"
SOUND = """\
from torch import Tensor, nn

class Net(nn.Module):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.layer = nn.Linear(784, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x.flatten(1))
"""


@dataclass(frozen=True)
class Bug:
    """What is wrong in the sound model's source; what is said of it (a pattern), and where it is."""

    name: str
    right: str
    wrong: str
    error: str
    line: str

    @property
    def source(self) -> str:
        assert self.right in SOUND
        return SOUND.replace(self.right, self.wrong, 1)


BUGS = (
    Bug("constructor", "nn.Linear(784, num_classes)", "nn.Linear(784)", "TypeError", "mine.py:6"),
    Bug("forward", "nn.Linear(784,", "nn.Linear(783,", "RuntimeError.*783", "mine.py:9"),
    Bug("name", "super().__init__()", "super().__init__(widht)", "NameError.*widht", "mine.py:5"),
    Bug("import", "class Net", "widht\n\nclass Net", "NameError.*widht", "mine.py:3"),
    Bug("syntax", "-> None:", "-> None", "SyntaxError", "mine.py:4"),
    Bug("training", "return", "assert not self.training, 'x'; return", "AssertionError.*x", "mine.py:9"),
    Bug("classes", "(784, num_classes)", "(784, 7)", r"\b7\b.*\b10\b|\b10\b.*\b7\b", ""),
)


def check(bug: Bug, done: Done, outputs: Path) -> None:
    assert done.code == 1 and not done.untrue(), done.screen
    _, failed, said = done.screen.partition("failed")
    assert failed and re.search(bug.error, said) and bug.line in said, done.screen
    assert len(said.splitlines()) <= 4 and "the traceback is in" in said, done.screen
    (folder,) = (outputs / "runs").iterdir()
    assert result(folder)["status"] == "failed" and re.search(bug.error, result(folder)["error"])
    log = (folder / "log.txt").read_text()
    assert "Traceback (most recent call last)" in log and bug.line.partition(":")[0] in log


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_in_a_model_of_ones_own_is_shown_by_its_line(shell: Shell, bug: Bug) -> None:
    own = str(own_model(shell.folder / "own", bug.source))
    done = shell.train(*WORDS, OWN, f"output_dir={shell.output}", own_code=own)
    check(bug, done, shell.output)


def test_a_whole_process_shows_the_same(tmp_path: Path) -> None:
    bug = BUGS[1]
    own = own_model(tmp_path / "own", bug.source)
    words = (*WORDS, OWN, f"output_dir={tmp_path / 'outputs'}")
    ended = start("train", tmp_path, *words, env=python_path(own)).completed()
    check(bug, Done(ended.returncode, ended.stderr), tmp_path / "outputs")


def test_a_sound_model_of_ones_own_trains(shell: Shell) -> None:
    own = str(own_model(shell.folder / "own", SOUND))
    done = shell.train(*WORDS, OWN, "stages=[fit]", own_code=own)
    assert done.code == 0, done.screen
