"""How a problem in a config is shown: one to four lines, types in words, the nearest right names, hints.

What is wrong is said where it is found: `explain.py` (words), `validate.py` (values), `components.py`.
"""

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

import annotated_types
from pydantic.fields import FieldInfo

from assay.errors import UserError

Annotation: TypeAlias = Any  # whatever may stand behind the colon of a parameter
LOOKS_TYPED = re.compile(r"[-+]?(\d[\d_]*)?\.?\d+([eE][-+]?\d+)?|true|false|null", re.IGNORECASE)
NAMES: Mapping[Any, str] = {
    **{int: "a whole number", float: "a number", bool: "true or false", str: "text"},
    **{
        type(None): "null",
        None: "null",
        tuple: "a list",
        list: "a list",
        dict: "a mapping of keys to values",
    },
}
# words that users of other tools type, as whole keys or as the last part of one, and what to type here
HINTS: Mapping[str, str] = {
    **dict.fromkeys(("lr", "ir", "learning_rate"), "the learning rate is optimizer.lr"),
    "weight_decay": "weight decay is optimizer.weight_decay",
    "momentum": "momentum is optimizer.momentum, with optimizer=sgd",
    **dict.fromkeys(("epochs", "max_epochs", "num_epochs"), "the number of epochs is trainer.max_epochs"),
    **dict.fromkeys(("batch_size", "bs"), "the batch size is data.batch_size"),
    **dict.fromkeys(("num_workers", "workers"), "worker processes are data.num_workers"),
    "n_jobs": "several jobs of a sweep at once are sweep.workers",
    "dataset": "the dataset is the group data: data=mnist",
    "net": "the network is the group model: model=mlp",
    "opt": "the optimizer is the group optimizer: optimizer=adam",
    "early_stopping": "a callback is a YAML in conf/callbacks: callbacks=early_stopping",
    "lr_scheduler": "the schedule is the group scheduler: scheduler=onecycle",
    **dict.fromkeys(("gpu", "cuda"), "the device is a group: device=gpu"),
    **dict.fromkeys(("gpus", "num_gpus"), "the device is a group: device=gpu device.devices=2"),
    "accelerator": "the device is a group: device=gpu, or device.accelerator=gpu",
    "devices": "the number of devices is device.devices",
    "precision": "the number format is device.precision",
    "strategy": "several devices train together by themselves: device=ddp, or device.devices=2",
    "num_nodes": "several machines: torchrun --nnodes 2 ... train.py device=ddp",
    "deterministic": "reproducible operations are device.deterministic=true",
    "accumulate_grad_batches": "batches are not accumulated: a larger data.batch_size does the same",
    "val_check_interval": "validation is by the epoch: trainer.check_val_every_n_epoch",
    "fast_dev_run": "for a quick try: trainer.max_epochs=1 trainer.limit_train_batches=10",
    "overfit_batches": "to see that a model can learn: trainer.overfit_batches=1",
    "enable_checkpointing": "checkpoints are always kept, in the run folder",
    **dict.fromkeys(("default_root_dir", "logdir"), "the folder of all results is output_dir"),
    **dict.fromkeys(
        ("ckpt_path", "checkpoint"),
        "weights to start from are ckpt=<run folder>, a run to continue is resume=<run folder>",
    ),
    "train": "what to do is stages: stages=[fit,test]",
    **dict.fromkeys(("test", "stage"), "what to do is stages: stages=[test]"),
    **dict.fromkeys(("run_name", "experiment_name"), "the word in the run folder's name is name"),
}


@dataclass(frozen=True)
class Problem:
    """What is wrong at `key` (as typed, value included), then up to three notes: rule, name, example."""

    key: str
    what: str
    notes: tuple[str, ...] = ()
    file: str | None = None  # the YAML that it stands in; None on the command line

    @property
    def text(self) -> str:
        """One to four lines, the first unindented."""
        first = f"{self.file}: {self.what}" if self.file else self.what
        return "\n  ".join([first, *self.notes[:3]])


