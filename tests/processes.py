"""Commands in processes of their own that do not pay for the imports: they are forked by `zygote.py`."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from assay import PROJECT

KILLED = -9
# no thread that a child would lack: torch has one a GPU for gradients, and others for products
ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore::DeprecationWarning",
}


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Until the condition holds; an AssertionError after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


class Child:
    """A process that runs, or ran, in the words of `subprocess.Popen`."""

    def __init__(self, zygote: "Zygote", pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None  # minus the signal's number where one ended it
        self._zygote, self._out, self._err = zygote, out, err

    @property
    def text(self) -> str:
        return self._out.read_text() + self._err.read_text()

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._zygote.ask({"poll": self.pid})["code"]
        return self.returncode

    def wait(self, timeout: float = 240.0) -> int:
        wait_for(lambda: self.poll() is not None, timeout)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, signum: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, signum)

    def completed(self, timeout: float = 240.0) -> "subprocess.CompletedProcess[str]":
        code = self.wait(timeout)
        return subprocess.CompletedProcess([], code, self._out.read_text(), self._err.read_text())


class Zygote:
    """Starts children; see `zygote.py`."""

    def __init__(self) -> None:
        self.count = 0
        self._scratch = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote"],
            cwd=PROJECT,
            env=os.environ | ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def start(self, call: str, **arguments: Any) -> Child:
        """A call of a function, as `module:function`."""
        self.count += 1
        out, err = (Path(self._scratch.name) / f"{self.count}.{name}" for name in ("out", "err"))
        for file in (out, err):
            file.touch()
        asked = {"call": call, "arguments": arguments, "out": str(out), "err": str(err)}
        return Child(self, self.ask(asked)["pid"], out, err)

    def run(self, call: str, **arguments: Any) -> tuple[int, str]:
        """The exit code of such a call and what it printed."""
        child = self.start(call, **arguments)
        return child.wait(), child.text

    def train(self, *words: str, fault: Mapping[str, Any] | None = None, **more: Any) -> tuple[int, str]:
        """`python train.py words`, with a fault; the exit code and what it printed."""
        return self.run("tests.reliability.faults:train", words=words, fault=fault, **more)

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._scratch.cleanup()

    def ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the zygote is gone"
        return json.loads(line)


@cache
def zygote() -> Zygote:
    """That of these tests; it is closed by a fixture."""
    return Zygote()


def start(script: str, folder: Path, *words: str, env: Mapping[str, str] | None = None, **more: Any) -> Child:
    """`python <script>.py words` in a folder, with this process's variables and no GPU, or with `env`."""
    env = os.environ | {"CUDA_VISIBLE_DEVICES": ""} if env is None else dict(env)
    arguments = {
        "file": str(PROJECT / f"{script}.py"),
        "words": words,
        "folder": str(folder),
        "env": env,
        **more,
    }
    return zygote().start("tests.zygote:script", **arguments)
