"""The run folder: made once, never shared; `result.json` replaced whole from the first second on."""

import hashlib
import json
import os
import platform
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import yaml

from assay.config.compose import PROJECT
from assay.training.atomic import write_durably

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "hydra-core", "omegaconf", "tensorboard", "numpy")


class RunFolder:
    """One run's files on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result: dict[str, Any] = {}

    @classmethod
    def create(cls, output_dir: Path, name: str | None) -> "RunFolder":
        """A new folder under `output_dir`/runs; two runs started in the same second get two."""
        moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        while True:
            path = output_dir / "runs" / "-".join([moment, *filter(None, [name]), secrets.token_hex(3)])
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                continue
            return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing folder, with what its `result.json` says."""
        folder = cls(path)
        folder.result = json.loads((path / "result.json").read_text())
        return folder

    @property
    def status(self) -> str:
        """That of `result.json`; a run whose process is gone was interrupted, whatever it last wrote."""
        status = self.result["status"]
        if status == "running" and is_alive(self.result["process"]) is False:
            return "interrupted"
        return status

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    def update(self, **values: Any) -> None:
        """Replace `result.json` with these values changed."""
        self.result |= values
        text = json.dumps(self.result, indent=2, allow_nan=False, default=str)
        write_durably(self.path / "result.json", text.encode())

    def write_config(self, resolved: Mapping[str, Any], overrides: list[str]) -> None:
        (self.path / "config.yaml").write_text(yaml.safe_dump(dict(resolved), sort_keys=False))
        (self.path / "overrides.yaml").write_text(yaml.safe_dump(overrides))


def provenance() -> dict[str, Any]:
    """What is needed to know where a result came from."""
    return {
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "process": {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "created": psutil.Process().create_time(),
        },
        "versions": {"python": platform.python_version(), **versions()},
        "git": git_state(),
    }


def versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in PACKAGES}


def git_state() -> dict[str, Any] | None:
    """The commit, whether the code differs from it, and a digest of how; None where this is no checkout."""
    code = ("src", "conf", "train.py")
    try:
        sha = _git("rev-parse", "HEAD").strip()
        changes = _git("status", "--porcelain", "--", *code)
        diff = _git("diff", "HEAD", "--", *code) if changes else ""
    except (OSError, subprocess.CalledProcessError):
        return None
    digest = hashlib.sha256((changes + diff).encode()).hexdigest()[:8] if changes else None
    return {"sha": sha, "dirty": bool(changes), "diff": digest}


def _git(*words: str) -> str:
    command = ["git", "-C", str(PROJECT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def is_alive(process: Mapping[str, Any]) -> bool | None:
    """Whether the process that holds a run still runs; None where it runs, or ran, on another host."""
    if process["host"] != socket.gethostname():
        return None
    try:
        return abs(psutil.Process(process["pid"]).create_time() - process["created"]) < 1.0
    except psutil.NoSuchProcess:
        return False