class InvalidConfig(UserError):
    """All problems of a config, each said once: the jobs of a sweep share most of theirs."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        texts = list(dict.fromkeys(problem.text for problem in problems))
        head = [f"{len(texts)} problems:"] if len(texts) > 1 else []
        super().__init__("\n".join([*head, *texts]))


def hint(key: str) -> str | None:
    """The advice for a word that belongs to another tool."""
    return HINTS.get(key) or HINTS.get(key.rpartition(".")[2])


def nearest(word: str, names: Iterable[str], cutoff: float = 0.6) -> list[str]:
    """At most three names that `difflib` finds alike, about as alike as the best of them."""
    known = {name.lower(): name for name in names}
    near = get_close_matches(word.lower(), known, n=3, cutoff=cutoff)
    alike = {name: SequenceMatcher(None, name, word.lower()).ratio() for name in near}
    return sorted(known[name] for name in near if alike[name] > alike[near[0]] - 0.06)


def nearest_key(key: str, keys: Iterable[str]) -> list[str]:
    """The near ones among dotted keys: alike as a whole, or of the same or a like last part."""
    known = list(dict.fromkeys(keys))
    leaf = key.rpartition(".")[2]
    leaves = {name: name.rpartition(".")[2] for name in known if "." in name and "._" not in name}
    same = [name for name, last in leaves.items() if last == leaf]
    alike = nearest(key, known, cutoff=0.75)
    return alike or same[:3] or [name for name in leaves if nearest(leaf, [leaves[name]], cutoff=0.85)][:3]


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
    unions = (Union, types.UnionType)
    if get_origin(annotation) is Annotated and get_origin(get_args(annotation)[0]) in unions:
        annotation = get_args(annotation)[0]
    return get_args(annotation) if get_origin(annotation) in unions else (annotation,)


def bare(annotation: Annotation) -> Annotation:
    """The annotation without its `Annotated`."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def choices(annotation: Annotation) -> list[str]:
    """The values that the annotation's `Literal`s allow."""
    members = [bare(branch) for branch in branches(annotation)]
    return [str(value) for one in members if get_origin(one) is Literal for value in get_args(one)]


def note(annotation: Annotation) -> str | None:
    """The line of help that the annotation's `Field` carries."""
    fields = [item for item in get_args(annotation)[1:] if isinstance(item, FieldInfo)]
    return next((field.description for field in fields if field.description), None)


def _ranged(words: str, annotation: Annotation) -> str:
    """ "a number" and its limits: "a number from 0 to 1"."""
    said: dict[type, Callable[[Any], str]] = {
        annotated_types.Ge: lambda bound: f"of at least {bound.ge}",
        annotated_types.Gt: lambda bound: f"above {bound.gt}",
        annotated_types.Le: lambda bound: f"of at most {bound.le}",
        annotated_types.Lt: lambda bound: f"below {bound.lt}",
    }
    items = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    bounds = {
        type(b): b for item in items for b in (item.metadata if isinstance(item, FieldInfo) else [item])
    }
    if annotated_types.Ge in bounds and annotated_types.Le in bounds:
        return f"{words} from {bounds[annotated_types.Ge].ge} to {bounds[annotated_types.Le].le}"
    limits = [text(bounds[kind]) for kind, text in said.items() if kind in bounds]
    return " ".join([words, " and ".join(limits)]).strip()


def _can_be_typed(member: Annotation) -> bool:
    """Whether a member of a union can be written in a YAML at all: no Tensor can, and null is said last."""
    plain = member in NAMES or is_dataclass(member) or get_origin(member) is not None
    return member is not type(None) and (plain or not isinstance(member, type))


def describe(annotation: Annotation) -> str:
    """What the annotation allows, for people: "a whole number of at least 1"."""
    members = branches(annotation)
    if len(members) > 1:
        said = [describe(member) for member in members if _can_be_typed(bare(member))] or ["a value"]
        return " or ".join([*dict.fromkeys(said), *(["null"] if type(None) in members else [])])
    inner = bare(annotation)
    origin, items = get_origin(inner), [item for item in get_args(inner) if item is not Ellipsis]
    if origin is Literal:
        return f"one of {', '.join(map(show, items))}" if len(items) > 1 else show(items[0])
    if origin in (tuple, list):
        count = f"{len(items)} values" if origin is tuple and Ellipsis not in get_args(inner) else "values"
        return f"a list of {count}, each {' or '.join(dict.fromkeys(map(describe, items)))}"
    if is_dataclass(inner) or origin is not None:
        return NAMES[dict]
    return _ranged(NAMES.get(inner) or getattr(inner, "__name__", str(inner)), annotation)
