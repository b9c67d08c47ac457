"""Configs of runs that are on disk: which two are the same run, and what a later command makes of one.

What leaves a result as it is, and what a resumed run may have otherwise: the two lists below alone say it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from assay import PROJECT
from assay.config.components import PREFIXES
from assay.config.compose import compose
from assay.config.explain import key_of, keys_of, value_at
from assay.config.messages import InvalidConfig, Problem, show
from assay.config.redact import REDACTED, redact_text
from assay.config.schema import TrainConfig, local_path
from assay.config.validate import fields, validate
from assay.errors import UserError

LARGEST = 1_000_000  # bytes; a run's config.yaml has some 3,000
DEEPEST = 50  # levels; it has some 4
LONGEST_LABEL = 80  # characters; the date and an id stand beside it
ID_DIGITS = 12  # 48 bits: of 10,000 jobs two share one with a chance of 2e-7
# Paths, names, what is logged, how often it is saved, how batches are fed: a test proves that they leave the
# weights as they are, bit for bit. `device.threads` is not among them: it changes the last bits of a sum.
NO_EFFECT = (
    *(
        "name",
        "resume",
        "output_dir",
        "logger",
        "sweep",
        "predict",
        "export",
        "data.root",
        "data.download",
        "data.num_workers",
    ),
    *("data.in_memory", "trainer.steps_per_execution", "trainer.log_every_n_steps"),
    *("trainer.checkpoint_every", "trainer.profiler"),
)
# what a resumed run may have otherwise, though it changes the result: how long to train, what to do then, and
# the name of the accelerator, if it is the one that it had
ON_RESUME = ("trainer.max_epochs", "trainer.max_steps", "stages", "ckpt", "device.accelerator")
LAST, BEST_OF = "last", "best:"  # what `ckpt` may be beside a path: the newest run, the best one of a sweep
MEANT_BY = ("resume", "ckpt", "output_dir")
# finds the folder of the run that is meant by these values; None for a checkpoint from elsewhere
Find = Callable[[str | None, str | None, str], Path | None]


def as_plain(config: Any) -> dict[str, Any]:
    """The config as it is written to `config.yaml`: dictionaries, lists, numbers, text."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def config_id(plain: Mapping[str, Any]) -> str:
    """Hex digits that two configs share if and only if their results should be equal."""
    return _digest(plain, NO_EFFECT)


def group_id(plain: Mapping[str, Any]) -> str:
    """The same for configs that differ in their seed alone."""
    return _digest(plain, (*NO_EFFECT, "seed"))


def _digest(plain: Mapping[str, Any], without: Sequence[str]) -> str:
    kept = json.loads(json.dumps(plain))
    for key in without:
        above, _, name = key.rpartition(".")
        (value_at(kept, above) or {}).pop(name, None)
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:ID_DIGITS]


def folder_label(overrides: Sequence[str]) -> str:
    """What of a run is not the default, for its folder's name: `optimizer=sgd,model.width=64`."""
    changed = [word for word in overrides if not is_within(key_of(word), (*NO_EFFECT, "ckpt", "hydra"))]
    text = re.sub(r"[][{}'\"<>]", "", ",".join(redact_text(word).lstrip("+~") for word in changed))
    return re.sub(r"[^\w.+=,-]+", "_", text, flags=re.ASCII)[:LONGEST_LABEL].strip("._-")


def differences(
    one: Mapping[str, Any], other: Mapping[str, Any], absent: Any = None
) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values; `absent` where there is none."""
    keys = dict.fromkeys([*keys_of(one), *keys_of(other)])
    pairs = [(key, value_at(one, key, absent), value_at(other, key, absent)) for key in keys]
    return [(k, a, b) for k, a, b in pairs if a != b and not (isinstance(a, dict) and isinstance(b, dict))]


def result_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The differences that a resumed run may not have."""
    free = (*NO_EFFECT, *ON_RESUME)
    return [
        (key, old, new)
        for key, old, new in differences(before, after)
        if not is_within(key, free) and old != REDACTED
    ]


def is_name_of_run(ckpt: str) -> bool:
    """Whether it is no path: which run it means is known once it has been looked for."""
    return ckpt == LAST or ckpt.startswith(BEST_OF)


