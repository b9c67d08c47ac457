"""From the words of a command line to one composed config; no torch here.

Hydra composes the files that the options name. Values are then set one by one with OmegaConf's own calls, so
that each wrong word is known by itself, and jobs of a sweep share the files of an equal choice of options.

No Hydra application runs. Of the node `hydra` only `launcher`, `job.env_set` and `searchpath` are read, as
plain values; whatever else a config changes in it is refused.
"""

import pickle
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from assay import CONF, PROJECT
from assay.config.explain import (
    bad_file,
    groups,
    reason,
    unfit,
    unknown_word,
    unreadable,
    value_at,
)
from assay.config.messages import InvalidConfig, Problem, show
from assay.errors import UserError

# what composing can raise for reasons that lie in the YAML files
COMPOSITION = (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError, ValueError)
PLUGINS = "hydra_plugins.hydra_"
LAUNCHERS = {
    "basic": "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "ray": f"{PLUGINS}ray_launcher.ray_launcher.RayLauncher",
    "submitit_local": f"{PLUGINS}submitit_launcher.submitit_launcher.LocalLauncher",
    "submitit_slurm": f"{PLUGINS}submitit_launcher.submitit_launcher.SlurmLauncher",
}
# texts of the launchers' own defaults; any other interpolation is refused
DEFAULT_TEXTS = ("${hydra.sweep.dir}/.submitit/%j", "${hydra.job.name}")
COMMANDS = ("setup", "additional_parameters")  # of submitit_slurm: shell lines and flags of sbatch
# by whole names: of many families some variable loads a library (OMP_TOOL_LIBRARIES, CUDA_INJECTION64_PATH)
ENVIRONMENT = {
    "OMP_NUM_THREADS", "OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME",
    "KMP_AFFINITY", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING",
    "CUBLAS_WORKSPACE_CONFIG", "NCCL_DEBUG", "NCCL_P2P_DISABLE", "NCCL_IB_DISABLE", "NCCL_SOCKET_IFNAME",
    "GLOO_SOCKET_IFNAME", "TORCH_LOGS", "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF",
}  # fmt: skip
QUIET = {"version": 1, "root": None, "disable_existing_loggers": False}
# the rest of what Hydra would act upon, as conf/train.yaml leaves it
AS_SHIPPED: Mapping[str, Any] = {
    **{"callbacks": {}, "env": {}, "verbose": False, "output_subdir": None, "run.dir": "."},
    **{"sweep": {"dir": ".", "subdir": "."}, "job_logging": QUIET, "hydra_logging": QUIET, "job.chdir": None},
    **{"job.env_copy": [], "sweeper._target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"},
    **{"sweeper.params": None, "sweeper.max_batch_size": None},
}


def _project(path: str) -> str:
    """The path under the project's folder; short when the command is run from there."""
    return path if Path.cwd() == PROJECT else str(PROJECT / path)


OmegaConf.register_new_resolver("project", _project, replace=True)


@dataclass(frozen=True)
class Composed:
    """A config without the node `hydra`; of that node what is used; and the folders of its YAML files."""

    config: DictConfig
    launcher: Mapping[str, Any]
    environment: Mapping[str, str]
    choices: Mapping[str, Any]  # the option of each group
    folders: tuple[Path, ...]


