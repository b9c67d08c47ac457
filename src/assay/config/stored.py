"""The config of an earlier run, for `resume=` and `ckpt=`: data, judged by the same door as any other config.

What the command line says goes before what the run's `config.yaml` says: a key by its value, a group's
choice by its whole node, a preset (`experiment=`) by every key that it changes. A run that is resumed can
change only what cannot change its result.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from assay.config.compose import PROJECT, compose, is_group
from assay.config.describe import show
from assay.config.diagnose import unreadable
from assay.config.frame import TrainConfig
from assay.config.judge import Known, schema_problems, unknown_key
from assay.config.problems import Problem, refuse
from assay.config.resolve import keys_of, resolved, value_at
from assay.config.secrets import REDACTED
from assay.config.slots import judge_slot, slot_keys
from assay.config.words import parsed
from assay.errors import UserError

LARGEST = 1_000_000  # bytes; a run's config.yaml has some 3,000
SLOTS = ("data", "model", "optimizer", "scheduler", "logger", "callbacks")
# what a resumed run may have otherwise than before, as whole keys or as groups
FREE = (
    *("resume", "stages", "output_dir", "logger", "sweep", "trainer.log_every_n_steps"),
    "trainer.checkpoint_every",
    *("trainer.profiler", "data.root", "data.download", "data.num_workers", "data.in_memory"),
)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.yaml` of a run folder as plain data; raises `UserError` if it is not what we write."""
    path = folder / "config.yaml"
    if not path.is_file():
        raise UserError(f"{folder}: no run folder: it has no config.yaml\n  the runs are in outputs/runs/")
    if path.stat().st_size > LARGEST:
        raise UserError(f"{path}: {path.stat().st_size} bytes are too many for a run's config")
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        aliases = any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)
        )
        plain = yaml.safe_load(text) if not aliases else None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: this is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(plain, dict):
        raise UserError(
            f"{path}: {'it has aliases, and we write none' if aliases else 'it is no mapping of keys'}"
        )
    root = value_at(plain, "data.root")
    if isinstance(root, str) and not Path(root).exists() and (PROJECT / root).exists():
        _set(
            plain, "data.root", str(PROJECT / root)
        )  # made in the project's folder, looked at from elsewhere
    return plain


def _set(plain: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        if not isinstance(plain.get(part), dict):
            plain[part] = {}
        plain = plain[part]
    plain[last] = value


def _plain(words: Sequence[str]) -> dict[str, Any]:
    plain, problems = resolved(compose("train", words))
    if problems:
        raise refuse(problems)
    return plain


def _chosen_keys(word: str, shipped: dict[str, Any]) -> list[str]:
    """The keys that a group's choice is about: its node, or for a preset all that it changes."""
    key = parsed(word).key_or_group
    if key in shipped:
        return [key]
    alone = _plain([word])
    changed = [key for key, _, _ in differences(shipped, alone)]
    whole = dict.fromkeys(key.partition(".")[0] for key in changed if key.endswith("._target_"))
    return [*whole, *(key for key in changed if key.partition(".")[0] not in whole)]


def _typed(whole: dict[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """The config with the typed values; a key must be there already, or be added by `+`."""
    config = OmegaConf.create(whole)
    OmegaConf.set_struct(config, True)
    problems: list[Problem] = []
    for word in words:
        override = parsed(word)
        key, value = override.key_or_group, override.value()
        above = key.rpartition(".")[0]
        node = value_at(whole, above)
        known = isinstance(node, dict) and (
            key in keys_of(whole) or override.is_add() or override.is_force_add()
        )
        if known:
            OmegaConf.update(config, key, value, merge=True, force_add=True)
        else:
            problems.append(
                unknown_key(key, value, list(node) if isinstance(node, dict) else [], Known(whole))
            )
    plain, unresolved = resolved(config)
    if problems or unresolved:
        raise refuse([*problems, *unresolved])
    return plain


def merged(stored: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """The stored config with what the command line changes; keys that are new since are filled in."""
    words = [word for word in overrides if not word.lstrip("+~").startswith("hydra")]
    _readable(words, stored)
    chosen = [word for word in words if is_group(parsed(word).key_or_group)]
    shipped, plain = _plain([]), _plain(chosen)
    whole: dict[str, Any] = json.loads(json.dumps(stored))
    for key in keys_of(shipped):
        absent = key not in keys_of(whole) and key.partition(".")[0] not in SLOTS
        if absent or value_at(whole, key) == REDACTED:
            _set(whole, key, value_at(plain, key))
    for word in chosen:
        for key in _chosen_keys(word, shipped):
            _set(whole, key, value_at(plain, key))
    whole |= {"resume": None, "ckpt": None}  # what the earlier run started from is its past
    return _typed(whole, [word for word in words if word not in chosen])


def blanked(whole: dict[str, Any]) -> list[Problem]:
    """The secrets that the run had and did not write down."""
    keys = [key for key in keys_of(whole) if value_at(whole, key) == REDACTED]
    return [Problem(key, f"{key} was a secret and not kept", (f"type it again: {key}=...",)) for key in keys]


def _readable(words: Sequence[str], stored: dict[str, Any]) -> None:
    """Raises `UserError` for words that cannot be read; those about slots come here unread."""
    problems: list[Problem] = []
    for word in words:
        try:
            parsed(word)
        except HydraException as error:
            problems.append(unreadable(word, error, Known(stored)))
    if problems:
        raise refuse(problems)


def deferred(words: Sequence[str]) -> list[str]:
    """The words about keys of slots, where `resume` or `ckpt` brings the slots of an earlier run."""
    typed = [(word, word.partition("=")[0].lstrip("+~")) for word in words]
    if not any(key in ("resume", "ckpt") and not word.endswith("=null") for word, key in typed):
        return []
    return [word for word, key in typed if key.partition(".")[0] in SLOTS and "." in key]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values; None where there is none."""
    keys = dict.fromkeys([*keys_of(one), *keys_of(other)])
    pairs = [(key, value_at(one, key), value_at(other, key)) for key in keys]
    return [
        (key, a, b) for key, a, b in pairs if a != b and not (isinstance(a, dict) and isinstance(b, dict))
    ]


def _resumable(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Raises `UserError` if a resumed run would not be the run that it was."""
    changed = [
        (key, old, new)
        for key, old, new in differences(before, after)
        if not any(key == free or key.startswith(f"{free}.") for free in FREE) and key != "ckpt"
    ]
    if changed:
        lines = [f"{key}={show(new)}: the run to resume has {key}={show(old)}" for key, old, new in changed]
        raise UserError(
            "\n".join([*lines, "  leave it out, or start a new run from its weights: ckpt= for resume="])
        )


def stored_config(folder: Path, overrides: Sequence[str]) -> DictConfig:
    """The config of the run in `folder` with the changes of the command line, judged.

    Raises `UserError` for a folder that holds no run, for a config that would be refused from anywhere
    else, and for a change that a resumed run cannot have.
    """
    stored = read_config(folder)
    whole = merged(stored, overrides)
    problems = [*blanked(whole), *schema_problems(TrainConfig, whole)]
    if not problems:
        slots = {key: value_at(whole, key) or {"_target_": None} for key in slot_keys(whole)}
        problems = [one for key, node in slots.items() for one in judge_slot(node, key)]
    if problems:
        raise UserError(f"{folder / 'config.yaml'} is refused:\n{refuse(problems)}")
    if whole["resume"] is not None:
        _resumable(merged(stored, ()), whole)
    return OmegaConf.create(whole)
