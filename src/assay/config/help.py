"""`--help`: purpose, examples to copy, the groups with a line each, the keys with type, default and range.

All of it comes from conf/ and the schemas; the types of a slot's keys are read from the source of our own
classes, since importing them would import torch; for torch's own classes the type of the default must do.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any

from omegaconf import OmegaConf

from assay.config.compose import CONF, compose, options, title
from assay.config.describe import Annotation, bare, branches, describe, note, show
from assay.config.judge import fields
from assay.config.judged import schema_of
from assay.config.resolve import value_at
from assay.config.source import parameters


@dataclass(frozen=True)
class Page:
    """What is written by hand: a purpose, and six examples with what each does."""

    purpose: str
    examples: tuple[tuple[str, str], ...]
    usage: str


PAGES: Mapping[str, Page] = {
    "train": Page(
        "Train and test an image classifier, alone or in a sweep; every key can be set here.",
        (
            ("python train.py", "the MLP on all of MNIST"),
            (
                "python train.py optimizer=sgd optimizer.lr=0.05 data.batch_size=128",
                "other choices, other values",
            ),
            ("python train.py model=cnn device=gpu name=first_try", "a convolutional net on the GPU"),
            ("python train.py -m optimizer=sgd,adam seed=0,1,2", "a sweep: six runs and their leaderboard"),
            ("python train.py resume=last", "go on with an interrupted run"),
            ("python train.py 'stages=[test]' ckpt=outputs/runs/<run>", "test a run's best checkpoint again"),
        ),
        "python train.py [group=option] [key=value] ...   (-m to sweep over key=a,b)",
    ),
    "bench": Page(
        "Measure what the lesson claims: one bench a claim, each with its device, method and spread.",
        (
            ("python bench.py", "CPU against GPU on a 10,000 x 10,000 product"),
            ("python bench.py 'sizes=[1024,2048]' seconds=30", "smaller, within a budget"),
            ("python bench.py bench=hardware", "what this machine has, and what is wrong with it"),
            ("python bench.py bench=autograd", "gradients against calculus, and what they cost"),
            ("python bench.py bench=training", "an epoch against the bare loop"),
            ("python bench.py 'compare=[outputs/bench/A,outputs/bench/B]'", "faster, slower, or the same"),
        ),
        "python bench.py [bench=name] [key=value] ...",
    ),
}
TOOLS = (
    ("'diff=[outputs/runs/A,outputs/runs/B]'", "what differs: config, versions, git, data, results"),
    ("reproduce=outputs/runs/A", "run it again; bit-identical or not"),
    ("leaderboard=outputs/sweeps/A", "the table of a sweep, again"),
)


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


def _keys(schema: Annotation, plain: Any, key: str = "") -> Iterator[tuple[str, Annotation, Any]]:
    """All keys with their annotation and default; those of a slot with the type of their default."""
    for name, annotation in fields(schema).items():
        full = f"{key}.{name}" if key else name
        value = value_at(plain, full)
        if any(is_dataclass(bare(branch)) for branch in branches(annotation)):
            yield from _keys(annotation, plain, full)
        elif isinstance(value, Mapping):
            taken = parameters(str(value.get("_target_", "")))
            for inner, default in value.items():
                if inner != "_target_":
                    yield f"{full}.{inner}", taken.get(inner, type(default)), default
        else:
            yield full, annotation, value


def _key_lines(config_name: str) -> Iterator[str]:
    composed = compose(config_name, [])
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    rows: list[tuple[str, str]] = []
    for key, annotation, default in _keys(schema_of(config_name, plain), plain):
        meaning = note(annotation)
        allowed = describe(annotation) if annotation is not Any else describe(type(default))
        rows.append((f"{key}={show(default)}", f"{allowed}{f': {meaning}' if meaning else ''}"))
    yield from _columns(rows)


def page(config_name: str) -> str:
    """The whole text of `--help` for `train` or `bench`."""
    here = PAGES[config_name]
    lines = [here.purpose, "", f"usage: {here.usage}", "", "Examples", *_columns(list(here.examples))]
    if config_name == "train":
        lines += ["", "Looking back", *_columns([(f"python train.py {word}", said) for word, said in TOOLS])]
    lines += ["", "Groups (group=option; * is the default)", *_group_lines(config_name)]
    lines += ["", "Keys (key=default, what is allowed, what it is)", *_key_lines(config_name)]
    lines += [
        "",
        f"The whole config: python {config_name}.py --cfg job --resolve   "
        f"Where it comes from: --info defaults   Hydra's own flags: --hydra-help",
        f'Completion: eval "$(assay-{config_name} -sc install=bash)"   (zsh, fish: -sc install=zsh, fish)',
    ]
    return "\n".join(lines)
