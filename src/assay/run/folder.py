"""The run folder: made once, never shared; `result.json` replaced whole at every change. No torch here."""

import json
import logging
import os
import secrets
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from assay.config.redact import redact
from assay.config.saved import as_plain, config_id, folder_label
from assay.config.schema import TrainConfig
from assay.errors import UserError
from assay.run.process import is_alive
from assay.run.provenance import provenance
from assay.training.atomic import WriteError, remove_strays, write_durably

log = logging.getLogger(__name__)
LOCK_PATIENCE = 10.0  # seconds; children of a killed run keep its lock until they notice
LOOK_PATIENCE = 1.0  # who only looks whether the lock is free holds it for less
FILES = ("result.json", "config.yaml", "overrides.yaml", "metrics.csv", "log.txt", ".lock")
FOLDERS = ("checkpoints", "figures")
LAST, BEST = "checkpoints/last.ckpt", "checkpoints/best.ckpt"  # what `checkpoint` says once there is one


class RecordedProcess(BaseModel):
    """Which process has, or had, the run; see `this_process`."""

    pid: int
    host: str


class RecordedSeconds(BaseModel):
    total: float = 0.0
    fit: float | None = None
    epochs: list[float] = []


class Result(BaseModel):
    """What of `result.json` is read again; its other keys are for people and other programs."""

    status: str
    process: RecordedProcess
    error: str | None = None
    metrics: dict[str, float] = {}
    epochs: int = 0
    steps: int = 0
    seconds: RecordedSeconds = RecordedSeconds()
    samples_per_second: float | None = None
    device: dict[str, Any] | None = None
    overrides: list[str] = []
    checkpoint: str | None = None
    resumed: int = 0


