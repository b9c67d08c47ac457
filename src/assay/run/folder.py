"""The run folder: made once, never shared; `result.json` replaced whole from the first second on."""

import hashlib
import json
import platform
import secrets
import shlex
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from assay.config.compose import PROJECT
from assay.config.secrets import redact, redact_text
from assay.errors import UserError
from assay.run.process import is_alive, this_process
from assay.run.signals import slurm_job
from assay.training.atomic import remove_strays, write_durably

__all__ = ["RunFolder", "git_state", "is_alive", "provenance", "versions"]
PACKAGES = (
    *("assay", "torch", "torchvision", "pytorch-lightning"),
    *("hydra-core", "omegaconf", "tensorboard", "numpy"),
)
LOCK_PATIENCE = 10.0  # seconds; children of a killed run keep its lock until they notice
LOOK_PATIENCE = 1.0  # who only looks whether the lock is free holds it for less


class RunFolder:
    """One run's files on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.result: dict[str, Any] = {}
        # one lock object a folder object: `claimed` may be entered again by who holds it
        self._lock = FileLock(path / ".lock", is_singleton=False)

    @classmethod
    def create(cls, output_dir: Path, name: str | None) -> "RunFolder":
        """A new folder under `output_dir`/runs; two runs started in the same second get two.

        Raises `UserError` where it cannot be made.
        """
        moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        while True:
            path = output_dir / "runs" / "-".join([moment, *filter(None, [name]), secrets.token_hex(3)])
            try:
                path.mkdir(parents=True)
            except OSError as error:
                if path.is_dir():
                    continue
                raise UserError(
                    f"output_dir: {output_dir} cannot be written to: {error.strerror or error}\n"
                    "set output_dir to a folder that you may write to"
                ) from error
            return cls(path)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing folder, with what its `result.json` says; nothing, if it was killed before that.

        Raises `UserError` for what is no run folder.
        """
        folder = cls(path)
        try:
            folder.result = json.loads((path / "result.json").read_text(encoding="utf-8"))
            _ = folder.result["status"], folder.result["process"]["pid"]
        except FileNotFoundError:
            if not (path / "config.yaml").is_file():
                raise UserError(f"{path}: no run folder: it has no result.json") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path / 'result.json'} cannot be read: {error!r}") from None
        return folder

    @property
    def status(self) -> str:
        """That of `result.json`; a run whose process is gone was interrupted, whatever it last wrote."""
        status = self.result.get("status", "interrupted")
        return "interrupted" if status == "running" and not self.is_held() else status

    def is_held(self) -> bool:
        """Whether a living process has the folder: by its pid, or by the lock where that tells nothing."""
        alive = is_alive(self.result["process"])
        if alive is not None:
            return alive
        lock = FileLock(self.path / ".lock", is_singleton=False)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # a file system without locks: then nobody here can say that it is dead
            return True
        lock.release()
        return False

    @contextmanager
    def claimed(self) -> Generator[None]:
        """Hold the folder inside the block. Raises `UserError`, with the holder, if another process has it.

        What a killed holder left half-written is removed.
        """
        lock = self._lock
        try:
            lock.acquire(timeout=LOCK_PATIENCE if self.result and not self.is_held() else LOOK_PATIENCE)
        except Timeout:
            raise UserError(self._held()) from None
        try:
            remove_strays(self.path)
            yield
        finally:
            lock.release()

    def _held(self) -> str:
        if not (self.path / "result.json").exists():
            return f"{self.path} is held by another process that just began"
        holder = RunFolder.open(self.path).result["process"]
        return (
            f"{self.path} is still running (process {holder['pid']} on {holder['host']})\n"
            "stop it first, or wait for its end"
        )

    @property
    def overrides(self) -> list[str]:
        """The words that the run was started with."""
        return yaml.safe_load((self.path / "overrides.yaml").read_text(encoding="utf-8"))

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
        """`config.yaml` last: a folder that has it can be resumed."""
        for name, content in {"overrides.yaml": overrides, "config.yaml": dict(resolved)}.items():
            text = yaml.safe_dump(redact(content), sort_keys=False)
            write_durably(self.path / name, text.encode())


def provenance() -> dict[str, Any]:
    """What is needed to know where a result came from."""
    return {
        "command": redact_text(shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "process": this_process(),
        "slurm_job": slurm_job(),
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
