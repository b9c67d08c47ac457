"""What the server of a sweep's processes imports, for seconds, before it forks the first of them."""

import atexit
import importlib
import os

from assay import imports

with imports():
    importlib.import_module("assay.run.run")
atexit.register(os._exit, 0)  # of the server alone: see `assay.leave`
