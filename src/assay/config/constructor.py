"""Judges the keys and values of a `_target_` node against the signature of what it names."""

import inspect
import json
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from assay.config.describe import Annotation, describe, show
from assay.config.judge import rule_of, wrong_value
from assay.config.nearest import nearest
from assay.config.problems import Problem

LOOSE = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False)
# what the framework passes and no config may set: there is only one right value
OURS_ALONE = frozenset({"in_shape", "params", "optimizer", "total_steps", "save_dir"})


@dataclass(frozen=True)
class Constructor:
    """What a class or function takes, by name; `open_ended` if it takes any further name."""

    name: str
    annotations: Mapping[str, Annotation]
    required: frozenset[str]
    open_ended: bool


def constructor(found: Callable[..., Any]) -> Constructor:
    """The signature of a class or function; a parameter without a usable annotation is `Any`."""
    signature = inspect.signature(found)
    source = found.__init__ if inspect.isclass(found) else found
    try:
        hints = typing.get_type_hints(source, include_extras=True)
    except (NameError, TypeError):  # names that only a type checker sees
        hints = {}
    kinds = inspect.Parameter
    named = [
        one
        for one in signature.parameters.values()
        if one.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
    ]
    return Constructor(
        name=found.__name__,
        annotations={one.name: hints.get(one.name, Any) for one in named},
        required=frozenset(one.name for one in named if one.default is kinds.empty),
        open_ended=any(one.kind is kinds.VAR_KEYWORD for one in signature.parameters.values()),
    )


def _wrong_value(key: str, value: Any, annotation: Annotation) -> Problem | None:
    """The problem of a value that is not of the annotated type and range."""
    if annotation is Any:
        return None
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=LOOSE)
    except PydanticUserError:  # a config of its own (a pydantic class)
        adapter = TypeAdapter(annotation)
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
        return None  # a type that pydantic cannot judge: the constructor itself will
    try:
        adapter.validate_json(json.dumps(value, default=repr))
    except ValidationError as error:
        return wrong_value(key, value, annotation, rule_of(error.errors()[0], annotation), None)
    except PydanticUserError:
        return None
    return None


def _unknown(key: str, name: str, value: Any, taken: Constructor) -> Problem:
    known = [one for one in taken.annotations if one not in OURS_ALONE]
    near = nearest(name, known)
    above = key.removesuffix(f".{name}")
    notes = (
        (f"did you mean {' or '.join(f'{above}.{one}' for one in near)}?",)
        if near
        else (f"{taken.name} takes: {', '.join(known) or 'nothing'}",)
    )
    return Problem(key, f"{key}={show(value)}: {taken.name} has no parameter {name}", notes)


def argument_problems(
    taken: Constructor, arguments: Mapping[str, Any], key: str, supplied: Collection[str]
) -> list[Problem]:
    """All problems of the arguments: unknown, ours to supply, of a wrong type or range, missing.

    Arguments that are `_target_` nodes themselves are judged by the caller, not here.
    """
    problems: list[Problem] = []
    for name, value in arguments.items():
        full = f"{key}.{name}"
        if name in OURS_ALONE and name in supplied:
            what = f"{full}={show(value)}: Assay itself supplies {name} to {taken.name}"
            problems.append(Problem(full, what, ("leave it out",)))
        elif name not in taken.annotations:
            if not taken.open_ended:
                problems.append(_unknown(full, name, value, taken))
        elif not holds_target(value):
            wrong = _wrong_value(full, value, taken.annotations[name])
            problems += [wrong] if wrong else []
    for name in taken.annotations:
        if name in taken.required and name not in arguments and name not in supplied:
            needed = describe(taken.annotations[name]) if taken.annotations[name] is not Any else "a value"
            notes = (f"add it: +{key}.{name}=...",)
            problems.append(
                Problem(f"{key}.{name}", f"{key}.{name} is missing: {taken.name} needs {needed}", notes)
            )
    return problems


def holds_target(value: Any) -> bool:
    """Whether a `_target_` stands anywhere in the value."""
    if isinstance(value, Mapping):
        return "_target_" in value or any(map(holds_target, value.values()))
    return isinstance(value, (list, tuple)) and any(map(holds_target, value))
