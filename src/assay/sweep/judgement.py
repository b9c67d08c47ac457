"""The part of the judgement that needs torch, made where the jobs are going to run.

To import torch and Lightning takes seconds, and each of joblib's workers has to: so the workers judge the
jobs before they get the first one, and nobody imports for the judgement alone.
"""

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, get_args

from omegaconf import DictConfig, OmegaConf

from assay.config.schema import TrainConfig
from assay.errors import UserError
from assay.sweep.engines import engine_of
from assay.sweep.folder import Job
from assay.sweep.jobs import judge_slots


def judged(jobs: Sequence[Job], hydra: Sequence[str], launcher: DictConfig) -> str | None:
    """The problems of the jobs as text, or None; what can be seen without torch has been judged before."""
    settings: Any = OmegaConf.to_container(launcher, resolve=True)
    engine = engine_of(settings, len(jobs))
    with_files = engine.is_local and not any(job.config.sweep.dry_run for job in jobs)
    if engine.name != "joblib" or not jobs:
        return _problems(jobs, hydra, with_files)
    from joblib import Parallel, delayed

    # with the settings that Hydra's launcher will give: for any others joblib would start new workers
    kept = ("n_jobs", "temp_folder", "max_nbytes", "mmap_mode", "verbose")
    parallel: Any = Parallel(**{key: settings[key] for key in kept}, backend="loky")
    return parallel(delayed(_ready_worker)(jobs, hydra, with_files) for _ in range(engine.workers))[0]


def _problems(jobs: Sequence[Job], hydra: Sequence[str], with_files: bool) -> str | None:
    try:
        judge_slots(jobs, hydra)
    except UserError as error:
        return str(error)
    named = {json.dumps(job.config.data): job.config for job in jobs} if with_files else {}
    return next((found for config in named.values() if (found := _file_problem(config))), None)


def _file_problem(config: TrainConfig, read: bool = False) -> str | None:
    """What is wrong with the data's files; a source's bug is the job's."""
    from assay.config.components import build
    from assay.data.source import Split

    try:
        source = build(config.data, "data", seed=config.seed)
        source.prepare()
        for split in get_args(Split) if read else ():
            source.dataset(split)
    except UserError as error:
        return str(error)
    except Exception:
        return None
    return None


def _ready_worker(jobs: Sequence[Job], hydra: Sequence[str], with_files: bool) -> str | None:
    """Judges, then imports and reads what the first job will.

    A worker that grows by 300 MB over its size after its first task is ended by joblib as one that leaks:
    this one is as large as its jobs will be.
    """
    found = _problems(jobs, hydra, with_files)
    if found is None and with_files:
        import_module("assay.run.run")
        _file_problem(jobs[0].config, read=True)
    return found


@contextmanager
def ended_workers() -> Generator[None]:
    """End joblib's workers after the block: it keeps them for later calls, and there will be none."""
    try:
        yield
    finally:
        if "joblib.externals.loky" in sys.modules:
            from joblib.executor import MemmappingExecutor

            loky: Any = import_module("joblib.externals.loky")
            executor = loky.get_reusable_executor(reuse=True)
            if isinstance(executor, MemmappingExecutor):  # else it is a new one: they have ended already
                executor.terminate(kill_workers=True)
