"""Faults, put into a child before it trains: at a step, in validation, at a file operation, by the system."""

import builtins
import codecs
import errno
import io
import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Act = Callable[[], None]


def train(
    words: Sequence[str],
    fault: Mapping[str, Any] | None = None,
    uid: int | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """`python train.py words`, as another user if `uid` is given; the exit code."""
    os.environ.update(env or {})
    from assay import cli
    from assay.config.args import parsed
    from assay.config.load import load
    from assay.run.earlier import find_earlier
    from assay.run.run import run

    def command() -> None:
        overrides = parsed(words)[1]  # a pasted folder may need quotes
        config = load("train", overrides, find_earlier).config
        if uid is not None:  # not before: the interpreter's own files may be another user's
            codecs.lookup("hex")
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        install(fault or {})
        run(config, overrides)

    return cli.exit_code(command)


def install(fault: Mapping[str, Any]) -> None:
    """Put in what the fault names: where (`step`, `operation`, ...) and what happens there."""
    act: Act = lambda: os.kill(os.getpid(), fault.get("signal", signal.SIGKILL))  # noqa: E731
    if "step" in fault:
        before_step(fault["step"], act)
    if "validation" in fault:
        in_evaluation("validation_step", fault["validation"], act)
    if "test" in fault:
        in_evaluation("test_step", fault["test"], act)
    if "handler" in fault:
        handle_as_submitit(fault["signal"], Path(fault["handler"]))
    if "operation" in fault:
        Operations(Path(fault["folder"]), fault["operation"], fault.get("how", "kill")).install()
    if "nan" in fault:
        before_step(fault["nan"], lambda: None, nan=True)
    if "out_of_memory" in fault:
        before_step(fault["out_of_memory"], _raise_out_of_memory)
    if "unwritable" in fault:
        unwritable(fault["unwritable"], fault.get("mode", "wax+"), fault.get("after", 0))
    if "fill" in fault:
        before_step(fault["fill_at"], lambda: _fill(Path(fault["fill"])))
    if "file_size" in fault:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault["file_size"], resource.RLIM_INFINITY))
    if "address_space" in fault:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + fault["address_space"], resource.RLIM_INFINITY))
    if "slow_data" in fault:
        slow_data(fault["slow_data"])
    if "slow_save" in fault:
        slow_save(fault["slow_save"], Path(fault["marker"]))


def before_step(count: int, act: Act, nan: bool = False) -> None:
    """Act before the count-th optimizer step of this process; or put a NaN into the weights after it."""
    from assay.training.learner import Learner

    step, seen = Learner.step, 0

    def counted(self: Any) -> float:
        nonlocal seen
        seen += 1
        if seen == count:
            act()
        rate = step(self)
        if nan and seen == count:
            next(self.model.parameters()).data.view(-1)[0] = float("nan")
        return rate

    Learner.step = counted


def in_evaluation(name: str, count: int, act: Act) -> None:
    """Act before the count-th batch of validation or test."""
    from assay.training.learner import Learner

    step, seen = getattr(Learner, name), 0

    def counted(self: Any, batch: Any, batch_idx: int) -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            act()
        step(self, batch, batch_idx)

    setattr(Learner, name, counted)


def handle_as_submitit(signum: int, handed: Path) -> None:
    """A handler that writes which step had been saved, and leaves as submitit's does."""

    def requeue(signum: int, frame: object) -> None:
        import torch

        (last,) = handed.parent.glob("out/runs/*/checkpoints/last.ckpt")
        handed.write_text(str(torch.load(last, weights_only=True)["global_step"]))
        raise SystemExit(-1)

    signal.signal(signum, requeue)


def _raise_out_of_memory() -> None:
    import torch

    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB. (simulated)")


def slow_data(seconds: float) -> None:
    """Each batch takes so long to load."""
    import time

    from assay.data import module

    gather_tensors = module.gather_tensors

    def slow(*tensors: Any) -> Any:
        gather = gather_tensors(*tensors)

        def slowly(epoch: int, batches: Any) -> Any:
            for batch in gather(epoch, batches):
                time.sleep(seconds)
                yield batch

        return slowly

    module.gather_tensors = slow


