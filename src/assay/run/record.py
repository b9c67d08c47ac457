"""What `result.json` says of a run as it begins, after its fit, and at its end, whatever that is.

What evaluation, test and export measure is put there by `run.py`.
"""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from assay.config.redact import redact
from assay.config.saved import as_plain, read_config
from assay.errors import Interrupted, RunFailed, UserError
from assay.run import failures
from assay.run.folder import RunFolder, blank_result
from assay.run.parts import Run
from assay.training.atomic import WriteError
from assay.training.history import History

log = logging.getLogger(__name__)


def begin_result(run: Run) -> None:
    """A first `result.json`, and the config as it is now; a resumed run keeps how long it has taken."""
    folder, config, device, source = run.folder, run.config, run.device, run.parts.data.source
    task = run.parts.learner.task
    before = folder.result
    overrides = before.get("overrides", run.overrides)
    is_new = not (folder.path / "config.yaml").exists()
    if is_new or (before and read_config(folder.path) != redact(as_plain(config))):
        folder.write_config(config, overrides)
    spent = before.get("seconds") or {}
    saved = run.point.history().seconds if run.point else 0.0  # a run that was killed cannot say more
    fitted = max(spent.get("fit") or 0.0, saved)
    total = max(spent.get("total", 0.0), fitted)
    in_use = {name: getattr(device, name) for name in ("name", "accelerator", "count", "precision")}
    begun = {
        "seconds": {"total": total, "start": None, "fit": fitted or None, "test": None, "epochs": []},
        "resumed": before.get("resumed", -1) + 1,
        "metric": task.metric,  # which decides what is the best
        "direction": task.direction,
        "device": in_use | {"threads": run.parts.threads},
        "data": {"name": source.name, "sha256": run.parts.data_sha256},
        "checkpoint": before.get("checkpoint", config.ckpt),
    }
    folder.update(**(blank_result(config, overrides) | begun))


def progress(history: History, seconds: dict[str, Any]) -> dict[str, Any]:
    """What `result.json` says of a fit, be it done or not."""
    last, best, trained = history.last, history.best, sum(history.epoch_seconds)
    if not last:
        return {"seconds": seconds}
    return {
        "metrics": {name: value for name, value in best.items() if name not in ("epoch", "step")},
        "last": {name: value for name, value in last.items() if name not in ("epoch", "step")},
        "best": {name: int(best[name]) for name in ("epoch", "step") if name in best},
        "epochs": int(last["epoch"]),
        "steps": int(last["step"]),
        "seconds": seconds | {"epochs": history.epoch_seconds},
        "samples_per_second": history.samples / trained if trained else None,
    }


@contextmanager
def ended_result(folder: RunFolder, began: float) -> Generator[None]:
    """Whatever happens inside, `result.json` says it; a bug leaves its traceback in `log.txt`."""

    def end(status: str, error: str | None = None) -> None:
        seconds = folder.result["seconds"]
        total = seconds["total"] + time.perf_counter() - began
        try:
            folder.update(status=status, error=error, seconds=seconds | {"total": total})
        except WriteError as unwritten:
            if status == "completed":
                raise
            log.error("%s: it goes on saying `running`, and the next command sees that it is not", unwritten)

    try:
        yield
    except Interrupted as stop:
        end("interrupted", str(stop))
        raise
    except RunFailed as error:
        log.error("%s", error)
        end(error.status, str(error))
        raise
    except UserError as error:
        end("failed", str(error))
        raise
    except Exception as error:
        log.exception("the run failed")
        end("failed", failures.told(error))
        raise RunFailed(failures.explained(error, folder.log)) from error
    end("completed")