@contextmanager
def composing() -> Generator[None]:
    """Hydra set up on `conf/`: what is composed inside the block shares the work."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        try:
            yield
        finally:
            _files.cache_clear()
            _groups.cache_clear()


_groups = lru_cache(groups)


@lru_cache
def _files(folders: tuple[Path, ...]) -> tuple[object, ...]:
    """What a composition depends on beside its words: equal as long as no file of `conf/` is another.

    Folders of a person's own may hold many other files: they are read anew in each block of `composing`.
    """
    if folders != (CONF,):
        return (object(),)
    found = ((path, path.lstat()) for path in sorted(CONF.rglob("*.yaml")))  # an editor's lock is a dead link
    return tuple((path, stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in found)


@lru_cache(maxsize=1024)
def parse(word: str) -> Override:
    """One word as Hydra reads it; raises `HydraException` if it cannot be read."""
    return OverridesParser.create().parse_override(word)


def compose(
    config_name: str,
    words: Sequence[str],
    onto: Callable[[DictConfig, Sequence[Override]], DictConfig] | None = None,
) -> tuple[Composed, list[Problem]]:
    """The config with the words that fit, and a problem for each that does not; inside `composing`.

    `onto` may put an earlier run's values in the place of the files', before the typed values are set.
    Raises `UserError` where a YAML file keeps Hydra from composing at all.
    """
    problems: list[Problem] = []
    overrides: list[Override] = []
    for word in words:
        try:
            overrides.append(parse(word))
        except HydraException:
            problems.append(unreadable(word, config_name))
    folders = (CONF, *_search_path(overrides))
    known = _groups(folders)
    problems += [
        problem for one in overrides if (problem := unfit(one, folders) or _of_hydra(one)) is not None
    ]
    refused = {problem.key for problem in problems}
    fit = [one for one in overrides if one.key_or_group not in refused]
    choosing = [one for one in fit if _is_choice(one, known)]
    chosen = tuple(str(one.input_line) for one in choosing)
    try:
        pickled, hydra = _chosen(config_name, chosen, _files(folders))
    except COMPOSITION as error:
        raise InvalidConfig([bad_file(error, chosen, folders)]) from None
    config: DictConfig = pickle.loads(pickled)
    if onto is not None:
        config = onto(config, fit)
    for override in fit:
        belongs = override.key_or_group.partition(".")[0] in refused  # to an option that is not there
        problem = None if override in choosing or belongs else _set(config, override, known)
        problems += [problem] if problem is not None else []
    problems += _hydra_problems(hydra, overrides)
    choices = hydra["runtime"]["choices"]
    environment = {} if problems else {name: str(v) for name, v in hydra["job"]["env_set"].items()}
    return Composed(config, hydra["launcher"], environment, choices, folders), problems


def _search_path(overrides: Sequence[Override]) -> list[Path]:
    """The folders that `hydra.searchpath` adds; raises `UserError` for a package, which would be imported."""
    folders: list[Path] = []
    for override in overrides:
        value = override.value() if override.key_or_group == "hydra.searchpath" else []
        for place in value if isinstance(value, list) else [value]:
            if not str(place).startswith(("file://", "/", ".")):
                raise UserError(
                    f"{override.input_line} is refused: only a folder on this machine can hold configs\n"
                    "  for example --config-dir my_conf"
                )
            folders.append(Path(str(place).removeprefix("file://")))
    return folders


def _is_choice(override: Override, known: Sequence[str]) -> bool:
    """Whether the word chooses an option or steers Hydra, and so takes part in the composition itself."""
    key = override.key_or_group
    return key in known or "/" in key or key.startswith("hydra.") or override.package is not None


@lru_cache(maxsize=64)
def _chosen(
    config_name: str, chosen: tuple[str, ...], files: tuple[object, ...]
) -> tuple[bytes, Mapping[str, Any]]:
    """The config of the options alone, and the node `hydra`, unresolved; the same as long as the files are.

    Pickled, to be changed by each who asks: OmegaConf's own copy takes five times as long.
    """
    whole = hydra_compose(config_name, list(chosen), return_hydra_config=True)
    config = OmegaConf.masked_copy(whole, [str(key) for key in whole if key != "hydra"])
    OmegaConf.set_struct(config, True)
    hydra: Any = OmegaConf.to_container(whole.hydra, resolve=False)
    return pickle.dumps(config), hydra


def _set(config: DictConfig, override: Override, known: Sequence[str]) -> Problem | None:
    """Apply one word to the config as Hydra would, or say why it cannot be."""
    key, word = override.key_or_group, str(override.input_line)
    there = OmegaConf.select(config, key, default=_set, throw_on_missing=False) is not _set
    try:
        if override.is_delete():
            return _deleted(config, key) if there else unknown_word(override, config, known)
        value = override.value()
        if override.is_add() and there and not isinstance(value, (dict, list)):
            return Problem(key, f"{word}: {key} is there already", (f"leave the + out: {word.lstrip('+')}",))
        adds = override.is_add() or override.is_force_add()
        OmegaConf.update(config, key, value, merge=True, force_add=adds)
    except (ConfigAttributeError, ConfigKeyError):
        return unknown_word(override, config, known)
    except OmegaConfBaseException as error:
        return Problem(key, f"{word}: {reason(error)}")
    return None


def _deleted(config: DictConfig, key: str) -> None:
    above, _, name = key.rpartition(".")
    node: Any = OmegaConf.select(config, above) if above else config
    with open_dict(config):
        del node[name]


def _of_hydra(override: Override) -> Problem | None:
    """A word that steers Hydra where Assay steers itself."""
    key, word = override.key_or_group, str(override.input_line)
    value = word.partition("=")[2]
    if key == "hydra.launcher.n_jobs" or (key == "hydra/launcher" and value == "joblib"):
        workers = value if key.endswith("n_jobs") and value.isdigit() else "<n_jobs>"
        what = f"{word}: several jobs at once need no launcher"
        return Problem(key, what, (f"type sweep.workers={workers}, or sweep.workers=auto",))
    allowed = ("hydra/launcher", "hydra.launcher.", "hydra.job.env_set.", "hydra.searchpath")
    if not key.startswith(("hydra.", "hydra/")) or key.startswith(allowed):
        return None
    return Problem(key, f"{word} is refused: Assay itself does what {key} would", (RULE,))


RULE = "of Hydra's own keys only hydra/launcher, launcher.*, job.env_set.* and searchpath can be set"


def _hydra_problems(hydra: Mapping[str, Any], typed: Sequence[Override]) -> list[Problem]:
    """What a word or a file has put into the node `hydra` and may not."""
    launcher, environment = hydra["launcher"], hydra["job"]["env_set"]
    changed = {key: value_at(hydra, key) for key in AS_SHIPPED if value_at(hydra, key) != AS_SHIPPED[key]}
    option = str(hydra["runtime"]["choices"].get("hydra/launcher"))
    if not isinstance(launcher, dict) or launcher.get("_target_") != LAUNCHERS.get(option, ""):
        changed["launcher"] = launcher
    by_hand = [override.key_or_group for override in typed]
    for name in COMMANDS if "launcher" not in changed else ():
        if launcher.get(name) and f"hydra.launcher.{name}" not in by_hand:  # a file may not bring commands
            changed[f"launcher.{name}"] = launcher[name]
    if not isinstance(environment, dict):
        changed["job.env_set"] = environment
    else:
        changed |= {f"job.env_set.{name}": environment[name] for name in environment.keys() - ENVIRONMENT}
    for key, value in {**_leaves(launcher, "launcher"), **_leaves(environment, "job.env_set")}.items():
        if isinstance(value, str) and "${" in value and value not in DEFAULT_TEXTS:
            changed[key] = value
    return [
        Problem(f"hydra.{key}", f"hydra.{key}={show(value)} is refused: a config may not set this", (RULE,))
        for key, value in changed.items()
    ]


def _leaves(value: Any, key: str) -> dict[str, Any]:
    """All values under a node by their dotted keys; a node that should be one and is not, itself."""
    if not isinstance(value, (dict, list)):
        return {key: value}
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    return {name: leaf for part, inner in pairs for name, leaf in _leaves(inner, f"{key}.{part}").items()}
