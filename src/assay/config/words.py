"""The words of a command line: flags, changes to the config, and the jobs that a sweep over them makes."""

from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser  # the flags are Hydra's, so is the list of them
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from assay.config.compose import options
from assay.config.nearest import nearest
from assay.errors import UserError

CLOSED = {
    "experimental_rerun": "it unpickles a file, and a pickle runs code: use resume=<run folder>",
    "config_path": "the config lives in conf/: --config-dir adds a folder of your own",
    "config_name": "each command has its config: --config-dir adds a folder of your own",
}


@dataclass(frozen=True)
class CommandLine:
    """What was typed: `argv` for Hydra, the changes to the config, and what is asked for."""

    argv: tuple[str, ...]
    overrides: tuple[str, ...]
    help: bool = False
    multirun: bool = False
    completion: bool = False
    config_only: bool = False  # --cfg, --info, --hydra-help: something is shown, nothing is run
    resolve: bool = False


def _flag_error(parser: ArgumentParser, words: Sequence[str], message: str) -> UserError:
    flags = [flag for action in parser._actions for flag in action.option_strings]
    bad = [word for word in words if word.startswith("-") and word.partition("=")[0] not in flags]
    near = [f"did you mean {' or '.join(found)}?" for word in bad if (found := nearest(word, flags))]
    return UserError("\n  ".join([message, *near[:1], "flags: --help, -m, --cfg job, --info, --version"]))


def command_line(words: Sequence[str]) -> CommandLine:
    """The command line, read; raises `UserError` for a flag that is unknown or closed."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise _flag_error(parser, words, message)

    parser.error = refuse
    if "--version" in words:
        print(f"assay {version('assay')} on hydra {version('hydra-core')}")
        raise SystemExit(0)
    args: Any = parser.parse_intermixed_args(list(words))
    for name, reason in CLOSED.items():
        if getattr(args, name) is not None:
            raise UserError(f"--{name.replace('_', '-')} is refused: {reason}")
    overrides = list(args.overrides)
    first = next((at for at, word in enumerate(words) if word in overrides), len(words))
    before, after = list(words[:first]), [word for word in words[first:] if word not in overrides]
    if args.config_dir is not None:
        overrides.append(_search_path(args.config_dir))
        before, after = (_without_folder(args.config_dir, flags) for flags in (before, after))
    shown = args.cfg is not None or args.info is not None or args.hydra_help
    return CommandLine(
        argv=(*before, *overrides, *after),  # Hydra cannot read flags between the words
        overrides=tuple(overrides),
        help=args.help,
        multirun=args.multirun or "hydra.mode=MULTIRUN" in overrides,
        completion=args.shell_completion,
        config_only=shown,
        resolve=args.resolve,
    )


def _search_path(folder: str) -> str:
    """`--config-dir` said as a change of `hydra.searchpath`, so that what is judged is what is run."""
    path = Path(folder).resolve()
    if not path.is_dir():
        raise UserError(f"--config-dir {folder}: there is no such folder")
    return f'hydra.searchpath=["file://{path}"]'


def _without_folder(folder: str, flags: Sequence[str]) -> list[str]:
    kept = [flag for flag in flags if flag not in ("--config-dir", "-cd", folder)]
    return [flag for flag in kept if not flag.startswith("--config-dir=")]


def names_sweep_file(line: CommandLine) -> bool:
    """Whether `sweep=<file>` asks for a sweep, though `-m` was left out."""
    shown = line.help or line.config_only or line.completion or line.multirun
    return not shown and any(w.startswith("sweep=") for w in line.overrides)


def parsed(word: str) -> Override:
    """One word as Hydra reads it; raises Hydra's own exception if it cannot be read."""
    return OverridesParser.create().parse_override(word)


def swept_words(override: Override) -> list[str]:
    """The words that a sweep over this one makes; one word if it is no sweep that can be enumerated."""
    word = str(override.input_line)
    if not override.is_discrete_sweep():
        return [] if override.is_sweep_override() else [word]
    swept = override.value()
    if isinstance(swept, Glob):
        values = swept.filter(options(override.key_or_group))
    else:
        values = list(override.sweep_string_iterator())
    return [f"{override.get_key_element()}={value}" for value in values]


def sample_jobs(words: Sequence[str]) -> list[list[str]]:
    """Jobs of the sweep in which every value of every word occurs at least once.

    Words that cannot be read are kept as they are, for the judge to say so.
    """
    choices: list[list[str]] = []
    for word in words:
        try:
            choices.append(swept_words(parsed(word)))
        except HydraException:
            choices.append([word])
    choices = [values for values in choices if values]
    first = [values[0] for values in choices]
    return [first] + [
        [*first[:at], value, *first[at + 1 :]] for at, values in enumerate(choices) for value in values[1:]
    ]