@dataclass
class RunFolder:
    """One run's files on disk. `result` is what `result.json` says."""

    path: Path
    result: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        # one lock object a folder object: `claimed` may be entered again by who holds it
        self._lock = FileLock(self.path / ".lock", is_singleton=False)

    @classmethod
    def create(cls, output_dir: Path, config: TrainConfig, overrides: Sequence[str]) -> "RunFolder":
        """A new folder under `output_dir`/runs, there with its config or not at all.

        Two runs started in the same second get two. Raises `UserError` where it cannot be made.
        """
        moment = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
        while True:
            name = "-".join(
                filter(None, [moment, config.name or folder_label(overrides), secrets.token_hex(3)])
            )
            folder, scratch = output_dir / "runs" / name, output_dir / "runs" / f".{name}.{os.getpid()}.tmp"
            try:
                scratch.mkdir(parents=True)
                cls(scratch).write_config(config, overrides)
                scratch.rename(folder)
            except OSError as error:
                shutil.rmtree(scratch, ignore_errors=True)
                if folder.exists():
                    continue
                if isinstance(error, WriteError):
                    raise
                raise UserError(
                    f"output_dir: {output_dir} cannot be written to: {error.strerror or error}\n"
                    "set output_dir to a folder that you may write to"
                ) from error
            return cls(folder)

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing folder, with what its `result.json` says; nothing, if it was killed before that.

        Raises `UserError` for what is no run folder, and for a damaged `result.json`.
        """
        file = path / "result.json"
        try:
            result = json.loads(file.read_bytes())
            result = Result.model_validate(result).model_dump() | result
        except (FileNotFoundError, NotADirectoryError):
            if not (path / "config.yaml").is_file():
                raise UserError(f"{path}: no run folder: it has no result.json and no config.yaml") from None
            return cls(path)
        except (OSError, ValueError, RecursionError) as error:
            raise UserError(
                f"{file} cannot be read: {_reason(error)}\nmove it away: the run can be resumed without it"
            ) from None
        return cls(path, result)

    @property
    def status(self) -> str:
        """That of `result.json`; a run whose process is gone was interrupted, whatever it last wrote."""
        status = self.result.get("status", "interrupted")
        return "interrupted" if status == "running" and not self.is_held() else status

    def is_held(self) -> bool:
        """Whether a living process has the folder: by its pid, or by the lock where that tells nothing."""
        alive = is_alive(self.result["process"])
        return self.is_locked() if alive is None else alive

    def is_locked(self) -> bool:
        """Whether a process, here or on another machine, has the folder's lock."""
        if not (self.path / ".lock").exists():
            return False
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

        What a killed holder left half-written is removed. A file system without locks costs a warning: there
        the pid in `result.json` is all that keeps two commands apart.
        """
        self.check_files()
        lock = self._lock
        try:
            lock.acquire(timeout=LOCK_PATIENCE if self.result and not self.is_held() else LOOK_PATIENCE)
        except Timeout:
            raise UserError(self._held()) from None
        except OSError as error:
            log.warning("%s cannot be locked (%s): do not resume it twice at once", self.path, error.strerror)
        try:
            remove_strays(self.path)
            remove_strays(self.checkpoints)
            yield
        finally:
            lock.release()

    def check_files(self) -> None:
        """Raises `UserError` for one of the run's files that may not be used or is something else."""
        if not self.path.is_dir():
            raise UserError(f"{self.path}: no such folder")
        files, folders = ([self.path / name for name in names] for names in (FILES, FOLDERS))
        for path in [path for path in (*folders, *files) if path.exists()]:
            if path.is_dir() != (path in folders):
                raise UserError(f"{path} is {'a folder' if path.is_dir() else 'no folder'}\nmove it away")
            mode = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
            if not os.access(path, mode, effective_ids=os.access in os.supports_effective_ids):
                raise UserError(f"{path} may not be read and written\nchange its permissions: chmod u+rwX")
        for path in self.path.glob("checkpoints/*.ckpt"):
            if path.is_dir():
                raise UserError(f"{path} is a folder\nmove it away")

    def _held(self) -> str:
        if not (self.path / "result.json").exists():
            return f"{self.path} is held by another process that just began"
        holder = RunFolder.open(self.path).result["process"]
        return (
            f"{self.path} is still running (process {holder['pid']} on {holder['host']})\n"
            "stop it first, or wait for its end"
        )

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        return self.checkpoints / "last.ckpt"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    def note(self, **values: Any) -> None:
        """Change values that the next `update` writes."""
        self.result |= values

    def update(self, **values: Any) -> None:
        """Replace `result.json` with these values changed; raises `WriteError`, and notes them even so."""
        self.note(**values)
        text = json.dumps(self.result, indent=2, allow_nan=False, default=str)
        write_durably(self.path / "result.json", text.encode())

    def mark_checkpoint(self) -> None:
        """Say that there is a checkpoint to go on from, so that one that is lost later is missed."""
        if self.result.get("checkpoint") not in (LAST, BEST):
            self.update(checkpoint=LAST)

    def write_config(self, config: TrainConfig, overrides: Sequence[str]) -> None:
        """`config.yaml` last: a folder that has it can be resumed."""
        for name, content in {"overrides.yaml": list(overrides), "config.yaml": as_plain(config)}.items():
            text = yaml.safe_dump(redact(content), sort_keys=False)
            write_durably(self.path / name, text.encode())


def record_failure(
    folder: RunFolder, config: TrainConfig, overrides: Sequence[str], status: str, error: str
) -> None:
    """Say in the folder how a run ended that could not say it itself, as completely as any run does."""
    if not (folder.path / "config.yaml").exists():
        folder.write_config(config, overrides)
    folder.update(**(blank_result(config, overrides) | folder.result | {"status": status, "error": error}))


def blank_result(config: TrainConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The result of a run that has just begun."""
    return {
        "status": "running",
        "error": None,
        "metrics": {},
        "metric": None,
        "direction": None,
        "class_accuracy": None,
        "epochs": 0,
        "steps": 0,
        "seconds": {"total": 0.0, "start": None, "fit": None, "test": None, "epochs": []},
        "samples_per_second": None,
        "seed": config.seed,
        "overrides": redact(list(overrides)),
        "resumed": 0,
        "config_id": config_id(as_plain(config)),
        "device": None,
        "data": None,
        "checkpoint": config.ckpt,
        **provenance(),
    }


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return f"{type(error).__name__}: {error}"
