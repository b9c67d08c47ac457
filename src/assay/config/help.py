"""`--help`: purpose, examples to copy, the groups with a line each, the keys with type, default and range.

All of it comes from conf/ and the schemas, without torch; with words also from what they name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from omegaconf import DictConfig, OmegaConf

from assay import CONF
from assay.config.components import component_keys, component_problems, resolve_target, signature
from assay.config.compose import compose, composing
from assay.config.explain import options, value_at
from assay.config.messages import Annotation, InvalidConfig, bare, branches, describe, note, show
from assay.config.schema import BENCHES, TrainConfig
from assay.config.validate import fields, resolved
from assay.errors import UserError

Key = tuple[str, Annotation, Any]  # with its annotation and its default
TEXTS = {
    "train": """Train and test an image classifier, alone or in a sweep; every key can be set here.

usage: python train.py [group=option] [key=value] ...   (-m to sweep over key=a,b)

Examples
  python train.py                                              the MLP on all of MNIST
  python train.py optimizer=sgd optimizer.lr=0.05 data.batch_size=128   other choices, other values
  python train.py model=cnn device=gpu name=first_try          a convolutional net on the GPU
  python train.py -m optimizer=sgd,adam seed=0,1,2             a sweep: six runs and their leaderboard
  python train.py resume=last                                  go on with an interrupted run
  python train.py 'stages=[test]' ckpt=outputs/runs/<run>      test a run's best checkpoint again
  python train.py 'stages=[test]' ckpt=best:<sweep>            the same for the best run of a sweep

Looking back
  python train.py runs [word ...]                              what has been run, the newest first
  python train.py 'diff=[outputs/runs/A,outputs/runs/B]'       what differs: config, results, versions, data
  python train.py reproduce=outputs/runs/A                     run it again; bit-identical or not
  python train.py leaderboard=outputs/sweeps/A                 the table of a sweep, again""",
    "bench": """Measure what the lesson claims: one bench a claim, each with its device, method and spread.

usage: python bench.py [bench=name] [key=value] ...

Examples
  python bench.py                                              CPU against GPU on a 10,000 x 10,000 product
  python bench.py 'sizes=[1024,2048]' seconds=30               smaller, within a budget
  python bench.py bench=hardware                               what this machine has, and why a GPU is missing
  python bench.py bench=autograd                               gradients against calculus, and what they cost
  python bench.py bench=training                               an epoch against the bare loop
  python bench.py 'compare=[outputs/bench/A,outputs/bench/B]'  faster, slower, or the same""",
}


def _columns(rows: list[tuple[str, str]], indent: str = "  ") -> list[str]:
    width = min(max((len(left) for left, _ in rows), default=0), 74)
    return [f"{indent}{left:<{width}}  {right}".rstrip() for left, right in rows]


def _group_lines(config_name: str) -> Iterator[str]:
    chosen: dict[str, Any] = {}
    primary: Any = OmegaConf.to_container(OmegaConf.load(CONF / f"{config_name}.yaml"))
    for entry in primary["defaults"]:
        if isinstance(entry, Mapping):
            chosen |= {str(key): value for key, value in entry.items() if " " not in str(key)}
    for group, default in chosen.items():
        found = options(group) if (CONF / group).is_dir() else []
        if not found:
            continue
        yield f"  {group}"
        rows = [
            (f"{'*' if option == default else ' '} {option}", title(CONF / group / f"{option}.yaml"))
            for option in found
        ]
        yield from _columns(rows, "    ")


def _keys(schema: Annotation, plain: Any, typed: bool, key: str = "") -> Iterator[Key]:
    """All keys of the config."""
    for name, annotation in fields(schema).items():
        full = f"{key}.{name}" if key else name
        value = value_at(plain, full)
        if any(is_dataclass(bare(branch)) for branch in branches(annotation)):
            yield from _keys(annotation, plain, typed, full)
        elif isinstance(value, Mapping):
            yield from _component_keys(value, full, typed)
        else:
            yield full, annotation, value


def _component_keys(node: Any, key: str, typed: bool) -> Iterator[Key]:
    """Those of a component: by its signature where words were typed, else, without torch, by the default."""
    target = node.get("_target_")
    known = signature(resolve_target(target))[0] if typed and target else {}
    for name, value in node.items():
        if isinstance(value, Mapping) and "_target_" in value:
            yield from _component_keys(value, f"{key}.{name}", typed)
        elif name != "_target_":
            yield f"{key}.{name}", known.get(name, type(value)), value


def _key_lines(config_name: str, words: Sequence[str]) -> Iterator[str]:
    with composing():
        composed, problems = compose(config_name, words)
        plain = resolved(composed.config)[0]
    for key in component_keys(plain) if words else ():
        problems += component_problems(value_at(plain, key), key)
    if problems:
        raise InvalidConfig(problems)
    schema = TrainConfig if config_name == "train" else BENCHES[plain["bench"]]
    rows: list[tuple[str, str]] = []
    for key, annotation, default in _keys(schema, plain, bool(words)):
        meaning = note(annotation)
        allowed = describe(annotation) if annotation is not Any else describe(type(default))
        rows.append((f"{key}={show(default)}", f"{allowed}{f': {meaning}' if meaning else ''}"))
    yield from _columns(rows)


def title(path: Path) -> str:
    """What a YAML file says of itself in its first comment."""
    lines = [
        line.lstrip("# ").strip() for line in path.read_text(encoding="utf-8").splitlines() if line[:1] == "#"
    ]
    return next((line for line in lines if line and not line.startswith("@package")), "")


def config_text(config_name: str, words: Sequence[str], part: str, package: str | None, resolve: bool) -> str:
    """`--cfg job|hydra|all`: the composed config as YAML; raises `UserError` for wrong words."""
    with composing():
        composed, problems = compose(config_name, words)
        problems += resolved(composed.config)[1] if resolve else []
        if problems:
            raise InvalidConfig(problems)
        shown: Any = composed.config
        if part != "job":
            shown = hydra_compose(config_name, list(words), return_hydra_config=True)
    shown = OmegaConf.select(shown.hydra if part == "hydra" else shown, package or "")
    if not isinstance(shown, DictConfig):
        raise UserError(f"--package {package}: the config has no such node")
    return OmegaConf.to_yaml(shown, resolve=resolve and part == "job").rstrip()


def page(config_name: str, words: Sequence[str]) -> str:
    """The whole text of `--help` for `train` or `bench`, with the keys that there are with these words.

    Raises `UserError` for wrong words.
    """
    return "\n".join(
        [
            TEXTS[config_name],
            *("", "Groups (group=option; * is the default)", *_group_lines(config_name)),
            *("", "Keys (key=default, what is allowed, what it is)", *_key_lines(config_name, words)),
            "",
            f"The whole config: python {config_name}.py --cfg job --resolve   "
            "Where it comes from: --info defaults   Hydra's own flags: --hydra-help",
            f'Completion: eval "$(assay-{config_name} -sc install=bash)"   (also zsh, fish)',
        ]
    )
