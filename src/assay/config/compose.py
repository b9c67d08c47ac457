"""From command-line words to one composed config, as Hydra does it; no torch here."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl  # what sets a value has no public name
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

PROJECT = Path(__file__).resolve().parents[3]  # the checkout: an editable install runs from it
CONF = PROJECT / "conf"


def _project(path: str) -> str:
    """The path under the project's folder; short when the command is run from there."""
    return path if Path.cwd() == PROJECT else str(PROJECT / path)


OmegaConf.register_new_resolver("project", _project, replace=True)


@contextmanager
def composer(conf: Path = CONF) -> Generator[None]:
    """Keeps Hydra set up on the folder `conf`: to compose in it again costs a tenth of the first time.

    Inside a running Hydra application too, which has a Hydra of its own: it is put back at the end.
    """
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = running


def compose(config_name: str, overrides: Sequence[str], conf: Path = CONF) -> DictConfig:
    """The config `config_name` of the folder `conf` with the overrides applied."""
    with composer(conf):
        return hydra_compose(config_name, list(overrides))


def compose_whole(config_name: str, overrides: Sequence[str]) -> DictConfig:
    """The same with the node `hydra` in it; call it inside `composer`.

    Hydra takes long to put the files of a config together, so that is done once for each choice of options;
    values are set in a copy, by Hydra's own function. The jobs of a sweep share most of their choices.
    """
    values = {word: override for word in overrides if (override := _value(config_name, word)) is not None}
    if not values or any(word.startswith("hydra.searchpath=") for word in overrides):  # it may bring groups
        return hydra_compose(config_name, list(overrides), return_hydra_config=True)
    composed = _chosen(config_name, tuple(word for word in overrides if word not in values)).copy()
    # in the order typed, repetitions too: the last word on a key holds
    in_order = [values[word] for word in overrides if word in values]
    ConfigLoaderImpl._apply_overrides_to_config(in_order, composed)  # pyright: ignore[reportPrivateUsage]
    return composed


@lru_cache(maxsize=64)
def _chosen(config_name: str, choices: tuple[str, ...]) -> DictConfig:
    return hydra_compose(config_name, list(choices), return_hydra_config=True)


def _value(config_name: str, word: str) -> Override | None:
    """The word, if it is sure to set a value, and not to choose an option or to steer Hydra."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:
        return None
    key = override.key_or_group
    if override.is_sweep_override() or override.package is not None or key.partition(".")[0] == "hydra":
        return None
    is_leaf = not is_group(key) and not isinstance(_chosen(config_name, ()).get(key, {}), DictConfig)
    return override if "/" not in key and ("." in key or is_leaf) else None


def is_group(name: str, conf: Path = CONF) -> bool:
    """Whether `name` is a folder of options, such as `model`."""
    return (conf / name).is_dir() and bool(name) and not name.startswith(("/", "."))


def groups(conf: Path = CONF) -> list[str]:
    """All config groups of the folder."""
    return sorted(path.name for path in conf.iterdir() if path.is_dir() and any(path.glob("*.yaml")))


def options(group: str, conf: Path = CONF) -> list[str]:
    """The options of a config group."""
    return sorted(path.stem for path in (conf / group).glob("*.yaml"))


def title(path: Path) -> str:
    """What a YAML file says of itself in its first comment."""
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.lstrip("# ").strip()
        if line.startswith("#") and words and not words.startswith("@package"):
            return words
        if line and not line.startswith("#"):
            break
    return ""
