"""From words to the validated config of one run: its own, or an earlier run's with what was typed on top.

    words -> compose once -> plain values -> validate once -> a frozen config

What is the same run, and what a resumed run may have otherwise, is decided by the two lists below alone.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from assay.config.components import build, component_keys, component_problems
from assay.config.compose import Composed, compose, composing
from assay.config.explain import PROJECT, file_of, groups, key_of, keys_of, value_at
from assay.config.messages import InvalidConfig, Problem, show
from assay.config.names import inside, local_path
from assay.config.redact import REDACTED
from assay.config.schema import BENCHES, BenchConfig, TrainConfig
from assay.config.validate import merge_problems, resolved, validate
from assay.errors import UserError

LARGEST = 1_000_000  # bytes; a run's config.yaml has some 3,000
ID_DIGITS = 12  # 48 bits: of 10,000 jobs two share one with a chance of 2e-7
# Paths, names, what is logged, how often it is saved, how batches are fed: a test proves that they leave the
# weights as they are, bit for bit. `device.threads` is not among them: it changes the last bits of a sum.
NO_EFFECT = (
    *("name", "resume", "output_dir", "logger", "sweep", "data.root", "data.download", "data.num_workers"),
    *("data.in_memory", "trainer.steps_per_execution", "trainer.log_every_n_steps"),
    *("trainer.checkpoint_every", "trainer.profiler"),
)
# what a resumed run may have otherwise, though it changes the result: how long to train, what to do then, and
# the name of the accelerator, if it is the one that it had
ON_RESUME = ("trainer.max_epochs", "trainer.max_steps", "stages", "ckpt", "device.accelerator")
EARLIER = ("resume", "ckpt", "output_dir")
# finds the folder of the run that is meant, from the values of EARLIER; None for a checkpoint from elsewhere
Find = Callable[[str | None, str | None, str], Path | None]


@dataclass(frozen=True)
class Loaded:
    """A config that may be run, and what else the words ask of Hydra."""

    config: Any  # TrainConfig, or the BenchConfig of the bench that was chosen
    composed: Composed
    words: Sequence[str]

    def placed(self, problems: Iterable[Problem]) -> InvalidConfig:
        """The problems with the files that their keys come from, unless the command line said them."""
        return InvalidConfig(_placed(list(problems), self.composed, self.words))


def load(config_name: str, words: Sequence[str], find: Find | None = None) -> Loaded:
    """The config of these words, validated but for its components; raises `UserError` with all problems."""
    with composing():
        loaded, problems = load_job(config_name, words, find)
    if loaded is None:
        raise InvalidConfig(problems)
    return loaded


def load_job(
    config_name: str, words: Sequence[str], find: Find | None = None
) -> tuple[Loaded | None, list[Problem]]:
    """The same inside `composing`, with its problems: a sweep says in which of its jobs they are."""
    earlier: list[tuple[Path, dict[str, Any]]] = []

    def onto(config: DictConfig, overrides: Sequence[Override]) -> DictConfig:
        asked: dict[str, Any] = {one.key_or_group: one.value() for one in overrides}
        try:
            resume, ckpt, output_dir = (asked.get(key, OmegaConf.select(config, key)) for key in EARLIER)
            for path in (resume, ckpt):
                local_path(str(path))
        except (OmegaConfBaseException, ValueError):  # to be said when the values are validated
            return config
        folder = find(resume, ckpt, str(output_dir)) if find else None
        if folder is None:
            return config
        earlier.append((folder, read_config(folder)))
        return _earlier(config, overrides, earlier[0][1], whole=resume is not None)

    composed, problems = compose(config_name, words, onto if find else None)
    plain, unresolved = resolved(composed.config)
    schema: Any = TrainConfig if config_name == "train" else BENCHES.get(str(plain.get("bench")))
    if schema is None:
        what = f"bench={show(plain.get('bench'))}: there is no such bench"
        return None, [*problems, Problem("bench", what, (f"bench is one of {', '.join(BENCHES)}",))]
    config, invalid = validate(schema, plain)
    if invalid:  # once more, with right names and examples from the config as it is shipped
        _, invalid = validate(schema, plain, working=_shipped(config_name))
    problems = [*problems, *_placed(merge_problems(unresolved, invalid), composed, words)]
    if earlier:
        problems += [*_secrets(plain, "type it again: {}=..."), *_changed(earlier[0][1], plain)]
    if problems or config is None:
        typed = {key_of(word).partition(".")[0] for word in words}
        return None, [*problems, *_typed_components(plain, typed, [one.key for one in problems])]
    if config_name == "train" and config.resume is not None and earlier:
        config = replace(config, resume=str(earlier[0][0]))  # `last` stood for it
    if config_name == "train" and config.sweep.name is not None:
        inside(Path(config.output_dir) / "sweeps", config.sweep.name, "sweep.name")
    return Loaded(config, composed, words), []


def check_components(config: TrainConfig | BenchConfig) -> None:
    """Raises `UserError` with the problems of all components; imports what they name."""
    plain = as_plain(config)
    problems = [one for key in component_keys(plain) for one in component_problems(value_at(plain, key), key)]
    if problems:
        raise InvalidConfig(problems)


def trial_problems(plain: Mapping[str, Any]) -> list[Problem]:
    """The problems of all components of a job that is to be built later and elsewhere.

    Optimizer, schedule and callbacks are built once on a dummy parameter: torch checks ranges in its
    constructors alone. Imports torch.
    """
    nodes = {key: value_at(plain, key) for key in component_keys(plain)}
    problems = [one for key, node in nodes.items() for one in component_problems(node, key)]
    if problems:
        return problems
    import torch

    dummy = torch.nn.Parameter(torch.zeros(2))
    try:
        optimizer = build(nodes["optimizer"], "optimizer", params=[dummy])
        build(nodes["scheduler"], "scheduler", optimizer=optimizer, total_steps=1000)
        for key, node in nodes.items():
            if key.startswith("callbacks."):
                build(node, key)
    except UserError as error:
        first, *notes = str(error).splitlines()
        return [Problem("", first, tuple(note.strip() for note in notes))]
    return []


def _typed_components(plain: Any, typed: set[str], refused: Sequence[str]) -> list[Problem]:
    """Where something else is wrong already: the problems of components that the command line is about."""
    problems: list[Problem] = []
    for key in component_keys(plain) if typed else []:
        group = key.partition(".")[0]
        node = value_at(plain, key)
        if group in typed and isinstance(node, Mapping) and not any(one.startswith(group) for one in refused):
            problems += component_problems(node, key)
    return problems


def _placed(problems: Sequence[Problem], composed: Composed, words: Sequence[str]) -> list[Problem]:
    """The problems with the file that their key comes from, unless the command line said it."""
    typed = [key_of(word) for word in words if key_of(word) not in groups(composed.folders)]

    def file(problem: Problem) -> str | None:
        if any(problem.key == key or problem.key.startswith(f"{key}.") for key in typed):
            return None
        return file_of(problem.key, composed.choices, composed.folders)

    return [replace(problem, file=file(problem)) for problem in problems]


def _shipped(config_name: str) -> dict[str, Any]:
    return resolved(compose(config_name, [])[0].config)[0]


# ---- which run it is


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


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The keys whose values differ, with both values; None where there is none."""
    keys = dict.fromkeys([*keys_of(one), *keys_of(other)])
    pairs = [(key, value_at(one, key), value_at(other, key)) for key in keys]
    return [(k, a, b) for k, a, b in pairs if a != b and not (isinstance(a, dict) and isinstance(b, dict))]


