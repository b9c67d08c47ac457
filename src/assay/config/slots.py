"""The one door through which a config may name code: `_target_` nodes, judged, then built."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from assay.config.allowed import RefusedError, resolve
from assay.config.constructor import argument_problems, constructor, holds_target
from assay.config.describe import show
from assay.config.problems import Problem, refuse
from assay.errors import UserError

# what a constructor raises at values it does not accept; anything else is a bug and keeps its traceback
REFUSALS = (ValueError, TypeError, LookupError, AssertionError, OSError, ImportError, RuntimeError)


@dataclass(frozen=True)
class Kind:
    """What may stand in a slot: a subclass of `base` (or a function), given `supplied` when it is built."""

    base: str | None = None
    supplied: tuple[str, ...] = ()
    optional: bool = False


KINDS: Mapping[str, Kind] = {
    "data": Kind("assay.data.source.Source", ("seed",)),
    "model": Kind("torch.nn.modules.module.Module", ("in_shape", "num_classes")),
    "optimizer": Kind("torch.optim.optimizer.Optimizer", ("params",)),
    "scheduler": Kind("torch.optim.lr_scheduler.LRScheduler", ("optimizer", "total_steps"), optional=True),
    "logger": Kind("pytorch_lightning.loggers.logger.Logger", ("save_dir",)),
    "callbacks": Kind("pytorch_lightning.callbacks.callback.Callback"),
}


def kind_of(key: str) -> Kind:
    """The kind of the slot at `key`: "model", or "callbacks" for "callbacks.early_stopping"."""
    return KINDS.get(key.partition(".")[0], Kind(optional=True))


def slot_keys(plain: Mapping[str, Any]) -> list[str]:
    """The keys of all slots of a plain config: data, model, ..., `logger.<name>`, `callbacks.<name>`."""
    single = [key for key in ("data", "model", "optimizer", "scheduler") if key in plain]
    several = [f"{group}.{name}" for group in ("logger", "callbacks") for name in (plain.get(group) or {})]
    return [*single, *several]


def is_none(node: Mapping[str, Any] | None) -> bool:
    """Whether the slot is left empty: null, or `_target_: null`."""
    return node is None or ("_target_" in node and node["_target_"] is None)


def _of_base(found: Any, base: str | None) -> bool:
    if base is None or not isinstance(found, type):
        return True
    return any(f"{one.__module__}.{one.__qualname__}" == base for one in found.__mro__)


def _nested(value: Any, key: str) -> list[Problem]:
    """The problems of all `_target_` nodes inside an argument."""
    if isinstance(value, Mapping):
        if "_target_" in value:
            return judge_slot(value, key, (), Kind())
        return [one for name, inner in value.items() for one in _nested(inner, f"{key}.{name}")]
    if isinstance(value, (list, tuple)):
        return [one for at, inner in enumerate(value) for one in _nested(inner, f"{key}.{at}")]
    return []


def _target_problem(key: str, target: object, error: RefusedError) -> Problem:
    notes = (f"did you mean {' or '.join(error.near)}?",) if error.near else ()
    if "prefix" in str(error):
        notes = (*notes, "code of your own: add its prefix to PREFIXES in src/assay/config/allowed.py")
    return Problem(f"{key}._target_", f"{key}._target_={show(target)} is refused: {error}", notes)


def judge_slot(
    node: Mapping[str, Any], key: str, supplied: Collection[str] | None = None, kind: Kind | None = None
) -> list[Problem]:
    """All problems of a plain `_target_` node: target, names, types, ranges, the same for nodes inside it."""
    kind = kind or kind_of(key)
    supplied = kind.supplied if supplied is None else supplied
    if is_none(node) and kind.optional:
        return []
    if "_target_" not in node or node["_target_"] is None:
        notes = (f"for example _target_: {kind.base}",) if kind.base else ()
        return [Problem(f"{key}._target_", f"{key} needs a _target_: the class to build", notes)]
    arguments = {name: value for name, value in node.items() if name != "_target_"}
    nested = [one for name, value in arguments.items() for one in _nested(value, f"{key}.{name}")]
    special = [name for name in arguments if str(name).startswith("_") and str(name).endswith("_")]
    if special:
        why = "Assay builds the object itself, with keyword arguments alone"
        nested += [
            Problem(f"{key}.{one}", f"{key}.{one} is not allowed: {why}", ("leave it out",))
            for one in special
        ]
    try:
        found = resolve(node["_target_"])
    except RefusedError as error:
        return [_target_problem(key, node["_target_"], error), *nested]
    if not _of_base(found, kind.base):
        what = f"{key}._target_={node['_target_']} is refused: {found.__name__} is no {kind.base}"
        return [Problem(f"{key}._target_", what), *nested]
    plain = {name: value for name, value in arguments.items() if name not in special}
    return [*argument_problems(constructor(found), plain, key, supplied), *nested]


def _refusal(error: Exception, node: Mapping[str, Any], key: str) -> Problem | None:
    """What a constructor says of its values, with the keys that it means; None for a bug or a full memory."""
    cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
    of_lightning = type(cause).__name__ == "MisconfigurationException"  # by name: its import takes seconds
    out_of_memory = isinstance(cause, RuntimeError) and "memory" in str(cause)
    if out_of_memory or not (isinstance(cause, (*REFUSALS, InstantiationException)) or of_lightning):
        return None
    text = " ".join(str(cause).split())[:300] or type(cause).__name__
    values = {name: value for name, value in node.items() if name != "_target_" and not holds_target(value)}
    words = set(text.replace(",", " ").replace(":", " ").split())
    meant = [name for name, value in values.items() if show(value) in words]
    said = " ".join(f"{key}.{name}={show(values[name])}" for name in meant) or key
    return Problem(
        f"{key}.{meant[0]}" if meant else key, f"{said}: {node['_target_']} refuses its values", (text,)
    )


def build(node: Mapping[str, Any], key: str, **supplied: Any) -> Any:
    """The object that the `_target_` node names, or None if it names none; the only caller of `instantiate`.

    The node is judged first, wherever it comes from: a run folder's config is data as any other. Of
    `supplied`, what the constructor's signature knows is passed; a config's own `seed` or `num_classes`
    goes before ours. Raises `UserError` with the text of the constructor's own exception if it refuses the
    values.
    """
    plain: Any = OmegaConf.to_container(node, resolve=True) if isinstance(node, DictConfig) else dict(node)
    if is_none(plain):
        return None
    problems = judge_slot(plain, key, supplied.keys())
    if problems:
        raise refuse(problems)
    taken = constructor(resolve(plain["_target_"]))
    wanted = {
        name: value
        for name, value in supplied.items()
        if name not in plain and (name in taken.annotations or taken.open_ended)
    }
    try:
        # partial, then called here: Hydra copies what it is handed, and a copied parameter is another one
        make: Callable[..., Any] = instantiate({**plain, "_partial_": True, "_convert_": "all"})
        return make(**wanted)
    except UserError:
        raise
    except Exception as error:
        problem = _refusal(error, plain, key)
        if problem is None:
            raise
        raise refuse([problem]) from error


def try_slot(node: Mapping[str, Any], key: str) -> list[Problem]:
    """Builds what is cheap and writes nothing (optimizer, scheduler, callback) on one dummy parameter.

    torch's optimizers check their ranges in the constructor alone. The node has passed `judge_slot`.
    """
    group = key.partition(".")[0]
    if is_none(node) or group not in ("optimizer", "scheduler", "callbacks"):
        return []
    supplied: dict[str, Any] = {}
    if group != "callbacks":
        import torch  # seconds, but the class that is tried has imported it already

        dummy = torch.nn.Parameter(torch.zeros(2))
        supplied = {"params": [dummy]}
        if group == "scheduler":
            supplied = {"optimizer": torch.optim.SGD([dummy], lr=0.1), "total_steps": 1000}
    try:
        build(node, key, **supplied)
    except UserError as error:
        problem = _refusal(error.__cause__, node, key) if isinstance(error.__cause__, Exception) else None
        return [problem or Problem(key, str(error))]
    return []
