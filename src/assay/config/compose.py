"""From command-line words to one composed config, as Hydra does it; no torch here."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
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
    """The same with the node `hydra` in it; call it inside `composer`."""
    return hydra_compose(config_name, list(overrides), return_hydra_config=True)


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
