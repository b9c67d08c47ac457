"""What Optuna does for a search: the journal, the samplers and pruners, and what a study shows. Needs Optuna.

The journal is a text file, `<sweep>/study.log`, which `optuna.load_study` reads.
"""

import io
import json
import os
import pickle
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, GridSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import TrialState

from assay.errors import UserError
from assay.report import Figure, Series
from assay.sweep.grid import Axis
from assay.sweep.space import is_log, is_whole

JOURNAL = "study.log"
FEWEST = 10  # trials with a value from which the importance of a key says something
SAMPLERS: Mapping[str, Any] = {"tpe": TPESampler, "random": RandomSampler, "gp": GPSampler}
# all that the state of CMA-ES is made of
STATE = {"CMA": "cmaes._cma", "ndarray": "numpy", "dtype": "numpy"}
STATE_PARTS = ("scalar", "_reconstruct")  # of numpy._core.multiarray


@final
class NoLock(JournalFileOpenLock):
    """The journal's one writer has the search's lock; Optuna's own would outlive a process that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def storage_in(folder: Path) -> JournalStorage:
    """The journal of a sweep's folder, made if it is not there. Raises `UserError` if it is damaged."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        storage = JournalStorage(JournalFileBackend(str(folder / JOURNAL), lock_obj=NoLock(JOURNAL)))
        for study in storage.get_all_studies():
            id = storage.get_study_id_from_name(study.study_name)
            for trial in storage.get_all_trials(id, deepcopy=False):
                if is_drawn(trial.user_attrs) or trial.state.is_finished():
                    _refuse_foreign(trial.system_attrs)
    except (ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{folder / JOURNAL} is damaged: {error}\n"
            "  the jobs are not: remove the journal, and begin the search under another sweep.name"
        ) from None
    return storage


class _State(pickle.Unpickler):
    """Reads the state of CMA-ES, which Optuna keeps as a pickle, and nothing else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        is_part = module_name == "numpy._core.multiarray" and global_name in STATE_PARTS
        if STATE.get(global_name) == module_name or is_part:
            return super().find_class(module_name, global_name)
        raise pickle.UnpicklingError(f"it holds {module_name}.{global_name}")


def _refuse_foreign(attributes: Mapping[str, Any]) -> None:
    """Raises `UnpicklingError` where a trial holds a pickle of anything but the state of CMA-ES."""
    parts = [name for name in attributes if "optimizer:" in name]
    if parts:
        prefix = parts[0].rpartition(":")[0]
        text = "".join(attributes[f"{prefix}:{at}"] for at in range(len(parts)))
        _State(io.BytesIO(bytes.fromhex(text))).load()


def is_drawn(attributes: Mapping[str, Any]) -> bool:
    """Whether a trial with these attributes has all its values."""
    return "jobs" in attributes or "refused" in attributes


def drop_half_a_trial(folder: Path) -> None:
    """Cut off half a line, which Optuna could read no further than, and a trial that was being drawn.

    The lines of one drawing stand together, and it is drawn again in the same way.
    """
    journal = folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    kept = len(lines) - (bool(lines) and not lines[-1].endswith(b"\n"))
    begun = next((at for at in reversed(range(kept)) if b'"datetime_start":' in lines[at]), kept)
    if not any(is_drawn(json.loads(line).get("user_attr", {})) for line in lines[begun:kept]):
        kept = begun
    if kept < len(lines):
        os.truncate(journal, sum(map(len, lines[:kept])))


def sampler_of(search: str, seed: int, number: int, drawn: Mapping[str, Axis]) -> BaseSampler:
    """That of one trial: what it draws follows from the seed, its number, and the trials before."""
    if search == "grid":  # the n-th trial is the n-th point of one shuffled order
        return GridSampler({key: _values(axis) for key, axis in drawn.items()}, seed=seed)
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if search == "cmaes":
        return CmaEsSampler(seed=own, warn_independent_sampling=False)
    return SAMPLERS[search](seed=own)


def pruner_of(prune: str, epochs: int) -> BasePruner:
    """The pruner; a trial has at most so many epochs."""
    if prune == "hyperband":
        return HyperbandPruner(max_resource=epochs)
    return MedianPruner() if prune == "median" else NopPruner()


def suggest(trial: optuna.Trial, key: str, axis: Axis) -> None:
    """Draw a value, unless it has been drawn; those of a list are as they would be typed."""
    numbers = axis.numbers
    if numbers is None:
        trial.suggest_categorical(key, axis.values)
        return
    low, high, step, log = numbers.low, numbers.high, numbers.step, is_log(numbers)
    if is_whole(numbers):
        trial.suggest_int(key, int(low), int(high), step=1 if log else int(step or 1), log=log)
    else:
        trial.suggest_float(key, low, high, step=None if log else step, log=log)


def _values(axis: Axis) -> Sequence[Any]:
    kind = type(axis.numbers.low) if axis.numbers else str
    return [kind(value) for value in axis.values]


def figures_of(folder: Path, metric: str) -> dict[str, list[Figure]]:
    """How the best value grew over the trials, and how much of it each key explains (PED-ANOVA).

    Empty for a sweep that is no search. Watanabe, Bansal and Hutter (2023), as Optuna has it.
    """
    if not (folder / JOURNAL).exists():
        return {}
    storage = storage_in(folder)
    names = [one.study_name for one in storage.get_all_studies()]
    study = optuna.load_study(study_name=names[0], storage=storage) if names else None
    ended = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) if study else []
    points = tuple((float(trial.number), trial.value or 0.0) for trial in ended)
    if study is None or len(points) < 2:
        return {}
    better = max if study.direction == optuna.study.StudyDirection.MAXIMIZE else min
    best = accumulate((value for _, value in points), better)
    so_far = tuple((number, value) for (number, _), value in zip(points, best, strict=True))
    series = (Series("trials", points, joined=False), Series("best so far", so_far))
    figures = [Figure("history", "", "trial", metric, series, logarithmic=False, from_zero=False)]
    keys = [key for key in ended[0].params if len({trial.params[key] for trial in ended}) > 1]
    if len(points) >= FEWEST and len(keys) > 1 and len({value for _, value in points}) > 1:
        shares = optuna.importance.get_param_importances(study, params=keys)
        figures.append(
            Figure("importance", "importance", "", "share (PED-ANOVA)", bars=shares, logarithmic=False)
        )
    return {"Search": figures}
