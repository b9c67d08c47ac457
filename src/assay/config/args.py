"""The words of a command line: flags, and changes as they were meant. Imports neither torch nor Hydra."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

from assay import CONF
from assay.errors import UserError

CLOSED = {
    "experimental_rerun": "it unpickles a file, and a pickle runs code: use resume=<run folder>",
    "config_path": "the config lives in conf/: --config-dir adds a folder of your own",
    "config_name": "each command has its config: --config-dir adds a folder of your own",
}
YES: dict[str, Any] = {"action": "store_true"}
INFO = ["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"]
# Hydra's own flags
FLAGS: dict[str, dict[str, Any]] = {
    **{"--help -h": YES, "--version": YES, "--multirun -m": YES, "--resolve": YES, "--hydra-help": YES},
    **{"--shell-completion -sc": YES, "--config-dir -cd": {}, "--package -p": {}},
    "--cfg -c": {"choices": ["job", "hydra", "all"]},
    "--info -i": {"choices": INFO, "const": "all", "nargs": "?"},
    **{f"--{name.replace('_', '-')}": {} for name in CLOSED},
}


def parsed(words: Sequence[str]) -> tuple[Namespace, list[str]]:
    """The flags, and the words that change the config. Raises `UserError` for a wrong flag."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("overrides", nargs="*")
    known = list[str]()
    for names, settings in FLAGS.items():
        known += parser.add_argument(*names.split(), **settings).option_strings

    def refuse(message: str) -> NoReturn:
        from assay.config.messages import nearest

        bad = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
        near = [f"did you mean {' or '.join(found)}?" for word in bad[:1] if (found := nearest(word, known))]
        for word in bad[:1]:
            key = word.lstrip("-")
            name = key.partition("=")[0]
            if (CONF / name).is_dir() or "." in name:
                near = [f"groups and keys have no dashes: {key if '=' in key else f'{key}=<value>'}"]
        raise UserError("\n  ".join([message, *near, "flags: --help, -m, --cfg job, --info, --version"]))

    parser.error = refuse
    _refuse_blanks(words)
    flags = parser.parse_intermixed_args(list(words))
    for name, reason in CLOSED.items():
        if getattr(flags, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is refused: {reason}")
    overrides = [_as_typed(word) for word in flags.overrides]
    if flags.config_dir is not None:
        folder = Path(flags.config_dir).resolve()
        if not folder.is_dir():
            raise UserError(f"--config-dir {flags.config_dir}: there is no such folder")
        overrides.append(f'hydra.searchpath=["file://{folder}"]')
    return flags, overrides


def _refuse_blanks(words: Sequence[str]) -> None:
    """Raises `UserError` for one change that a shell has taken for several words."""
    for at, (word, after) in enumerate(pairwise(words)):
        splits = word == "=" or (word.endswith(("=", ",")) and "=" in word and "=" not in after)
        begin = at - 1 if word == "=" and at else at
        if (splits or after.startswith("=")) and not (word.startswith("-") or after.startswith("-")):
            end = at + (3 if after == "=" else 2)
            while end < len(words) and words[end - 1].endswith(","):
                end += 1
            meant = "".join(words[begin:end])
            raise UserError(
                f"{' '.join(words[begin:end])}: a change is one word, without blanks\n  type {meant}"
            )


def _as_typed(word: str) -> str:
    """The word, quoted if it is a path whose name Hydra would take apart: jobs/optimizer=sgd,seed=0-..."""
    key, _, value = word.partition("=")
    is_path = key in ("ckpt", "resume", "reproduce", "leaderboard", "output_dir")
    is_best = key == "ckpt" and value.startswith("best:")
    is_odd = value.startswith("~/") or ({*value} & {*",="} and (is_best or Path(value).exists()))
    return f"{key}='{value}'" if is_path and is_odd else word
