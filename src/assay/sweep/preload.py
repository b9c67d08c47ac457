"""What the server of a sweep's processes imports and reads before it forks the first of them."""

import atexit
import importlib
import json
import os
import traceback
from typing import Any

from assay import imports
from assay.errors import UserError
from assay.sweep.pool import DATA

with imports():
    for name in ("assay.run.run", "jinja2"):  # with Lightning; for the reports
        importlib.import_module(name)
    import torch

    from assay.config.components import build
atexit.register(os._exit, 0)  # of the server alone: see `assay.leave`


def read_ahead(node: dict[str, Any]) -> None:
    """Read the data of a sweep; they are kept where they were read, so that all jobs share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # others would be missing in a forked process
    source: Any = build(node, "data", seed=0)
    source.prepare()
    for split in ("train", "val", "test"):
        source.dataset(split)
    torch.set_num_threads(threads)


if DATA in os.environ:
    try:
        read_ahead(json.loads(os.environ.pop(DATA)))
    except UserError:
        pass  # the process that validates says so
    except Exception:  # the server has to go on: each job meets it, and is recorded as failed
        traceback.print_exc()
