"""Put on PYTHONPATH, it makes the fitting of one job fail: the seed in BAD_SEED, in the way of FAULT."""

import builtins
import os
import signal
import sys
from typing import Any

FAULTS: dict[str, Any] = {
    "exception": lambda: 1 / 0,
    "exit": lambda: sys.exit(),
    "abort": os.abort,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
real_import = builtins.__import__


def importing(name: str, *args: Any, **kwargs: Any) -> Any:
    module = real_import(name, *args, **kwargs)
    trainer: Any = getattr(sys.modules.get("pytorch_lightning"), "Trainer", None)
    if hasattr(trainer, "fit") and not hasattr(trainer, "sound_fit"):
        trainer.sound_fit = trainer.fit

        def fit(self: Any, *rest: Any, **more: Any) -> Any:
            import torch

            if torch.initial_seed() == int(os.environ["BAD_SEED"]):
                once = os.environ.get("ONCE")
                if once is None or not os.path.exists(once):  # noqa: PTH110 (pathlib may not be imported yet)
                    if once is not None:
                        open(once, "w").close()  # noqa: PTH123
                    FAULTS[os.environ["FAULT"]]()
            return self.sound_fit(*rest, **more)

        trainer.fit = fit
    return module


builtins.__import__ = importing
