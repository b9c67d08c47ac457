"""Whole commands as a person types them, and what that person sees: exit code, screen, files."""

import ctypes
import hashlib
import os
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.processes import Zygote

# three epochs of ten steps: 3 features, 2 classes
TINY = (
    "device=cpu", "device.threads=1", "data=random", "data.length=40", "model.width=8", "stages=[fit]",
    "trainer.max_epochs=3", "trainer.log_every_n_steps=5",
)  # fmt: skip
EPOCH = 10
STOP = {"step": 25, "signal": signal.SIGTERM}  # in the third epoch
DAC_OVERRIDE, DAC_READ_SEARCH = 1, 2  # bits of linux/capability.h


@dataclass(frozen=True)
class Done:
    """How a command ended: its exit code and all that it put on the screen."""

    code: int
    screen: str

    def refused(self, *says: str) -> bool:
        """Whether it is a mistake of the person's, explained: exit 2, these texts, no traceback."""
        return self.code == 2 and not self.untrue() and all(text in self.screen for text in says)

    def untrue(self) -> str:
        """What no command may show: a traceback, or a log file named for one that it does not hold."""
        if "Traceback" in self.screen or '\n  File "' in self.screen:
            return "a traceback on the screen"
        _, named, after = self.screen.partition("the traceback is in ")
        log = Path(after.partition("\n")[0].strip())
        if named and not (log.is_file() and "Traceback" in log.read_text()):
            return f"no traceback in {log}"
        return ""


class Shell:
    """Runs commands in `folder`, each in a process of its own that does not pay for the imports."""

    def __init__(self, zygote: Zygote, folder: Path) -> None:
        self.zygote = zygote
        self.folder = folder
        self.output = folder / "outputs"

    def train(self, *words: str, **more: Any) -> Done:
        return self.command("train", *words, **more)

    def command(self, script: str, *words: str, **more: Any) -> Done:
        """`python <script>.py words`; `more` are arguments of `command` below."""
        arguments = {"script": script, "words": words, "folder": str(self.folder), **more}
        return Done(*self.zygote.run("tests.regression:command", **arguments))

    def run(self, *words: str, code: int = 0, **more: Any) -> Path:
        """The folder of a new tiny run that ended with the exit code."""
        before = self.runs()
        done = self.train(*TINY, *words, **more)
        assert done.code == code, done.screen
        (folder,) = self.runs() - before
        return folder

    def copy(self, run: Path) -> Path:
        """A run of another folder, as if it were one of these."""
        return Path(shutil.copytree(run, self.output / "runs" / run.name, symlinks=True))

    def runs(self) -> set[Path]:
        return {path for path in (self.output / "runs").glob("*") if not path.name.startswith(".")}


def command(
    script: str,
    words: Sequence[str],
    folder: str,
    env: Mapping[str, str] | None = None,
    own_code: str | None = None,
    cores: Sequence[int] = (),
    fault: Mapping[str, Any] | None = None,
    all_powerful: bool = True,
) -> int:
    """In a child: the command in `folder`, with these variables, models of one's own, cores and faults.

    Root may read and write everything; with `all_powerful=False` it heeds the modes of files as others must.
    """
    from assay import cli, models
    from tests.reliability import faults

    os.environ.update(env or {})
    os.chdir(folder)
    if own_code is not None:
        models.__path__.append(own_code)
    if cores:
        os.sched_setaffinity(0, cores)
    if fault:
        faults.install(fault)
    if not all_powerful:
        _heed_modes()
    sys.argv = [f"{script}.py", *words]
    return cli.train() if script == "train" else cli.bench()


def _heed_modes() -> None:
    """Give up the capabilities by which root passes over the modes of files (Linux)."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice 32 bits
    assert libc.capget(header, sets) == 0
    sets[0] &= ~(1 << DAC_OVERRIDE | 1 << DAC_READ_SEARCH)
    assert libc.capset(header, sets) == 0


def own_model(folder: Path, source: str) -> Path:
    """`assay.models.mine` is this source, as if it were in src/assay/models; see `python_path`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.py").write_text(source)
    (folder / "sitecustomize.py").write_text(
        f"import assay.models\nassay.models.__path__.append({str(folder)!r})\n"
    )
    return folder


def python_path(folder: Path) -> dict[str, str]:
    """The environment of a new process that finds `assay.models.mine`."""
    return {**os.environ, "PYTHONPATH": str(folder)}


def config(folder: Path) -> dict[str, Any]:
    return yaml.safe_load((folder / "config.yaml").read_text())


def contents(folder: Path) -> dict[str, str]:
    """What is under a folder, locks aside: a digest for a file, the target for a link."""
    known: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            known[str(path)] = str(path.readlink())
        elif not path.name.endswith(".lock"):
            known[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
    return known