def slow_save(seconds: float, marker: Path) -> None:
    """Each sync of a checkpoint takes so long; `marker` appears at the first."""
    import time

    fsync = os.fsync

    def slow(handle: int) -> None:
        if "checkpoints" in os.readlink(f"/proc/self/fd/{handle}"):  # noqa: PTH115
            marker.touch()
            time.sleep(seconds)
        fsync(handle)

    os.fsync = slow


def _fill(filler: Path) -> None:
    """Leave no more than a few kilobytes on the disk."""
    disk = os.statvfs(filler.parent)
    filler.write_bytes(b"\0" * (disk.f_bavail * disk.f_frsize - 8192))


def unwritable(part_of_name: str, modes: str, after: int) -> None:
    """Writing to files with this in their name, opened so, finds a full disk after so many good writes."""
    opened, written = io.open, 0

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            nonlocal written
            written += 1
            if written > after:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return super().write(data)

    def open_full(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        name = os.fsdecode(file) if isinstance(file, (str, bytes, os.PathLike)) else ""
        if part_of_name not in Path(name).name or not set(mode) & set(modes):
            return opened(file, mode, *args, **kwargs)
        raw = Full(name, mode.replace("b", "").replace("t", ""))
        buffered = io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, newline=kwargs.get("newline"))

    builtins.open = open_full
    io.open = open_full


class Operations:
    """Counts opens for writing, writes, syncs, links and renames inside a folder, and strikes at the N-th.

    `how`: `kill` (at a write after half of the bytes), `power` (the same, and what was not synced is lost),
    `fail` (once), `broken` (from then on).
    """

    def __init__(self, folder: Path, at: int, how: str) -> None:
        self.folder = folder
        self.at = at
        self.how = how
        self.seen = 0
        self.struck = False
        self.unsynced: dict[int, None] = {}  # inodes
        self._open, self._fsync, self._link, self._replace = io.open, os.fsync, os.link, os.replace
        self._path_replace = Path.replace

    def install(self) -> None:
        operations = self
        os.fsync, os.link = self.fsync, self.link
        builtins.open = self.open
        io.open = self.open
        Path.replace = lambda self, target: operations.replace(self, target)

    def uninstall(self) -> None:
        os.fsync, os.link = self._fsync, self._link
        builtins.open = self._open
        io.open = self._open
        Path.replace = self._path_replace

    def inside(self, path: Any) -> bool:
        return isinstance(path, (str, os.PathLike)) and Path(os.fspath(path)).is_relative_to(self.folder)

    def reached(self) -> bool:
        self.seen += 1
        return self.seen == self.at or (self.how == "broken" and self.seen > self.at)

    def strike(self) -> None:
        self.struck = True
        if self.how == "power":
            for path in self.folder.iterdir():
                if path.stat().st_ino in self.unsynced:
                    os.truncate(path, 0)
        if self.how in ("kill", "power"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not (self.inside(file) and set(mode) & set("wax+")):
            return self._open(file, mode, *args, **kwargs)
        if self.reached():
            self.strike()
        opened = self._open(file, mode, *args, **kwargs)
        self.unsynced[os.fstat(opened.fileno()).st_ino] = None
        write = opened.write

        def written(data: Any) -> int:
            if self.reached():
                write(data[: len(data) // 2])
                opened.flush()
                self.strike()
            return write(data)

        return _Writing(opened, written)

    def fsync(self, handle: int) -> None:
        if not self.inside(os.readlink(f"/proc/self/fd/{handle}")):  # noqa: PTH115
            self._fsync(handle)
            return
        if self.reached():
            self.strike()
        self._fsync(handle)
        self.unsynced.pop(os.fstat(handle).st_ino, None)

    def link(self, source: Any, target: Any) -> None:
        if self.inside(target) and self.reached():
            self.strike()
        self._link(source, target)

    def replace(self, source: Path, target: Any) -> Path:
        if self.inside(target) and self.reached():
            self.strike()
        return self._path_replace(source, target)


class _Writing:
    """A file whose writes are looked at."""

    def __init__(self, file: Any, write: Callable[[Any], int]) -> None:
        self._file = file
        self.write = write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Writing":
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()
