"""Judges the node `hydra` of a composed config: Hydra builds some of it itself, past our own door.

Callbacks may come from the allow-list. Launchers and sweepers are plugins that are installed, hence their own
list. The logging configs may name handlers of Python's own logging alone. Folders are made by Assay, and the
environment of a job may only be given thread counts, devices and the like: `PYTHONPATH` or `LD_PRELOAD` would
run code.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from assay.config.describe import show
from assay.config.problems import Problem
from assay.config.resolve import value_at
from assay.config.slots import Kind, judge_slot

PLUGINS = ("hydra._internal.core_plugins.", "hydra_plugins.", "assay.sweep.")
LOGGING = ("logging.", "rich.logging.", "colorlog.")
ENVIRONMENT = (
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "CUDA_",
    "NCCL_",
    "GLOO_",
    "TORCH_LOGS",
    "TORCH_NCCL_",
    "PYTORCH_",
    "SLURM_",
)
FOLDERS = ("run.dir", "output_subdir", "job.chdir", "sweep.dir", "sweep.subdir")


def _targets(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    """All `_target_`, `class` and `()` entries under a node, with their keys."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name in ("_target_", "class", "()"):
                yield f"{key}.{name}", value
            yield from _targets(value, f"{key}.{name}")
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from _targets(value, f"{key}.{at}")


def _texts(node: Any, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _texts(value, f"{key}.{name}")
    elif isinstance(node, list):
        for at, value in enumerate(node):
            yield from _texts(value, f"{key}.{at}")
    elif isinstance(node, str):
        yield key, node


def _plugins(plain: Mapping[str, Any]) -> list[Problem]:
    problems: list[Problem] = []
    for part, prefixes in (("launcher", PLUGINS), ("sweeper", PLUGINS)):
        for key, target in _targets(plain.get(part), f"hydra.{part}"):
            if not str(target).startswith(prefixes):
                notes = (f"allowed are plugins of Hydra: {', '.join(prefixes)}",)
                problems.append(Problem(key, f"{key}={show(target)} is refused: it is no {part}", notes))
    for part in ("job_logging", "hydra_logging"):
        for key, target in _targets(plain.get(part), f"hydra.{part}"):
            if not str(target).startswith(LOGGING):
                notes = (f"allowed are handlers of {', '.join(LOGGING)}",)
                problems.append(Problem(key, f"{key}={show(target)} is refused: it is no log handler", notes))
        for key, text in _texts(plain.get(part), f"hydra.{part}"):
            if text.startswith("ext://") and text not in ("ext://sys.stdout", "ext://sys.stderr"):
                what = f"{key}={show(text)} is refused: it names an object of a program"
                problems.append(Problem(key, what, ("allowed are ext://sys.stdout and ext://sys.stderr",)))
    return problems


def hydra_problems(node: DictConfig, shipped: DictConfig) -> list[Problem]:
    """All problems of the node `hydra`, beside the one that is shipped.

    Values stay unresolved: what a run resolves later cannot name code.
    """
    plain: Any = OmegaConf.to_container(node, resolve=False)
    ours: Any = OmegaConf.to_container(shipped, resolve=False)
    problems = _plugins(plain)
    for name, callback in (plain.get("callbacks") or {}).items():
        if isinstance(callback, Mapping):
            problems += judge_slot(callback, f"hydra.callbacks.{name}", (), Kind())
    for name in plain["job"].get("env_set") or {}:
        if not str(name).startswith(ENVIRONMENT):
            what = f"hydra.job.env_set.{name} is refused: a config may not set this variable"
            notes = (f"allowed are {', '.join(f'{one}*' for one in ENVIRONMENT)}",)
            problems.append(Problem(f"hydra.job.env_set.{name}", what, notes))
    sweeper = value_at(plain, "sweeper._target_")
    if sweeper != value_at(ours, "sweeper._target_"):
        typed = show(sweeper or plain.get("sweeper"))
        what = f"hydra.sweeper={typed} is refused: Assay has a sweeper of its own"
        problems.append(Problem("hydra.sweeper", what, ("leave hydra/sweeper out",)))
    if value_at(plain, "launcher.n_jobs") == 0:
        what = "hydra.launcher.n_jobs=0 is not allowed: it is how many jobs run at once"
        problems.append(Problem("hydra.launcher.n_jobs", what, ("for example 2, or -1 for one a core",)))
    for key in FOLDERS:
        value = value_at(plain, key)
        if value != value_at(ours, key):
            what = f"hydra.{key}={show(value)} is refused: Assay itself makes the folders"
            problems.append(Problem(f"hydra.{key}", what, ("the folder of all results is output_dir",)))
    return problems


def search_problems(words: Sequence[str]) -> list[Problem]:
    """The words that would look for configs elsewhere than in a folder: `pkg://` imports what it names.

    To be asked before composing, which does it.
    """
    problems: list[Problem] = []
    for word in words:
        key, _, value = word.lstrip("+~").partition("=")
        places = [one.strip(" \"'") for one in value.strip("[]").split(",")]
        if key == "hydra.searchpath" and not all(one.startswith(("file://", "/", ".")) for one in places):
            what = f"{word} is refused: only a folder on this machine can hold configs"
            problems.append(Problem(key, what, ("for example --config-dir my_conf",)))
    return problems
