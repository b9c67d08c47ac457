"""The allow-list: which code a config may name. Default is no.

**To let a config name code of your own, add its prefix to `PREFIXES` below**: this is the one place, and it
is Python on purpose; a YAML file, the command line or a checkpoint cannot extend it.

A target is judged twice. As written, before anything is imported, because an import runs code. Then the
object that was found is judged by its real module and name, because `torch.nn.parallel.distributed.os.system`
is written under an allowed prefix and is `posix.system`. Only classes and functions at the top of a module
pass: no methods, no dispatchers such as `functools.partial`, and outside `FUNCTIONS` classes alone.
"""

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

from assay.config.nearest import nearest

PREFIXES = (
    "assay.data.",
    "assay.models.",
    "assay.training.schedules.",
    "torch.optim.",
    "torch.nn.",
    "torchmetrics.",
    "pytorch_lightning.callbacks.",
    "pytorch_lightning.loggers.",
)
# under these, functions may be called too; elsewhere classes alone, for our own functions write files
FUNCTIONS = ("assay.models.", "assay.training.schedules.")


class RefusedError(Exception):
    """Why a target is not allowed or does not exist, in one line; `near` are names that may be meant."""

    def __init__(self, reason: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.near = near


def is_listed(name: str) -> bool:
    """Whether the dotted name is under an allowed prefix."""
    return name.startswith(PREFIXES)


def _names(holder: Any) -> list[str]:
    return [name for name in dir(holder) if not name.startswith("_")]


def _module_of(parts: list[str]) -> tuple[ModuleType, int]:
    """The innermost module that the parts name, and how many parts name it."""
    module = importlib.import_module(parts[0])
    for count in range(2, len(parts) + 1):
        name = ".".join(parts[:count])
        attribute = getattr(module, parts[count - 1], None)
        if not (attribute is None or inspect.ismodule(attribute)):
            return module, count - 1
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name and not str(error).endswith("is not a package"):
                # a package that it needs is not installed
                raise RefusedError(f"cannot be imported: {error}") from None
            return module, count - 1
    return module, len(parts)


def _found(target: str) -> object:
    """The object that the dotted name leads to, with its module imported if need be."""
    parts = target.split(".")
    found: Any
    try:
        found, count = _module_of(parts)
    except ImportError as error:
        raise RefusedError(f"cannot be imported: {error}") from None
    for at, part in enumerate(parts[count:], start=count):
        if not hasattr(found, part):
            above = ".".join(parts[:at])
            near = tuple(f"{above}.{name}" for name in nearest(part, _names(found)))
            raise RefusedError(f"{above} has no {part}", near)
        found = getattr(found, part)
    return found


def real_name(found: object) -> str:
    """The module and name under which the object was defined, whatever it was called by."""
    module = getattr(found, "__module__", None) or type(found).__module__
    return f"{module}.{getattr(found, '__qualname__', type(found).__qualname__)}"


def resolve(target: object) -> Any:
    """The class or function that a `_target_` names; raises `RefusedError` if it may not or cannot."""
    if not isinstance(target, str) or not all(part.isidentifier() for part in target.split(".")):
        raise RefusedError(
            "a _target_ is the dotted name of a class, such as assay.models.mlp.MNISTClassifier"
        )
    if not is_listed(target):
        raise RefusedError(f"it is not under an allowed prefix: {', '.join(PREFIXES)}")
    found = _found(target)
    real = real_name(found)
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise RefusedError(f"it is {real}, neither a class nor a function")
    if not is_listed(real):
        raise RefusedError(f"it is really {real}, which is not under an allowed prefix")
    module, name = found.__module__, found.__qualname__
    if getattr(sys.modules.get(module), name, None) is not found:
        raise RefusedError(f"it is {real}, which does not stand at the top of its module")
    if inspect.isfunction(found) and not real.startswith(FUNCTIONS):
        raise RefusedError(f"it is the function {real}: here only classes are built")
    return found
