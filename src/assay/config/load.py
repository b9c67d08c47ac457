"""From words to the validated config of one run: its own, or an earlier run's with what was typed on top.

words -> compose once -> plain values -> validate once -> a frozen config
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from assay.config.components import build, component_keys, component_problems
from assay.config.compose import Composed, compose, composing
from assay.config.explain import file_of, file_of_group, groups, key_of, value_at
from assay.config.messages import InvalidConfig, Problem, show
from assay.config.saved import EarlierRun, Find, as_plain, is_name_of_run, is_within
from assay.config.schema import BENCHES, BenchConfig, TrainConfig, inside
from assay.config.validate import merge_problems, resolved, validate


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
    earlier = EarlierRun(find) if find else None
    composed, problems = compose(config_name, words, earlier.onto if earlier else None)
    plain, unresolved = resolved(composed.config)
    schema: Any = TrainConfig if config_name == "train" else BENCHES.get(str(plain.get("bench")))
    if schema is None:
        what = f"bench={show(plain.get('bench'))}: there is no such bench"
        return None, [*problems, Problem("bench", what, (f"bench is one of {', '.join(BENCHES)}",))]
    config, invalid = validate(schema, plain)
    if invalid:  # once more, with right names and examples from the config as it is shipped
        _, invalid = validate(schema, plain, working=_shipped(config_name))
    saved = earlier.config_file if earlier else None
    if nameless := _nameless(plain):
        groups_of = [one.key for one in nameless]
        invalid = [*nameless, *(one for one in invalid if not is_within(one.key, groups_of))]
    problems = [*problems, *_placed(merge_problems(unresolved, invalid), composed, words, saved)]
    problems += earlier.problems(plain) if earlier else []
    if problems or config is None:
        typed = {key_of(word).partition(".")[0] for word in words}
        return None, [*problems, *_typed_components(plain, typed, [one.key for one in problems])]
    if earlier and config.resume is not None:
        config = replace(config, resume=str(earlier.folder))  # `last` stood for it
    elif earlier and config.ckpt is not None and is_name_of_run(config.ckpt):
        config = replace(config, ckpt=str(earlier.folder))
    if config_name == "train" and config.sweep.name is not None:
        inside(Path(config.output_dir) / "sweeps", config.sweep.name, "sweep.name")
    return Loaded(config, composed, words), []


def _nameless(plain: Mapping[str, Any]) -> list[Problem]:
    """Callbacks and loggers have a name each, since there may be several."""
    return [
        Problem(
            group,
            f"{group}._target_={show(plain[group]['_target_'])}: it needs a name over it",
            (f"in a YAML: <name>: and beneath it, further in, _target_: {plain[group]['_target_']}",),
        )
        for group in ("logger", "callbacks")
        if isinstance(plain.get(group), Mapping) and "_target_" in plain[group]
    ]


def check_components(config: TrainConfig | BenchConfig) -> None:
    """Raises `UserError` with the problems of all components; imports what they name."""
    plain = as_plain(config)
    problems = [one for key in component_keys(plain) for one in component_problems(value_at(plain, key), key)]
    if problems:
        raise InvalidConfig(problems)


def trial_problems(plain: Mapping[str, Any]) -> list[Problem]:
    """The problems of all components of a job that is to be built later and elsewhere.

    Task, optimizer, schedule and callbacks are built once, on a dummy parameter: torch checks ranges in its
    constructors alone. Imports torch.
    """
    nodes = {key: value_at(plain, key) for key in component_keys(plain)}
    problems = [one for key, node in nodes.items() for one in component_problems(node, key)]
    if problems:
        return problems
    import torch

    dummy = torch.nn.Parameter(torch.zeros(2))
    try:
        build(nodes["task"], "task")
        optimizer = build(nodes["optimizer"], "optimizer", params=[dummy])
        build(nodes["scheduler"], "scheduler", optimizer=optimizer, total_steps=1000)
        for key, node in nodes.items():
            if key.startswith("callbacks."):
                build(node, key, monitor="val/loss", mode="min")
    except InvalidConfig as error:
        return list(error.problems)
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


def _placed(
    problems: Sequence[Problem],
    composed: Composed,
    words: Sequence[str],
    saved: tuple[Path, Sequence[str]] | None = None,
) -> list[Problem]:
    """The problems with the file that their key comes from, unless the command line said it.

    `saved` is the config of an earlier run, and the keys that were taken from it.
    """
    known = groups(composed.folders) if problems else []
    typed = [key_of(word) for word in words if key_of(word) not in known]

    def file(problem: Problem) -> str | None:
        if is_within(problem.key, typed):
            return None
        if saved is not None and problem.key.partition(".")[0] in saved[1]:
            return str(saved[0])
        where = file_of(problem.key, composed.choices, composed.folders)
        group, earlier = problem.key.partition(".")[0], ("ckpt", "resume")  # whose config is another file
        if where or saved is not None or any(key in earlier or is_within(key, [group]) for key in typed):
            return where
        return file_of_group(problem.key, composed.choices, composed.folders)

    return [replace(problem, file=file(problem)) for problem in problems]


def _shipped(config_name: str) -> dict[str, Any]:
    return resolved(compose(config_name, [])[0].config)[0]
