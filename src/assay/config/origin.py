"""Which YAML file and line a key comes from, for messages."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import (
    ConfigLoaderImpl,
)  # hydra says no other way where a key comes from
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from assay.config.compose import CONF, PROJECT
from assay.config.words import parsed


def shown(path: Path) -> str:
    """The path as short as it can be given from the project's folder."""
    return str(path.relative_to(PROJECT)) if path.is_relative_to(PROJECT) else str(path)


def line_of(path: Path, parts: Sequence[str]) -> int | None:
    """The line (from 1) of the nested key in the file, or None if the file has no such key."""
    node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    line = None
    for part in parts:
        if isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        found = next(((k, v) for k, v in pairs if k.value == part), None)
        if found is None:
            return None
        line, node = found[0].start_mark.line + 1, found[1]
    return line


def _search_path(word: str) -> list[Any]:
    """The folders of the user's own that a word adds."""
    if not word.startswith("hydra.searchpath="):
        return []
    value = parsed(word).value()
    return value if isinstance(value, list) else [value]


def _files(config_name: str, words: Sequence[str]) -> list[tuple[Path, str]]:
    """The YAML files that the config is composed of, with the package each stands in, in merging order."""
    loader = GlobalHydra.instance().config_loader()
    assert isinstance(loader, ConfigLoaderImpl)
    defaults = loader.compute_defaults_list(config_name, list(words), RunMode.RUN).defaults
    folders = [Path(source.path) for source in loader.get_sources() if source.scheme() == "file"] or [CONF]
    folders += [Path(str(path).removeprefix("file://")) for word in words for path in _search_path(word)]
    files: list[tuple[Path, str]] = []
    for default in defaults:
        paths = [folder / f"{default.config_path}.yaml" for folder in folders]
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            files.append((path, default.package or ""))
    return files


def where(config_name: str, words: Sequence[str], key: str) -> str | None:
    """`conf/trainer/default.yaml:3` for the file that had the last word on `key`; inside `composer`."""
    parts = key.split(".")
    for path, package in reversed(_files(config_name, words)):
        above = package.split(".") if package else []
        if parts[: len(above)] != above:
            continue
        line = line_of(path, parts[len(above) :])
        if line is not None:
            return f"{shown(path)}:{line}"
    return None


def defined_in(group: str, option: str, name: str) -> bool:
    """Whether the YAML of the option has the key."""
    return line_of(CONF / group / f"{option}.yaml", [name]) is not None
