"""The way in: from words to a judged config, or to all problems that can be seen at once.

Composition first: where Hydra stops at the first bad word, the words are added one by one and the bad ones
set aside. Then the frame is judged against its schema, and the slots against the constructors that they
name. The constructors are imported last, and not at all for slots that are as shipped when something else
is wrong: importing torch takes seconds.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from assay.config import names
from assay.config.compose import compose_whole, composer, is_group
from assay.config.diagnose import bad_file, bad_word
from assay.config.frame import TrainConfig
from assay.config.hydra_node import hydra_problems, search_problems
from assay.config.judge import Known, judge, schema_problems
from assay.config.origin import where
from assay.config.problems import Problem, refuse
from assay.config.resolve import resolved, value_at
from assay.config.slots import judge_slot, slot_keys, try_slot
from assay.config.stored import deferred
from assay.config.words import parsed
from assay.errors import UserError

T = TypeVar("T")
# what composing can raise for reasons that lie in the words or in the YAML files
COMPOSITION = (HydraException, OmegaConfBaseException, yaml.YAMLError, RecursionError, ValueError)


@dataclass(frozen=True)
class JudgedConfig(Generic[T]):
    """A config that may be run: typed, as composed, and the words that made it."""

    config: T
    composed: DictConfig
    overrides: tuple[str, ...]
    deferred: tuple[str, ...] = ()  # words that only the config of the run in `resume` or `ckpt` can judge


def schema_of(config_name: str, plain: Mapping[str, Any]) -> type[Any]:
    """The schema of `train.yaml`, or of the bench that `bench.yaml` was composed with."""
    if config_name == "train":
        return TrainConfig
    from assay.config.bench_frame import bench_schema  # its schemas are many, and `train` needs none

    return bench_schema(str(plain.get("bench")))


def _rank(word: str) -> int:
    """Folders bring options and options bring keys: words are added in this order."""
    key = word.partition("=")[0].lstrip("+~")
    if key == "hydra.searchpath":
        return 0
    return 1 if is_group(key.partition("@")[0]) else 2


def _culprits(config_name: str, words: Sequence[str]) -> tuple[DictConfig, list[str], list[Problem]]:
    """The config without the words that cannot be added, those that can, a problem for each that cannot."""
    kept: list[str] = []
    composed = _shipped(config_name)
    known = Known(_plain(composed)[0])
    problems: list[Problem] = []
    for word in sorted(words, key=_rank):
        try:
            composed = compose_whole(config_name, [*kept, word])
            kept.append(word)
        except COMPOSITION as error:
            of_refused_group = any(word.lstrip("+~").startswith(f"{one.key}.") for one in problems)
            if not of_refused_group:
                problems.append(bad_word(word, error, _plain(composed)[0], known))
    return composed, [word for word in words if word in kept], problems


def _plain(composed: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """The resolved config without the node `hydra`, whose values exist only while a job runs."""
    return resolved(_job(composed))


def _job(composed: DictConfig) -> DictConfig:
    """A copy without the node `hydra`."""
    job = OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    OmegaConf.set_struct(job, True)
    return job


def _gathered(config_name: str, words: Sequence[str]) -> tuple[DictConfig, list[str], list[Problem]]:
    elsewhere = search_problems(words)
    if elsewhere:
        raise refuse(elsewhere)
    try:
        return compose_whole(config_name, words), list(words), []
    except COMPOSITION:
        pass  # said word by word below
    try:
        return _culprits(config_name, words)
    except COMPOSITION as error:  # without any word: the files are at fault
        raise refuse([bad_file(error)]) from None


def _slot_problems(
    plain: Mapping[str, Any], before: Sequence[Problem], shipped: Mapping[str, Any]
) -> list[Problem]:
    """The problems of all slots; those that are as shipped are looked at only where nothing else is wrong."""
    keys = [key for key in slot_keys(plain) if isinstance(value_at(plain, key) or {}, Mapping)]
    keys = [key for key in keys if not any(one.key.startswith(key) for one in before)]
    changed = [key for key in keys if value_at(plain, key) != value_at(shipped, key)]
    problems = [one for key in changed for one in _of_slot(plain, key)]
    if before or problems:
        return problems
    return [one for key in keys if key not in changed for one in _of_slot(plain, key)]


def _of_slot(plain: Mapping[str, Any], key: str) -> list[Problem]:
    node: dict[str, Any] = value_at(plain, key) or {"_target_": None}
    return judge_slot(node, key) or _tried(json.dumps(node, default=repr), key)


TRIED: dict[tuple[str, str], list[Problem]] = {}


def _tried(node: str, key: str) -> list[Problem]:
    """`try_slot`, once a process for each node: the jobs of a sweep share most of theirs."""
    if (node, key) not in TRIED:
        TRIED[node, key] = try_slot(json.loads(node), key)
    return TRIED[node, key]


def _placed(problem: Problem, config_name: str, words: Sequence[str]) -> Problem:
    """The problem with the file and line that its key comes from, unless the command line said it."""
    if problem.where is not None or not problem.key:
        return problem
    typed = [parsed(word).key_or_group for word in words]
    if any(problem.key == key or problem.key.startswith(f"{key}.") for key in typed if not is_group(key)):
        return problem
    return replace(problem, where=where(config_name, words, problem.key))


def _leaving(plain: Mapping[str, Any]) -> list[Problem]:
    """Names that lead out of the output folder through a link that lies there already."""
    sweep = value_at(plain, "sweep.name")
    try:
        if isinstance(sweep, str):
            names.inside(Path(str(plain.get("output_dir"))) / "sweeps", sweep, "sweep.name")
    except UserError as error:
        first, *notes = str(error).splitlines()
        return [Problem("sweep.name", first, tuple(note.strip() for note in notes))]
    return []


def _seen(config_name: str, words: Sequence[str], slots: bool) -> tuple[DictConfig, type[Any], list[Problem]]:
    """The job's config, its schema, and all problems that can be seen together; inside `composer`."""
    composed, kept, unread = _gathered(config_name, words)
    problems = hydra_problems(composed.hydra, _shipped(config_name).hydra)
    job = _job(composed)
    plain, unresolved = resolved(job)
    schema = schema_of(config_name, plain)
    wrong = schema_problems(schema, plain)
    if wrong:  # again, with examples
        wrong = schema_problems(schema, plain, known=Known(_defaults(config_name)))
    dead = {problem.key for problem in unresolved}
    problems += [*unresolved, *(one for one in wrong if one.key not in dead)]
    problems += _leaving(plain) if not any(one.key == "sweep.name" for one in problems) else []
    if slots:
        problems += _slot_problems(plain, [*unread, *problems], _defaults(config_name))
    return job, schema, [*unread, *(_placed(one, config_name, kept) for one in problems)]


