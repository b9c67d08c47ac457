"""Put on PYTHONPATH, it makes the fitting of one job fail: the seed in BAD_SEED, in the way of FAULT."""

import builtins
import os
import sys
from typing import Any

FAULTS: dict[str, Any] = {
    "exception": lambda: 1 / 0,
    "exit": lambda: sys.exit(),
    "abort": os.abort,
}
real_import = builtins.__import__


def importing(name: str, *args: Any, **kwargs: Any) -> Any:
    module = real_import(name, *args, **kwargs)
    run: Any = sys.modules.get("assay.run.run")
    if hasattr(run, "execute") and not hasattr(run, "sound_fit"):
        run.sound_fit = run.fit

        def fit(job: Any, *rest: Any, **more: Any) -> Any:
            if job.config.seed == int(os.environ["BAD_SEED"]):
                FAULTS[os.environ["FAULT"]]()
            return run.sound_fit(job, *rest, **more)

        run.fit = fit
    return module


builtins.__import__ = importing
