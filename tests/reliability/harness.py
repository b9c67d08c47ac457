"""Runs that are killed, starved and signalled, in processes of their own; and what must hold afterwards."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
KILLED = -9

# three epochs of 60 batches, saved inside epochs too; a CNN, because it has dropout
WORDS = (
    "device=cpu", "device.threads=1", "model=cnn", "model.width=2", "data.batch_size=32",
    "trainer.max_epochs=3", "trainer.limit_train_batches=60", "trainer.limit_val_batches=64",
    "trainer.limit_test_batches=10", "trainer.steps_per_execution=8", "trainer.log_every_n_steps=7",
    "trainer.checkpoint_every='25 steps'", "stages=[fit]",
)  # fmt: skip
STEPS = 180
VALIDATIONS = 9  # batches of validation, three an epoch


@dataclass(frozen=True)
class Child:
    """A call that runs, or ran, in a process of its own."""

    pid: int
    output: Path

    @property
    def text(self) -> str:
        return self.output.read_text()

    def signal(self, signum: int) -> None:
        os.kill(self.pid, signum)


class Zygote:
    """Starts children; see `zygote.py`."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.count = 0
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.zygote"],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore::DeprecationWarning"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def start(self, call: str, **arguments: Any) -> Child:
        self.count += 1
        output = self.scratch / f"output-{self.count}.txt"
        output.touch()
        asked = {"call": call, "arguments": arguments, "output": str(output)}
        return Child(self._ask(asked)["pid"], output)

    def wait(self, child: Child) -> int:
        """The exit code; minus the signal's number for a process that a signal ended."""
        return self._ask({"wait": child.pid})["code"]

    def run(self, call: str, **arguments: Any) -> tuple[int, str]:
        child = self.start(call, **arguments)
        return self.wait(child), child.text

    def train(self, *words: str, fault: Mapping[str, Any] | None = None, **more: Any) -> tuple[int, str]:
        """`python train.py words`, with a fault; the exit code and what it printed."""
        return self.run("tests.reliability.faults:train", words=words, fault=fault, **more)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the zygote is gone"
        return json.loads(line)


@contextmanager
def zygote_in(scratch: Path) -> Generator[Zygote]:
    zygote = Zygote(scratch)
    try:
        yield zygote
    finally:
        zygote.close()


def only_run(output_dir: Path) -> Path:
    """The folder of the one run there is."""
    (folder,) = (output_dir / "runs").iterdir()
    return folder


def wait_for(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Until the condition holds; an AssertionError after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def strays(folder: Path) -> list[Path]:
    """Files that no run should leave behind."""
    return [path for path in folder.rglob(".*") if path.name != ".lock"]
