"""Types and values in a person's words: `Annotated[int, Field(ge=1)]` is "a whole number of at least 1"."""

import re
import types
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

Annotation: TypeAlias = Any  # whatever may stand behind the colon of a parameter
LOOKS_TYPED = re.compile(r"[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)?|true|false|null", re.IGNORECASE)
PLAIN: Mapping[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    type(None): "null",
    None: "null",
}


def show(value: object) -> str:
    """The value as a YAML author would write it, at most 60 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str) and (not value or LOOKS_TYPED.fullmatch(value)):
        return f'"{value}"'  # text, whatever it looks like
    if isinstance(value, (list, tuple)):
        text = f"[{', '.join(show(item) for item in value)}]"
    elif isinstance(value, Mapping):
        text = "{" + ", ".join(f"{name}: {show(item)}" for name, item in value.items()) + "}"
    else:
        text = str(value) if str(value).isprintable() else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def branches(annotation: Annotation) -> tuple[Annotation, ...]:
    """The members of a union, or the annotation alone."""
    if get_origin(annotation) is Annotated and get_origin(get_args(annotation)[0]) in (
        Union,
        types.UnionType,
    ):
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def bare(annotation: Annotation) -> Annotation:
    """The annotation without its `Annotated`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def choices(annotation: Annotation) -> tuple[object, ...]:
    """The values that the annotation's `Literal`s allow."""
    inner = [bare(branch) for branch in branches(annotation)]
    return tuple(value for one in inner if get_origin(one) is Literal for value in get_args(one))


def note(annotation: Annotation) -> str | None:
    """The line of help that the annotation's `Field` carries."""
    found = [item for item in get_args(annotation)[1:] if isinstance(item, FieldInfo)]
    return next((item.description for item in found if item.description), None)


def _bounds(annotation: Annotation) -> list[object]:
    """The limits in the annotation, unpacked from `Field` and kept from plain `annotated_types`."""
    items = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return [part for item in items for part in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _ranged(words: str, bounds: list[object]) -> str:
    """ "a number" and its limits: "a number from 0 to 1"."""
    limits: dict[type, Callable[[Any], str]] = {
        annotated_types.Ge: lambda at: f"of at least {at.ge}",
        annotated_types.Gt: lambda at: f"above {at.gt}",
        annotated_types.Le: lambda at: f"of at most {at.le}",
        annotated_types.Lt: lambda at: f"below {at.lt}",
    }
    least = [bound for bound in bounds if isinstance(bound, annotated_types.Ge)]
    most = [bound for bound in bounds if isinstance(bound, annotated_types.Le)]
    if least and most:
        words = f"{words} from {least[0].ge} to {most[0].le}"
        bounds = [bound for bound in bounds if bound not in (least[0], most[0])]
    said = [limits[type(bound)](bound) for bound in bounds if type(bound) in limits]
    return " ".join([words, " and ".join(said)]).strip()


def _is_no_yaml(inner: Annotation) -> bool:
    """Whether a member of a union needs no word: null has its own, and no Tensor can be typed."""
    return inner is type(None) or (
        isinstance(inner, type)
        and inner not in PLAIN
        and not is_dataclass(inner)
        and inner not in (tuple, list, dict)
        and get_origin(inner) is None
    )


def describe(annotation: Annotation) -> str:
    """What the annotation allows, for people."""
    members = branches(annotation)
    if len(members) > 1:
        said = [describe(member) for member in members if not _is_no_yaml(bare(member))] or ["a value"]
        return " or ".join([*dict.fromkeys(said), *(["null"] if type(None) in members else [])])
    inner = bare(annotation)
    if get_origin(inner) is Literal:
        values = [show(value) for value in get_args(inner)]
        return f"one of {', '.join(values)}" if len(values) > 1 else values[0]
    if inner in (tuple, list):
        return "a list"
    if get_origin(inner) in (tuple, list):
        items = [item for item in get_args(inner) if item is not Ellipsis]
        fixed = get_origin(inner) is tuple and Ellipsis not in get_args(inner)
        count = f"{len(items)} values" if fixed else "values"
        return f"a list of {count}, each {' or '.join(dict.fromkeys(describe(item) for item in items))}"
    if is_dataclass(inner) or (get_origin(inner) is not None and get_origin(inner) is not Literal):
        return "a mapping of keys to values"
    plain = PLAIN.get(inner) or getattr(inner, "__name__", str(inner))
    return _ranged(plain, _bounds(annotation))
