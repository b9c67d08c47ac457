"""Judges a composed config against a schema and lists every problem at once."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from functools import cached_property
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import DictConfig
from pydantic import TypeAdapter, ValidationError

from assay.config.describe import Annotation, bare, branches, choices, describe, note
from assay.config.hints import hint
from assay.config.nearest import nearest, nearest_key
from assay.config.problems import Problem, refuse
from assay.config.resolve import keys_of, resolved, shown_with, value_at

T = TypeVar("T")


@dataclass(frozen=True)
class Known:
    """A config that is known to work, for right names and examples in messages; or nothing."""

    plain: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def keys(self) -> list[str]:
        """All its dotted keys."""
        return keys_of(dict(self.plain))

    def example(self, key: str) -> str | None:
        """`trainer.max_epochs=5`, if the key has a plain value."""
        value = value_at(self.plain, key)
        return shown_with(key, value) if key in self.keys and not isinstance(value, dict) else None


NOTHING = Known()


def joined(*parts: object) -> str:
    """A dotted key of its parts, empty ones left out."""
    return ".".join(str(part) for part in parts if str(part))


def fields(schema: Annotation) -> dict[str, Annotation]:
    """The fields of a schema with their full annotations; empty for all else."""
    found = [one for one in map(bare, branches(schema)) if is_dataclass(one)]
    return get_type_hints(found[0], include_extras=True) if found else {}


def annotation_at(
    schema: Annotation, path: tuple[int | str, ...]
) -> tuple[tuple[int | str, ...], Annotation]:
    """The part of a pydantic location that names keys and list items, and the annotation found there.

    The rest of a location names the members of a union, which are no keys.
    """
    for at, part in enumerate(path):
        inner = bare(schema)
        named = fields(schema)
        if isinstance(part, str) and part in named:
            schema = named[part]
        elif isinstance(part, int) and get_origin(inner) in (tuple, list):
            schema = get_args(inner)[0]
        else:
            return path[:at], schema
    return path, schema


def unknown_key(key: str, value: Any, siblings: Sequence[str], known: Known = NOTHING) -> Problem:
    """A key that is not there; `siblings` are the names that are, in its place."""
    above, _, name = key.rpartition(".")
    advice = hint(key)
    beside = [joined(above, one) for one in nearest(name, siblings)]
    near = beside or ([] if advice else nearest_key(key, known.keys))
    notes = (advice,) if advice else ()
    if near:
        notes = (*notes, f"did you mean {' or '.join(shown_with(one, value) for one in near)}?")
    if not notes:
        notes = (f"keys {f'of {above}' if above else 'there are'}: {', '.join(siblings)}",)
    return Problem(
        key, f"{shown_with(key, value)}: there is no key {name}{f' in {above}' if above else ''}", notes
    )


def wrong_value(key: str, value: Any, annotation: Annotation, said: str, example: str | None) -> Problem:
    """A value that is not of the annotated type and range; `said` is a rule that the type does not tell."""
    what = f"{shown_with(key, value)} is not allowed: {said or describe(annotation) + ' is needed'}"
    named = [str(choice) for choice in choices(annotation)]
    near = nearest(str(value), named) if isinstance(value, (str, int, float)) else []
    meaning = note(annotation)
    notes = [f"{key}: {meaning}"] if meaning and meaning != said and not key[-1].isdigit() else []
    if near and not key[-1].isdigit():
        notes.append(f"did you mean {' or '.join(f'{key}={one}' for one in near)}?")
    elif near:
        notes.append(f"did you mean {' or '.join(near)}?")
    elif example:
        notes.append(f"for example {example}")
    return Problem(key, what, tuple(notes))


def rule_of(error: Mapping[str, Any], annotation: Annotation) -> str:
    """What a pydantic error says that the type and range do not; empty if nothing."""
    if error["type"] in ("value_error", "assertion_error"):
        return str(error["msg"]).partition(", ")[2]
    if error["type"] == "too_short":
        return f"it needs at least {error['ctx']['min_length']}"
    if error["type"] == "string_pattern_mismatch":
        return note(annotation) or f"it must match {error['ctx']['pattern']}"
    return ""


def _problem(error: Mapping[str, Any], schema: Any, plain: Any, key: str, known: Known) -> Problem:
    """One pydantic error as a problem."""
    path, annotation = annotation_at(schema, error["loc"])
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        full = joined(*error["loc"])
        return unknown_key(joined(key, full), value_at(plain, full), list(fields(annotation)), known)
    at = joined(*path)
    whole = joined(key, at)
    if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        whole = joined(key, *error["loc"])
        return Problem(
            whole, f"{whole} is missing: {describe(annotation_at(schema, error['loc'])[1])} is needed"
        )
    return wrong_value(
        whole, value_at(plain, at), annotation, rule_of(error, annotation), known.example(whole)
    )


def schema_problems(
    schema: Any, plain: Mapping[str, Any], key: str = "", known: Known = NOTHING
) -> list[Problem]:
    """All problems of a plain, resolved mapping; one a key, however many members of a union refused it."""
    return _validated(schema, plain, key, known)[1]


def _validated(schema: Any, plain: Mapping[str, Any], key: str, known: Known) -> tuple[Any, list[Problem]]:
    try:
        # as JSON, strict means what a YAML author expects: a list is a tuple, but "5" and true are no numbers
        return TypeAdapter(schema).validate_json(json.dumps(plain, default=repr)), []
    except ValidationError as error:
        found = [_problem(one, schema, plain, key, known) for one in error.errors()]
    first_of: dict[str, Problem] = {}
    for problem in found:
        first_of.setdefault(problem.key, problem)
    inner = list(first_of)  # a list whose items are refused is said to be too short as well
    return None, [
        problem
        for key, problem in first_of.items()
        if not any(other.startswith(f"{key}.") for other in inner)
    ]


def judge(schema: type[T], node: Any, key: str = "") -> T:
    """The node as a frozen, typed object of `schema`; `key` is where the node stands in the whole config.

    Raises `UserError` with all problems of the node.
    """
    plain, problems = resolved(node, key) if isinstance(node, DictConfig) else (node, [])
    typed, wrong = _validated(schema, plain, key, NOTHING)
    known = {problem.key for problem in problems}
    problems += [problem for problem in wrong if problem.key not in known]
    if problems:
        raise refuse(problems)
    return typed
