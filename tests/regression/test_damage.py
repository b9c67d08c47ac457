"""A file of a run that is missing, damaged or of another kind: never a traceback, never a silent restart.

Every file and folder that a run leaves, whatever it is called, is damaged in turn; then a command that reads
the run is typed. It is refused with the run or the file named (exit 2) and changes nothing, or it does what
was asked for.
"""

import json
import random
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.processes import start
from tests.regression import EPOCH, Done, Shell, contents, own_model, python_path
from tests.runs import result

VIEWS = ("figures", "events.out.tfevents", "report.html", "tensorboard")  # nothing reads them back
NESTED = "[" * 3_000
# contents of the right format that nobody wrote
WRONG: dict[str, tuple[str, ...]] = {
    ".json": (
        "[1, 2]",
        '{"status": "completed", "metrics": 3}',
        '{"status": 7, "process": {"pid": "x"}}',
        NESTED,
    ),
    ".yaml": ("[1, 2]", "{}", "seed: [0]\nmodel: 3\n", NESTED),
    ".csv": ("a,b\n1\n", '"', "step\nx\n", "epoch,step\n" * 2),
}
STATES = ([1, 2], {"state_dict": 3}, {"state_dict": {}, "global_step": "x"}, {"state_dict": {"a": 1}})
Damage = Callable[[Path], None]


def missing(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty(path: Path) -> None:
    if path.is_dir():
        missing(path)
        path.mkdir()
    else:
        path.write_bytes(b"")


def random_bytes(path: Path) -> None:
    missing(path)
    path.write_bytes(random.Random(0).randbytes(3000))


def other_kind(path: Path) -> None:
    """A folder for a file, a file for a folder."""
    is_folder = path.is_dir()
    missing(path)
    path.touch() if is_folder else path.mkdir()


def unreadable(path: Path) -> None:
    path.chmod(0)


def dangling(path: Path) -> None:
    missing(path)
    path.symlink_to("nowhere")


def wrong_type(path: Path, number: int) -> None:
    if path.suffix == ".ckpt":
        torch.save(STATES[number], path)
    elif path.is_file():
        path.write_text(WRONG.get(path.suffix, WRONG[".json"])[number])


HOWS: dict[str, Damage] = {
    "missing": missing, "empty": empty, "random bytes": random_bytes, "other kind": other_kind,
    "unreadable": unreadable, "dangling": dangling,
    **{f"wrong type {number}": partial(wrong_type, number=number) for number in range(4)},
}  # fmt: skip
OFTEN = {("resume", "random bytes"), ("resume", "other kind"), ("diff", "wrong type 1")}


def cases(*verbs: str) -> pytest.MarkDecorator:
    """Every command with every damage; the rarer ones are marked `full`."""
    return pytest.mark.parametrize(
        ("verb", "how"),
        [
            pytest.param(verb, how, marks=[] if (verb, how) in OFTEN else pytest.mark.full)
            for verb in verbs
            for how in HOWS
        ],
    )


def parts_of(folder: Path) -> list[Path]:
    """What can be damaged, relative to the folder."""
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")))
    return [path for path in paths if not str(path).startswith(VIEWS) and path.suffix != ".png"]


def readable(folder: Path, part: Path) -> dict[str, str]:
    """The contents of a folder in which one part may have been made unreadable."""
    if (folder / part).exists() and not (folder / part).is_symlink():
        (folder / part).chmod(0o755)
    return contents(folder)


def fault_of(verb: str, done: Done, run: Path, part: Path, before: dict[str, str]) -> str:
    """What is wrong with how a command ended; empty where nothing is."""
    after = readable(run, part)
    if done.untrue():
        return done.untrue()
    if done.code == 2:
        named = run.name in done.screen or part.name in done.screen
        return "" if named and after == before else f"named {named}, unchanged {after == before}"
    if verb != "resume" and after != before:
        return "the run that was read has changed"
    if verb == "reproduce" and done.code == 1:
        return "" if "not identical" in done.screen else "exit 1 without a reason"
    if done.code != 0:
        return f"exit {done.code}"
    if verb == "resume":
        if "epoch 1/" in done.screen:
            return "started over"
        complete = result(run)["status"] == "completed" and result(run)["steps"] == 3 * EPOCH
        return "" if complete else "ended without a whole result"
    return ""


def typed(verb: str, run: Path, other: Path) -> list[str]:
    if verb == "diff":
        return [f"diff=[{other},{run}]"]
    if verb == "ckpt":
        return [f"ckpt={run}", "stages=[validate]", "device=cpu", "device.threads=1"]
    return [f"{verb}={run}"]


def table(shell: Shell, verb: str, how: str, run: Path, other: Path) -> list[str]:
    """What went wrong, a line for each part of the run that was damaged, in a copy of its own."""
    lines: list[str] = []
    for number, part in enumerate(parts_of(run)):
        copy = Path(shutil.copytree(run, shell.folder / str(number) / run.name))
        HOWS[how](copy / part)
        before = readable(copy, part)
        if how == "unreadable":
            unreadable(copy / part)
        done = shell.train(*typed(verb, copy, other), all_powerful=False)
        if fault := fault_of(verb, done, copy, part, before):
            lines.append(f"{part}: {fault}: {done.screen.strip()[-160:]!r}")
    return lines


@pytest.mark.skipif(sys.platform != "linux", reason="how root heeds the modes of files is Linux's way")
@cases("resume", "ckpt", "diff", "reproduce")
def test_a_damaged_run_is_refused_or_read(
    shell: Shell, stopped: Path, completed: Path, verb: str, how: str
) -> None:
    run, other = (completed, stopped) if verb == "reproduce" else (stopped, completed)
    faults = table(shell, verb, how, run, other)
    assert not faults, f"{len(faults)} of {len(parts_of(run))}\n" + "\n".join(faults)


BROKEN = """
import torch
from torch import Tensor, nn

class Net(nn.Module):
    def __init__(self, broken: bool = False, num_classes: int = 10) -> None:
        super().__init__()
        self.broken = broken
        self.layer = nn.Linear(3, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.broken and self.training:
            raise ValueError("<img src=x onerror=alert(1)> | <b>bold</b>")
        return self.layer(x)
"""


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two jobs, of which one has failed with a message full of HTML."""
    folder = tmp_path_factory.mktemp("sweep")
    own = own_model(folder / "own", BROKEN)
    words = ("device=cpu", "device.threads=1", "data=random", "trainer.max_epochs=1", "sweep.name=mine")
    model = ("~model.width", "model._target_=assay.models.mine.Net", "+model.broken=false,true")
    ended = start("train", folder, "-m", *words, *model, env=python_path(own))
    assert ended.wait() == 1, ended.text
    return folder / "outputs" / "sweeps" / "mine"


@pytest.mark.skipif(sys.platform != "linux", reason="how root heeds the modes of files is Linux's way")
@cases("leaderboard")
def test_a_leaderboard_of_damaged_jobs_is_refused_or_shown(
    shell: Shell, sweep: Path, verb: str, how: str
) -> None:
    faults = table(shell, verb, how, sweep, sweep)
    assert not faults, f"{len(faults)} of {len(parts_of(sweep))}\n" + "\n".join(faults)


def test_the_leaderboard_of_a_sweep_holds_no_html_of_a_message(sweep: Path) -> None:
    errors = [json.loads(path.read_text())["error"] for path in sweep.glob("jobs/*/result.json")]
    assert any("<img src=x" in str(error) for error in errors)
    for name in ("leaderboard.md", "report.html"):
        assert "<img src=x" not in (sweep / name).read_text()