def judged(config_name: str, overrides: Sequence[str], slots: bool = True) -> JudgedConfig[Any]:
    """The config of these words, judged; with `slots=False` the frame alone, which needs no torch.

    Raises `UserError` with all problems that can be seen together.
    """
    later = deferred(overrides) if config_name == "train" else []
    with composer():
        job, schema, problems = _seen(config_name, [w for w in overrides if w not in later], slots)
    if problems:
        raise refuse(problems)
    return JudgedConfig(judge(schema, job), job, tuple(overrides), tuple(later))


def judge_jobs(config_name: str, jobs: Sequence[Sequence[str]]) -> None:
    """Raises `UserError` with the problems of all jobs of a sweep; those that need no torch first."""
    with composer():
        for with_slots in (False, True):
            problems = [one for words in jobs for one in _seen(config_name, words, with_slots)[2]]
            if problems:
                raise refuse(problems)


def frames(
    config_name: str, jobs: Sequence[Sequence[str]]
) -> Iterator[tuple[TrainConfig | None, list[Problem]]]:
    """Of each job the config, judged without its slots, which would need torch; or its problems."""
    with composer():
        for words in jobs:
            job, schema, problems = _seen(config_name, words, slots=False)
            yield (None if problems else judge(schema, job)), problems


def slot_problems(
    config_name: str, jobs: Sequence[tuple[Sequence[str], Mapping[str, Any]]]
) -> Iterator[list[Problem]]:
    """Of each job, given as its words and the plain config of its frame, the problems of its slots."""
    with composer():
        for words, plain in jobs:
            found = _slot_problems(plain, [], _defaults(config_name))
            yield [_placed(one, config_name, words) for one in found]


def composes(config_name: str, overrides: Sequence[str], resolve: bool = False) -> None:
    """Raises `UserError` if the words do not compose, or, with `resolve`, if a value cannot be resolved."""
    with composer():
        composed, kept, unread = _gathered(config_name, overrides)
        problems = _plain(composed)[1] if resolve else []
        if unread or problems:
            raise refuse([*unread, *(_placed(problem, config_name, kept) for problem in problems)])


@cache
def _shipped(config_name: str) -> DictConfig:
    """The config without any word; composed once, for the jobs of a sweep are many."""
    return compose_whole(config_name, [])


def _defaults(config_name: str) -> dict[str, Any]:
    return _plain(_shipped(config_name))[0]
