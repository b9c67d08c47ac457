"""The one door through which a config may name code: `_target_` nodes, validated, then built.

**Code of your own goes into a package `my` beside `conf/`, which a config may name; for another package add
its prefix to `PREFIXES` below**: this is the one place, and it is Python on purpose; a YAML file, the command
line or a checkpoint cannot extend it.

A target is checked twice. As written, before anything is imported, because an import runs code. Then the
object behind it by its real module and name: `torch.nn.parallel.distributed.os.system` is written under an
allowed prefix and is `posix.system`. Only classes and functions at the top of a module pass: no methods, no
dispatchers such as `functools.partial`, and outside `FUNCTIONS` classes alone.
"""

import importlib
import inspect
import pkgutil
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from functools import lru_cache
from typing import Any, cast

from pydantic import ConfigDict, PydanticUserError, TypeAdapter
from pydantic.dataclasses import dataclass as pydantic_dataclass
from pydantic.errors import PydanticSchemaGenerationError, PydanticUndefinedAnnotation

from assay import PROJECT
from assay.config.messages import Annotation, InvalidConfig, Problem, nearest, show
from assay.config.validate import validate
from assay.errors import UserError, own_line

LIBRARIES = ("torch.", "torchmetrics.", "pytorch_lightning.")
PREFIXES = (
    *("my.", "assay.data.", "assay.models."),
    *("assay.training.schedules.", "assay.training.tasks.", "assay.training.pictures."),
    *("torch.optim.", "torch.nn.", "torchmetrics."),
    *("pytorch_lightning.callbacks.", "pytorch_lightning.loggers."),
)
# under these, functions may be called too; elsewhere classes alone, for functions of our own write files
FUNCTIONS = ("assay.models.", "assay.training.schedules.")
LOOSE = ConfigDict(strict=True, arbitrary_types_allowed=True, allow_inf_nan=False, extra="forbid")
# what a library's constructor raises at values that it does not accept; other code says so by ValueError
REFUSALS = (ValueError, TypeError, LookupError, AssertionError, OSError, ImportError, RuntimeError)


