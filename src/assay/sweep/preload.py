"""What the server of a sweep's processes imports and reads before it forks the first of them."""

import atexit
import importlib
import json
import os
import threading
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

from assay import imports
from assay.config.components import build, component_problems
from assay.errors import UserError
from assay.sweep.pool import NODES

LOOK_SECONDS = 0.2
atexit.register(os._exit, 0)  # of the server alone: see `assay.leave`


@contextmanager
def ends_with_the_sweep() -> Generator[None]:
    """Inside, end at once when the sweep's process has: the server hears of that only when it serves."""
    sweep, is_over = os.getppid(), threading.Event()

    def watch() -> None:
        while not is_over.wait(LOOK_SECONDS):
            if os.getppid() != sweep:
                os._exit(0)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        is_over.set()
        watching.join()  # what is forked must have no thread


def read_ahead(nodes: Mapping[str, Any]) -> None:
    """Read the data; they are kept where they were read, so that all jobs share them.

    A config that is to be refused is left to the process that validates it.
    """
    if "data" not in nodes or any(component_problems(node, key) for key, node in nodes.items()):
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # others would be missing in a forked process
    try:
        source: Any = build(nodes["data"], "data", seed=0)
        source.prepare()
        for split in ("train", "val", "test"):
            source.dataset(split)
    except UserError:
        pass  # the process that validates says so
    except Exception:  # the server has to go on: each job meets it, and is recorded as failed
        traceback.print_exc()
    finally:
        torch.set_num_threads(threads)


with ends_with_the_sweep():
    with imports():
        for name in ("assay.run.run", "jinja2"):  # with Lightning; for the reports
            importlib.import_module(name)
    read_ahead(json.loads(os.environ.pop(NODES, "{}")))
