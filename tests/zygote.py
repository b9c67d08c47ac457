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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from multiprocessing import forkserver, process, resource_tracker, util
from pathlib import Path
from typing import Any

IMPORTED = (
    "assay.run.run", "assay.run.compare", "assay.sweep.sweep", "matplotlib.backends.backend_agg",
    "tests.runs", "tests.reliability.faults",
)  # fmt: skip


def serve() -> None:
    import torch

    for module in IMPORTED:
        importlib.import_module(module)
    torch.set_num_threads(1)  # a thread of a pool would not live on in a child
    _train_once()
    util.spawnv_passfds = _start_anew
    gc.freeze()
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "poll" in asked:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status) if pid else None}
        else:
            answer = {"pid": os.fork()}
            if answer["pid"] == 0:
                _end(partial(_call, asked), 70)
        print(json.dumps(answer), flush=True)
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
    module, function = asked["call"].split(":")
    return getattr(importlib.import_module(module), function)(**asked["arguments"]) or 0


def _end(run: Callable[[], int], code: int) -> None:
    """Run it and leave this process, as Python leaves one; `code` is that of a bug."""
    try:
        try:
            code = run()
        except SystemExit as stop:
            code = stop.code % 256 if isinstance(stop.code, int) else int(stop.code is not None)
        atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:  # as the tracker of resources leaves them
                stream.flush()
        os._exit(code)


def script(
    file: str,
    words: Sequence[str],
    folder: str,
    env: Mapping[str, str],
    file_size: int = resource.RLIM_INFINITY,
) -> None:
    """In a child: `python file words` in that folder, with these variables alone, and no larger file."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.RLIM_INFINITY))
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    sys.argv = [file, *words]
    sys.path[:] = [str(Path(file).parent), *_python_path(env), *sys.path]
    runpy.run_path(file, run_name="__main__")


def _python_path(env: Mapping[str, str]) -> Iterator[str]:
    """The folders of PYTHONPATH; what one of them hides is forgotten, `sitecustomize` is run."""
    for folder in filter(None, env.get("PYTHONPATH", "").split(os.pathsep)):
        yield folder
        names = {file.stem for file in Path(folder).glob("*.py")}
        for name in [name for name in sys.modules if name.partition(".")[0] in names]:
            del sys.modules[name]
        if "sitecustomize" in names:
            runpy.run_path(str(Path(folder) / "sitecustomize.py"), run_name="sitecustomize")


def _start_anew(path: object, args: Sequence[str], kept: Sequence[int]) -> int:
    """In place of `multiprocessing.util.spawnv_passfds`: `python -c code words` without its imports."""
    pid = os.fork()
    if pid == 0:
        _end(lambda: _anew(args[args.index("-c") + 1 :], kept), 1)
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
