"""The one validator: a plain config against a schema, or a component's arguments against a signature.

Both are given to pydantic as annotations; what it finds is said key by key, all of it at once. No torch here.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError

from assay.config.explain import keys_of, unknown_key, value_at
from assay.config.messages import Annotation, Problem, bare, branches, choices, describe, nearest, note, show

UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")


def fields(schema: Annotation) -> dict[str, Annotation]:
    """The fields of a schema with their full annotations; empty for all else."""
    members = [member for member in map(bare, branches(schema)) if is_dataclass(member)]
    return get_type_hints(members[0], include_extras=True) if members else {}


def validate(
    schema: Any, plain: Mapping[str, Any], key: str = "", working: Mapping[str, Any] | None = None
) -> tuple[Any, list[Problem]]:
    """The plain, resolved mapping as a typed object of `schema`, or None and all its problems, one a key.

    `key` is where the mapping stands in the whole config; `working` is a config that works, for right names
    and examples.
    """
    try:
        # as JSON, strict means what a YAML author expects: a list is a tuple, but "5" and true are no numbers
        return _adapter(schema).validate_json(json.dumps(plain, default=repr)), []
    except ValidationError as error:
        problems = [_problem(one, schema, plain, key, working or {}) for one in error.errors()]
    first: dict[str, Problem] = {}
    for problem in problems:  # each member of a union complains by itself
        first.setdefault(problem.key, problem)
    # a list whose items are refused is said to be too short as well
    outer = {name for name in first if any(other.startswith(f"{name}.") for other in first)}
    return None, [problem for name, problem in first.items() if name not in outer]


@cache
def _adapter(schema: Any) -> TypeAdapter[Any]:
    """Made once for all jobs of a sweep: it takes as long as composing one."""
    return TypeAdapter(schema)


def _problem(
    error: Mapping[str, Any], schema: Any, plain: Mapping[str, Any], key: str, working: Mapping[str, Any]
) -> Problem:
    """One pydantic error, said for a person."""
    kind, location = str(error["type"]), error["loc"]
    path, annotation = _annotation_at(schema, location)
    if "missing" in kind and isinstance(location[-1], int):  # of a list, which is too short
        path, annotation = _annotation_at(schema, location[:-1])
    elif "missing" in kind or kind in UNKNOWN:
        path = location
    inner = ".".join(map(str, path))
    whole = ".".join(part for part in (key, inner) if part)
    value = value_at(plain, inner)
    if kind in UNKNOWN:
        return unknown_key(whole, value, list(fields(annotation)), keys_of(working))
    if "missing" in kind and path == location:
        needed = "a value" if annotation is Any else describe(annotation)
        notes = (f"add it: +{whole}=...",) if key else ()
        return Problem(whole, f"{whole} is missing: {needed} is needed", notes)
    return _wrong_value(whole, value, annotation, _rule(error, annotation), value_at(working, whole))


def _annotation_at(
    schema: Annotation, path: tuple[int | str, ...]
) -> tuple[tuple[int | str, ...], Annotation]:
    """The part of a pydantic location that names keys and list items, and the annotation that is there.

    The rest of a location names the members of a union, which are no keys.
    """
    for at, part in enumerate(path):
        inner, named = bare(schema), fields(schema)
        if isinstance(part, str) and part in named:
            schema = named[part]
        elif isinstance(part, int) and get_origin(inner) in (tuple, list):
            schema = get_args(inner)[0]
        else:
            return path[:at], schema
    return path, schema


def _rule(error: Mapping[str, Any], annotation: Annotation) -> str:
    """What a pydantic error says that type and range do not; empty if nothing."""
    if error["type"] in ("value_error", "assertion_error"):
        return str(error["msg"]).partition(", ")[2]
    if error["type"] == "too_short":
        return f"it needs at least {error['ctx']['min_length']}"
    if error["type"] == "string_pattern_mismatch":
        return note(annotation) or f"it must match {error['ctx']['pattern']}"
    return ""


def _wrong_value(key: str, value: Any, annotation: Annotation, rule: str, example: Any) -> Problem:
    """A value that is not of the annotated type and range; `rule` is one that the type does not tell."""
    what = f"{key}={show(value)} is not allowed: {rule or describe(annotation) + ' is needed'}"
    meaning, of_list = note(annotation), key[-1].isdigit()
    notes = [f"{key}: {meaning}"] if meaning and meaning != rule and not of_list else []
    near = nearest(str(value), choices(annotation)) if isinstance(value, (str, int, float)) else []
    if near:
        notes.append(f"did you mean {' or '.join(one if of_list else f'{key}={one}' for one in near)}?")
    elif example is not None and not isinstance(example, dict):
        notes.append(f"for example {key}={show(example)}")
    return Problem(key, what, tuple(notes))


# ---- interpolations


def resolved(node: DictConfig | ListConfig, key: str = "") -> tuple[Any, list[Problem]]:
    """The node as plain, resolved values, and a problem for each that is missing or cannot be resolved."""
    try:
        return OmegaConf.to_container(node, resolve=True, throw_on_missing=True), []
    except (OmegaConfBaseException, RecursionError, ValueError):
        return _resolved_one_by_one(node, key)


def _resolved_one_by_one(node: DictConfig | ListConfig, key: str) -> tuple[Any, list[Problem]]:
    raw: Any = OmegaConf.to_container(node, resolve=False)
    if raw is None:
        return None, []
    problems: list[Problem] = []
    values: dict[Any, Any] = {}
    for name, written in raw.items() if isinstance(raw, dict) else enumerate(raw):
        full = f"{key}.{name}" if key else str(name)
        try:
            value: Any = None if written == "???" else node[name]
        except (OmegaConfBaseException, RecursionError, ValueError) as error:
            values[name] = None
            problems.append(Problem(full, f"{full}={written} cannot be resolved: {_why(error)}"))
            continue
        if written == "???":
            problems.append(Problem(full, f"{full} needs a value", (f"give one: {full}=...",)))
        values[name], inner = _resolved_one_by_one(value, full) if OmegaConf.is_config(value) else (value, [])
        problems += inner
    return values if isinstance(raw, dict) else list(values.values()), problems


def _why(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, RecursionError) or "ecursi" in text:
        return "the interpolation leads back to itself"
    return text[:1].lower() + text[1:]


def merge_problems(unresolved: Sequence[Problem], invalid: Sequence[Problem]) -> list[Problem]:
    """Both together; a value that could not be resolved is not also said to be invalid."""
    dead = {problem.key for problem in unresolved}
    return [*unresolved, *(problem for problem in invalid if problem.key not in dead)]