class TargetError(Exception):
    """Why a target is not allowed or does not exist, in one line; `near` are names that may be meant."""

    def __init__(self, reason: str, near: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.near = tuple(near)


@dataclass(frozen=True)
class Kind:
    """What may stand as a component: a subclass of `base` (or a function), given `supplied` when it is built.

    What is `fixed` no config may set: there is only one right value.
    """

    base: str | None = None
    fixed: tuple[str, ...] = ()
    supplied: tuple[str, ...] = ()
    optional: bool = False


KINDS: Mapping[str, Kind] = {
    "data": Kind("assay.data.source.Source", supplied=("seed",)),
    "model": Kind("torch.nn.modules.module.Module", ("in_shape",), ("out_shape", "num_classes")),
    "task": Kind("assay.training.tasks.Task"),
    "optimizer": Kind("torch.optim.optimizer.Optimizer", ("params",)),
    "scheduler": Kind("torch.optim.lr_scheduler.LRScheduler", ("optimizer", "total_steps"), optional=True),
    "logger": Kind("pytorch_lightning.loggers.logger.Logger", ("save_dir",)),
    "callbacks": Kind("pytorch_lightning.callbacks.callback.Callback", supplied=("monitor", "mode")),
}


def component_keys(plain: Mapping[str, Any]) -> list[str]:
    """The keys of all components of a plain config: data, model, ..., `logger.<name>`, `callbacks.<name>`."""
    single = [key for key in ("data", "model", "task", "optimizer", "scheduler") if key in plain]
    several = [f"{group}.{name}" for group in ("logger", "callbacks") for name in (plain.get(group) or {})]
    return [*single, *several]


# ---- the allow-list


def _locate(target: str) -> Any:
    """What the dotted name leads to, its module imported; raises `TargetError` if it is not there."""
    if str(PROJECT) not in sys.path:  # `my` is found from everywhere: the console script, a worker, a node
        sys.path.append(str(PROJECT))
    parts = target.split(".")
    thing, count = None, len(parts)
    while thing is None and count > 1:
        count -= 1
        try:
            thing = importlib.import_module(".".join(parts[:count]))
        except ImportError as error:  # the name of a class or a misspelt module, or a package that one needs
            if not f"{target}.".startswith(f"{error.name}."):
                where = own_line(error)
                raise TargetError(f"cannot be imported: {error}{f', at {where}' if where else ''}") from None
    for at, part in enumerate(parts[count:], start=count):
        if not hasattr(thing, part):
            above = ".".join(parts[:at])
            inside = [one.name for one in pkgutil.iter_modules(getattr(thing, "__path__", ()))]
            names = [name for name in dir(thing) if not name.startswith("_")]
            near = nearest(part, names) or nearest(part, inside)
            raise TargetError(f"{above} has no {part}", [f"{above}.{one}" for one in near])
        thing = getattr(thing, part)
    return thing


def resolve_target(target: object) -> Callable[..., Any]:
    """The class or function that a `_target_` names; raises `TargetError` if it may not or cannot."""
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise TargetError(
            "a _target_ is the dotted name of a class, such as assay.models.mlp.MNISTClassifier"
        )
    if not target.startswith(PREFIXES):
        raise TargetError(f"it is not under an allowed prefix: {', '.join(PREFIXES)}")
    thing = _locate(target)
    module, name = getattr(thing, "__module__", None), getattr(thing, "__qualname__", None)
    real = f"{module or type(thing).__module__}.{name or type(thing).__qualname__}"
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        raise TargetError(f"it is {real}, neither a class nor a function")
    if not real.startswith(PREFIXES):
        raise TargetError(f"it is really {real}, which is not under an allowed prefix")
    if getattr(sys.modules.get(str(module)), str(name), None) is not thing:
        raise TargetError(f"it is {real}, which does not stand at the top of its module")
    if inspect.isfunction(thing) and not real.startswith(FUNCTIONS):
        raise TargetError(f"it is the function {real}: here only classes are built")
    return thing


# ---- the arguments


def _usable(annotation: Annotation) -> Annotation:
    """The annotation if pydantic can validate by it, else `Any`: the constructor itself will object."""
    try:
        TypeAdapter(annotation, config=LOOSE)
    except PydanticUserError:  # a class with a config of its own
        return annotation
    except (PydanticSchemaGenerationError, PydanticUndefinedAnnotation, TypeError):
        return Any
    return annotation


def signature(target: Callable[..., Any]) -> tuple[dict[str, Annotation], set[str], bool]:
    """The annotated parameters by name, those without a default, and whether any further name is taken."""
    kinds = inspect.Parameter
    parameters = inspect.signature(target).parameters.values()
    try:
        hints = typing.get_type_hints(
            target.__init__ if inspect.isclass(target) else target, include_extras=True
        )
    except (NameError, TypeError):  # names that only a type checker sees
        hints = {}
    named = [one for one in parameters if one.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)]
    return (
        {one.name: hints.get(one.name, Any) for one in named},
        {one.name for one in named if one.default is kinds.empty},
        any(one.kind is kinds.VAR_KEYWORD for one in parameters),
    )


@lru_cache
def _schema_of(target: Callable[..., Any], with_nodes: frozenset[str], kind: Kind) -> Any:
    """The signature as a dataclass, which pydantic validates like a schema; anything goes `with_nodes`."""
    annotations, required, open_ended = signature(target)
    free = [name for name in annotations if name not in kind.fixed]
    typed = {name: Any if name in with_nodes else _usable(annotations[name]) for name in free}
    needed = required.difference(kind.supplied)
    parameters = [(n, typed[n]) if n in needed else (n, typed[n], field(default=None)) for n in free]
    made = make_dataclass(target.__name__, parameters, kw_only=True)
    return pydantic_dataclass(made, config=LOOSE | ConfigDict(extra="allow" if open_ended else "forbid"))


