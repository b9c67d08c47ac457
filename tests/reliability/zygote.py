"""A process that has imported everything once and forks one child for each call it is asked for.

Importing torch and Lightning takes seconds, and a child that is to be killed must not be the test's own
process. Lines of JSON come in (`{"call": "module:function", ...}` or `{"wait": pid}`) and go out.
"""

import importlib
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any


def serve() -> None:
    import torch

    for module in ("assay.run.run", "assay.run.compare", "tests.runs", "tests.reliability.faults"):
        importlib.import_module(module)
    torch.set_num_threads(1)  # a thread of a pool would not live on in a child
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if "wait" in asked:
            _, status = os.waitpid(asked["wait"], 0)
            answer: dict[str, Any] = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"pid": _fork(asked)}
        print(json.dumps(answer), flush=True)


def _fork(asked: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    os.setpgid(0, 0)
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 70
    try:
        module, function = asked["call"].split(":")
        code = getattr(importlib.import_module(module), function)(**asked["arguments"]) or 0
    except SystemExit as stop:
        code = stop.code % 256 if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    serve()
