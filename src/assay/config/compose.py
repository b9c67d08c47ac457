"""From command-line words to one composed config, as Hydra does it; no torch here."""

from collections.abc import Sequence
from pathlib import Path

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from omegaconf import DictConfig, OmegaConf

PROJECT = Path(__file__).resolve().parents[3]  # the checkout: an editable install runs from it


def _project(path: str) -> str:
    """The path under the project's folder; short when the command is run from there."""
    return path if Path.cwd() == PROJECT else str(PROJECT / path)


OmegaConf.register_new_resolver("project", _project, replace=True)


def compose(config_name: str, overrides: Sequence[str], conf: Path = PROJECT / "conf") -> DictConfig:
    """The config `config_name` of the folder `conf` with the overrides applied."""
    with initialize_config_dir(str(conf), version_base="1.3"):
        return hydra_compose(config_name, list(overrides))