def _nodes(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The `_target_` nodes in an argument, with their keys; what is inside of them is their own."""
    if isinstance(value, Mapping) and "_target_" in value:
        yield key, value
    elif isinstance(value, (Mapping, list, tuple)):
        for name, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _nodes(inner, f"{key}.{name}")


def component_problems(node: Mapping[str, Any] | None, key: str, kind: Kind | None = None) -> list[Problem]:
    """All problems of a plain, resolved node: target, names, types, ranges; and those of nodes inside it."""
    kind = kind or KINDS.get(key.partition(".")[0], Kind(optional=True))
    target = (node or {}).get("_target_")
    if node is None or target is None:
        near = nearest("_target_", map(str, node or ()))
        notes = (f"did you mean _target_ for {near[0]}?",) if near else ()
        what = f"{key} needs a _target_: the class to build"
        is_left_out = kind.optional and (node is None or "_target_" in node)
        return [] if is_left_out else [Problem(f"{key}._target_", what, notes)]
    arguments = {str(name): value for name, value in node.items() if name != "_target_"}
    problems = [one for at, inner in _nodes(arguments, key) for one in component_problems(inner, at, Kind())]
    for name in [name for name in arguments if name in kind.fixed or (name[0] + name[-1] == "__")]:
        why = f"supplies {name}" if name in kind.fixed else "builds the object"
        what = f"{key}.{name}={show(arguments.pop(name))} is not allowed: Assay itself {why}"
        problems.append(Problem(f"{key}.{name}", what, ("leave it out",)))
    try:
        made = resolve_target(target)
        mro = inspect.getmro(made) if inspect.isclass(made) else ()
        bases = [f"{one.__module__}.{one.__qualname__}" for one in mro]
        if missing := sorted(getattr(made, "__abstractmethods__", ())):
            raise TargetError(f"{made.__name__} does not define {', '.join(missing)}")
        if kind.base and bases and kind.base not in bases:
            raise TargetError(f"{made.__name__} is no {kind.base}")
        if kind is KINDS["scheduler"] and mro and signature(cast(Any, made).step)[1] - {"self"}:
            raise TargetError(f"{made.__name__} waits for a metric: here each optimizer step is scheduled")
    except TargetError as error:
        return [_target_problem(key, target, error), *problems]
    with_nodes = frozenset(name for name, value in arguments.items() if any(_nodes(value, "")))
    return [*validate(_schema_of(made, with_nodes, kind), arguments, key)[1], *problems]


def _target_problem(key: str, target: object, error: TargetError) -> Problem:
    notes = (f"did you mean {' or '.join(error.near)}?",) if error.near else ()
    if "prefix" in str(error):
        notes = (*notes, "code of your own: put it into a package `my` beside conf/, see docs/extend.md")
    why = str(error) if str(error).startswith("cannot") else f"is refused: {error}"
    return Problem(f"{key}._target_", f"{key}._target_={show(target)} {why}", notes)


# ---- building


def build(node: Mapping[str, Any] | None, key: str, **supplied: Any) -> Any:
    """The object that a `_target_` node names, or None if it names none.

    The target is checked wherever the node comes from. Of `supplied`, what the signature knows is passed; a
    config's own `seed` or `out_shape` goes before ours. Raises `UserError`, with the constructor's own
    text, where it refuses its values; whatever else it raises is a bug and passes through.
    """
    if node is None or node.get("_target_") is None:
        return None
    try:
        target = resolve_target(node["_target_"])
    except TargetError as error:
        raise InvalidConfig([_target_problem(key, node["_target_"], error)]) from None
    annotations, _, open_ended = signature(target)
    arguments = {name: _built(value, f"{key}.{name}") for name, value in node.items() if name != "_target_"}
    ours = {n: value for n, value in supplied.items() if n not in node and (n in annotations or open_ended)}
    try:
        return target(**arguments, **ours)
    except UserError:
        raise
    except Exception as error:
        if not _refuses(error, str(node["_target_"])):
            raise
        raise InvalidConfig([_refusal(error, node, key)]) from error


def _built(value: Any, key: str) -> Any:
    """An argument with the nodes inside it built."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return build(value, key)
        return {name: _built(inner, f"{key}.{name}") for name, inner in value.items()}
    return (
        [_built(inner, f"{key}.{at}") for at, inner in enumerate(value)] if isinstance(value, list) else value
    )


def _refuses(error: Exception, target: str) -> bool:
    """Whether a constructor's exception is about its values, and no bug and no full memory."""
    if isinstance(error, RuntimeError) and "memory" in str(error):
        return False
    of_lightning = type(error).__name__ == "MisconfigurationException"  # by name: its import takes seconds
    return of_lightning or isinstance(error, REFUSALS if target.startswith(LIBRARIES) else ValueError)


def _refusal(error: Exception, node: Mapping[str, Any], key: str) -> Problem:
    """What a constructor says of its values, with the keys that it means."""
    text = " ".join(str(error).split())[:300] or type(error).__name__
    words = text.replace(",", " ").replace(":", " ").split()
    meant = {f"{key}.{name}": value for name, value in node.items() if show(value) in words}
    said = " ".join(f"{name}={show(value)}" for name, value in meant.items()) or key
    return Problem(next(iter(meant), key), f"{said}: {node['_target_']} refuses its values", (text,))