def result_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """The differences that a resumed run may not have."""
    free = (*NO_EFFECT, *ON_RESUME)
    return [
        (key, old, new)
        for key, old, new in differences(before, after)
        if not any(key == one or key.startswith(f"{one}.") for one in free)
    ]


# ---- an earlier run's config


def read_config(folder: Path) -> dict[str, Any]:
    """`config.yaml` of a run folder as plain data; raises `UserError` if it is not what Assay writes."""
    path = folder / "config.yaml"
    if not path.exists():
        raise UserError(f"{folder}: no run folder: it has no config.yaml\n  the runs are in outputs/runs/")
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: {path.stat().st_size} bytes are too many for a run's config")
        text = path.read_text(encoding="utf-8")
        events = yaml.parse(text, Loader=yaml.SafeLoader)
        if any(isinstance(event, yaml.AliasEvent) for event in events):
            raise UserError(f"{path}: it has aliases, and Assay writes none")
        plain = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: this is no YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(plain, dict) or not all(isinstance(key, str) for key in plain):
        raise UserError(f"{path}: it is no mapping of keys")
    root = value_at(plain, "data.root")
    if isinstance(root, str) and not Path(root).exists() and (PROJECT / root).exists():
        plain["data"]["root"] = str(PROJECT / root)  # made in the project's folder, looked at from elsewhere
    return plain


def saved_config(folder: Path) -> TrainConfig:
    """The config of the run in the folder, validated like any other; raises `UserError`."""
    plain = read_config(folder)
    config, problems = validate(TrainConfig, plain)
    problems = [*_secrets(plain, "without {} it cannot be run again"), *problems]
    if problems:
        raise UserError(f"{folder / 'config.yaml'} is refused:\n{InvalidConfig(problems)}")
    return config


def _earlier(
    config: DictConfig, overrides: Sequence[Override], saved: Mapping[str, Any], whole: bool
) -> DictConfig:
    """The earlier run's config, or only its data and model, with what options and presets were typed on top.

    Keys that the earlier run did not have, and secrets that were not kept, are filled in.
    """
    chosen: Any = OmegaConf.to_container(config, resolve=False)
    shipped: Any = OmegaConf.to_container(compose("train", [])[0].config, resolve=False)
    groups_typed = {one.key_or_group for one in overrides}
    result = dict(chosen)
    for key in chosen if whole else ("data", "model"):
        if key in saved and key not in groups_typed:
            result[key] = _over(saved[key], chosen[key], shipped.get(key))
    made = OmegaConf.create(result)
    OmegaConf.set_struct(made, True)
    return made


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


def _secrets(plain: Mapping[str, Any], note: str) -> list[Problem]:
    """The secrets that an earlier run had and did not write down."""
    lost = [key for key in keys_of(plain) if value_at(plain, key) == REDACTED]
    return [Problem(key, f"{key} was a secret and not kept", (note.format(key),)) for key in lost]


def _changed(saved: Mapping[str, Any], plain: Mapping[str, Any]) -> list[Problem]:
    """What a resumed run may not have otherwise; nothing where only weights, data and model are taken."""
    if plain.get("resume") is None:
        return []
    note = ("leave it out, or start a new run from its weights: ckpt= for resume=",)
    known = keys_of(saved)
    return [
        Problem(key, f"{key}={show(new)}: the run to resume has {key}={show(old)}", note)
        for key, old, new in result_differences(saved, plain)
        if key in known or key.partition(".")[0] in known
    ]
