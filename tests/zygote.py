"""A process that has imported everything once and forks one child for each call it is asked for.

Importing torch and Lightning takes seconds, and a child that is to be killed must not be the test's own
process. Lines of JSON come in (`{"call": "module:function", ...}` or `{"poll": pid}`) and go out. What
multiprocessing starts anew in a child, such as the server of a sweep's processes, is forked as well.
"""

import atexit
import gc
import importlib
import io
import json
import os
import resource
import runpy
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import redirect_stdout, suppress
from functools import partial
from multiprocessing import forkserver, process, resource_tracker, util
from pathlib import Path
from typing import Any

import numpy as np
import torch

IMPORTED = (
    "assay.run.run", "assay.run.compare", "assay.sweep.sweep", "matplotlib.backends.backend_agg",
    "tests.runs", "tests.reliability.faults",
)  # fmt: skip


def serve() -> None:
    for module in IMPORTED:
        importlib.import_module(module)
    torch.set_num_threads(1)  # a thread of a pool would not live on in a child
    _train_once()
    util.spawnv_passfds = _start_anew
    gc.freeze()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    children: set[int] = set()
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status) if pid else None}
            children -= {pid}
        else:
            answer = {"pid": os.fork()}
            if answer["pid"] == 0:
                _end(partial(_call, asked))
            children.add(answer["pid"])
        print(json.dumps(answer), flush=True)
    for pid in children:  # of tests that failed: they lead the groups of all that they have started
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    os._exit(0)  # to take torch apart takes seconds


def _train_once() -> None:
    """What is made on first use is there then: fonts, parsers, tensors of MNIST."""
    from tests.runs import train

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        train(Path(folder))
    assert threading.active_count() == 1


def _call(asked: Mapping[str, Any]) -> int:
    os.setpgid(0, 0)
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    torch.seed()  # as different from each other as new processes
    np.random.seed()
    module, function = asked["call"].split(":")
    return getattr(importlib.import_module(module), function)(**asked["arguments"]) or 0


def _end(run: Callable[[], int]) -> None:
    """Run it and leave this process as Python leaves one."""
    code = 1
    try:
        try:
            code = run()
        except SystemExit as stop:
            code = stop.code % 256 if isinstance(stop.code, int) else int(stop.code is not None)
            if isinstance(stop.code, str):
                print(stop.code, file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        threading._shutdown()  # pyright: ignore
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:  # as the tracker of resources leaves them
                stream.flush()
    finally:  # or a copy of whoever forked it would go on
        os._exit(code)


def script(
    file: str,
    words: Sequence[str],
    folder: str,
    env: Mapping[str, str],
    file_size: int | None = None,
) -> None:
    """In a child: `python file words` in that folder, with these variables alone, and no larger file.

    What is read at import is as the zygote's variables have it.
    """
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = [file, *words]
    folders = list(filter(None, env.get("PYTHONPATH", "").split(os.pathsep)))
    sys.path[:] = [str(Path(file).parent), *folders, *sys.path]
    for path in map(Path, folders):
        _forget({module.stem for module in path.glob("*.py")})
        if (path / "sitecustomize.py").exists():
            runpy.run_path(str(path / "sitecustomize.py"), run_name="sitecustomize")
    runpy.run_path(file, run_name="__main__")


def _forget(hidden: Container[str]) -> None:
    """Modules that a folder of PYTHONPATH hides are to be imported from there."""
    for name in [name for name in sys.modules if name.partition(".")[0] in hidden]:
        del sys.modules[name]


def _start_anew(path: object, args: Sequence[str], kept: Sequence[int]) -> int:
    """In place of `multiprocessing.util.spawnv_passfds`: `python -c code words` without its imports."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _end(lambda: _anew(args[args.index("-c") + 1 :], kept))
    return pid


def _anew(args: Sequence[str], kept: Sequence[int]) -> int:
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if handle > 2 and handle not in kept:
            try:
                os.dup2(nothing, handle)  # closed, its number could be given to another, and be closed again
            except OSError:  # that of the list itself
                continue
    for signum in signal.valid_signals():
        if callable(signal.getsignal(signum)):
            signal.signal(signum, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # pyright: ignore[reportPrivateUsage]
    forkserver._forkserver.__init__()  # pyright: ignore
    resource_tracker._resource_tracker.__init__()  # pyright: ignore
    process._children.clear()  # pyright: ignore
    code, *words = args
    sys.argv = ["-c", *words]
    exec(code, {"__name__": "__main__"})
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    serve()