def is_within(key: str, nodes: Sequence[str]) -> bool:
    """Whether the dotted key is one of the nodes, or lies in one."""
    return any(key == one or key.startswith(f"{one}.") for one in nodes)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.yaml` of a run folder as plain data; raises `UserError` if it is not what Assay writes."""
    path = folder / "config.yaml"
    if not path.exists():
        raise UserError(f"{folder}: no run folder: it has no config.yaml\n  the runs are in outputs/runs/")
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: {path.stat().st_size} bytes are too many for a run's config")
        text = path.read_text(encoding="utf-8")
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise UserError(f"{path}: it has aliases, and Assay writes none")
            if depth > DEEPEST:  # to read it would take minutes
                raise UserError(f"{path}: it is more than {DEEPEST} levels deep")
        plain = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: this is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
        raise UserError(f"{path}: it is no mapping of keys")
    for key, value in {one: value_at(plain, one) for one in keys_of(plain)}.items():
        is_target = key.endswith("._target_") and value is not None and not str(value).startswith(PREFIXES)
        is_unknown = key.partition(".")[0] not in fields(TrainConfig)
        if is_target or is_unknown or (isinstance(value, str) and "${" in value):
            raise UserError(f"{path} is refused: {key}={show(value)} is nothing that Assay writes there")
    root = value_at(plain, "data.root")
    if isinstance(root, str) and not Path(root).exists() and (PROJECT / root).exists():
        plain["data"]["root"] = str(PROJECT / root)  # made in the project's folder, looked at from elsewhere
    return plain


def saved_config(folder: Path) -> TrainConfig:
    """The config of the run in the folder, validated like any other; raises `UserError`."""
    plain = read_config(folder)
    config, problems = validate(TrainConfig, plain)
    problems = [*_lost_secrets(plain, "without {} it cannot be run again"), *problems]
    if problems:
        raise UserError(f"{folder / 'config.yaml'} is refused:\n{InvalidConfig(problems)}")
    return config


@dataclass
class EarlierRun:
    """The run that `resume` or `ckpt` means, once the words that say so have been read."""

    find: Find
    folder: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keys: list[str] = field(default_factory=list[str])  # that are taken from it

    @property
    def config_file(self) -> tuple[Path, Sequence[str]] | None:
        return (self.folder / "config.yaml", self.keys) if self.folder else None

    def onto(self, config: DictConfig, overrides: Sequence[Override]) -> DictConfig:
        """The config with that run's values in it, all or data, model and task, but for what was typed.

        Keys that the run did not have, and secrets that were not kept, stay as they are.
        """
        typed: dict[str, Any] = {one.key_or_group: one.value() for one in overrides}
        try:
            resume, ckpt, output_dir = (typed.get(key, OmegaConf.select(config, key)) for key in MEANT_BY)
            for path in (resume, ckpt):
                local_path(str(path))
        except (OmegaConfBaseException, ValueError):  # to be said when the values are validated
            return config
        self.folder = self.find(resume, ckpt, str(output_dir))
        if self.folder is None:
            return config
        self.config = read_config(self.folder)
        chosen: Any = OmegaConf.to_container(config, resolve=False)
        shipped: Any = OmegaConf.to_container(compose("train", [])[0].config, resolve=False)
        result = dict(chosen)
        for key in chosen if resume is not None else ("data", "model", "task"):
            if key in self.config and key not in typed:
                result[key] = _over(self.config[key], chosen[key], shipped.get(key))
                self.keys.append(key)
        made = OmegaConf.create(result)
        OmegaConf.set_struct(made, True)
        return made

    def problems(self, plain: Mapping[str, Any]) -> list[Problem]:
        """Secrets that are to be typed again, and what a resumed run may not have otherwise."""
        if self.folder is None:
            return []
        differing = result_differences(self.config, plain) if plain.get("resume") is not None else []
        note = ("leave it out, or start a new run from its weights: ckpt= for resume=",)
        return _lost_secrets(plain, "type it again: {}=...") + [
            Problem(key, f"{key}={show(new)}: the run to resume has {key}={show(old)}", note)
            for key, old, new in differing
            if key.partition(".")[0] in self.config  # not what is new since
        ]


def _over(saved: Any, chosen: Any, shipped: Any) -> Any:
    """The saved value, but for what a preset has changed and for keys that are new since."""
    if not (isinstance(saved, dict) and isinstance(chosen, dict)):
        return saved if chosen == shipped and saved != REDACTED else chosen
    if saved.get("_target_") != chosen.get("_target_"):
        return saved if chosen == shipped else chosen
    shipped = shipped if isinstance(shipped, dict) else {}
    inner = {
        key: _over(value, chosen.get(key, value), shipped.get(key, value)) for key, value in saved.items()
    }
    return inner | {
        key: value for key, value in chosen.items() if key not in saved and "_target_" not in saved
    }


def _lost_secrets(plain: Mapping[str, Any], note: str) -> list[Problem]:
    """The secrets that an earlier run had and did not write down."""
    lost = [key for key in keys_of(plain) if value_at(plain, key) == REDACTED]
    return [Problem(key, f"{key} was a secret and not kept", (note.format(key),)) for key in lost]
