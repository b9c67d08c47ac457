"""The two commands: words in, exit code out; the only place that maps an error to an exit code.

Help and refusals answer before torch is imported; nothing is run or written before the whole config is valid.
"""

import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from assay import CONF, imports, leave
from assay.config.args import parsed
from assay.errors import Interrupted, RunFailed, UserError, own_line, say, was_interrupted

PACKAGE = Path(__file__).parent
LIST = "runs"  # the word that lists them
# words that look back instead of training: how many folders they take, and an example
TOOLS = {
    "diff": ((2, 2), "two run folders are compared", "diff=[outputs/runs/A,outputs/runs/B]"),
    "reproduce": ((1, 1), "one run folder is compared", "reproduce=outputs/runs/A"),
    "leaderboard": (
        (1, 999),
        "one or several sweep folders are listed",
        "leaderboard=[outputs/sweeps/A,outputs/sweeps/B]",
    ),
}


def train(words: Sequence[str] | None = None) -> int:
    """`python train.py`: the exit code; `words` stand in for those of `sys.argv`."""
    return exit_code(lambda: _train(sys.argv[1:] if words is None else words))


def bench(words: Sequence[str] | None = None) -> int:
    """`python bench.py`: the exit code."""
    return exit_code(lambda: _bench(sys.argv[1:] if words is None else words))


def train_process() -> NoReturn:
    leave(train())


def bench_process() -> NoReturn:
    leave(bench())


def exit_code(command: Callable[[], None]) -> int:
    """That of the contract for what the command raises, said on standard error."""
    try:
        if not CONF.is_dir():
            raise UserError(f"{CONF} is missing: Assay runs from its checkout\n  there: pip install -e .")
        command()
    except (UserError, KeyboardInterrupt) as error:
        if was_interrupted(error):
            say("stopped by SIGINT before anything began: nothing was written")
            return 128 + signal.SIGINT
        say(str(error))
        return 2
    except PermissionError as error:
        if error.filename is None:  # of no file: a bug
            raise
        say(f"{error.filename}: {error.strerror}\n  change its permissions: chmod u+rwX")
        return 2
    except RunFailed as error:
        say(str(error))
        return 1
    except Interrupted as stop:
        say(str(stop))
        return 128 + stop.signum
    except Exception as error:  # of code of a person's own, where there is no run that records it
        line = own_line(error)
        if line is None or Path(line).is_relative_to(PACKAGE):
            raise
        from assay.run.failures import told

        say(f"failed: {told(error)}")
        return 1
    return 0


def _train(words: Sequence[str]) -> None:
    flags, overrides = parsed(words)
    if _shown("train", flags, overrides):
        return
    if LIST in overrides:
        _list_runs([word for word in overrides if word != LIST])
        return
    tool = next((word for word in overrides if word.partition("=")[0] in TOOLS), None)
    if tool is not None:
        _look_back(tool, [word for word in overrides if word != tool])
    elif flags.multirun or any(word.startswith("sweep=") for word in overrides):
        from assay.sweep.sweep import sweep

        sweep(overrides, _find)
    else:
        _run(overrides)


def _run(overrides: Sequence[str]) -> None:
    from assay.terminal import waiting

    with waiting("starting: torch and Lightning take some seconds"), imports():
        from assay.config.load import load
        from assay.config.messages import InvalidConfig

        loaded = load("train", overrides, _find)
        os.environ.update(loaded.composed.environment)  # before torch reads it
        from assay.run.run import run

    try:
        run(loaded.config, overrides)
    except InvalidConfig as error:  # of a component: only now is its class looked at
        raise loaded.placed(error.problems) from error


def _find(resume: str | None, ckpt: str | None, output_dir: str) -> Path | None:
    """The folder of the run that these values mean, a sweep's best one too."""
    from assay.config.saved import BEST_OF
    from assay.run.earlier import find_earlier

    if resume is None and ckpt is not None and ckpt.startswith(BEST_OF):
        from assay.runs import best_of

        return best_of(ckpt.removeprefix(BEST_OF), Path(output_dir))
    return find_earlier(resume, ckpt, output_dir)


def _bench(words: Sequence[str]) -> None:
    flags, overrides = parsed(words)
    if _shown("bench", flags, overrides):
        return
    from assay.config.load import check_components, load
    from assay.sweep.grid import expand  # as in a sweep, but one after the other and here

    jobs = expand(overrides, "product") if flags.multirun else [tuple(overrides)]
    loaded = [load("bench", job) for job in jobs]
    os.environ.update(loaded[0].composed.environment)
    with imports():
        from assay.bench.main import main

    for job, one in zip(jobs, loaded, strict=True):
        check_components(one.config)
        main(one.config, job)


def _shown(name: str, flags: Namespace, overrides: Sequence[str]) -> bool:
    """Whether something was to be shown, and has been, instead of being run."""
    if flags.version:
        from importlib.metadata import version

        print(f"assay {version('assay')} on hydra {version('hydra-core')}")
    elif flags.help:
        _print_help(name, overrides)
    elif flags.cfg is not None:
        if flags.multirun:
            raise UserError(f"--cfg {flags.cfg} with -m: it shows the config of one run\n  leave -m out")
        from assay.config.help import config_text

        print(config_text(name, overrides, flags.cfg, flags.package, flags.resolve))
    elif flags.info or flags.hydra_help or flags.shell_completion:
        _by_hydra(name, flags, overrides)
    else:
        return False
    return True


def _by_hydra(name: str, flags: Namespace, overrides: Sequence[str]) -> None:
    """What Hydra itself shows, from the words in `sys.argv`; it runs nothing then."""
    from assay.config.compose import compose, composing
    from assay.config.messages import InvalidConfig

    if not flags.shell_completion:
        with composing():
            problems = compose(name, overrides)[1]
        if problems:
            raise InvalidConfig(problems)
    elif sys.argv[0].endswith(".py") and any("install" in word for word in overrides):
        raise UserError(
            f'completion is for the command assay-{name}: eval "$(assay-{name} -sc install=bash)"'
        )
    import hydra

    hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(lambda _: None)()


def _print_help(name: str, overrides: Sequence[str]) -> None:
    from assay.config.help import page

    text = page(name, overrides)
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `--help | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ---- words that look back


def _folders(word: str) -> list[Any]:
    """The folders that a word lists, quoted or not: the names of jobs and runs have `=` and `,` in them."""
    from hydra.errors import HydraException

    from assay.config.compose import parse

    folders, begun = [""], word.partition("=")[2].strip("[]")
    for part in begun.split(","):
        folders[-1] = ",".join(filter(None, [folders[-1], part.strip()]))
        folders += [""] if Path(folders[-1]).exists() else []
    if folders.pop() == "":
        return folders
    try:
        value = parse(word).value()
    except HydraException:
        return []
    return value if isinstance(value, list) else [value]


def _list_runs(words: Sequence[str]) -> None:
    """`runs [word ...]`; of its words `output_dir=` alone is a key."""
    from assay.config.load import load
    from assay.runs import print_runs

    keys = [word for word in words if word.startswith(("output_dir=", "hydra.searchpath="))]
    output_dir = load("train", keys).config.output_dir
    print_runs(Path(output_dir), [word for word in words if word not in keys])


def _look_back(word: str, others: Sequence[str]) -> None:
    """`diff=[A,B]`, `reproduce=<run>`, `leaderboard=<sweeps>`; raises `UserError` for wrong folders."""
    name = word.partition("=")[0]
    (least, most), needed, example = TOOLS[name]
    beside = ("sweep.metric=", "sweep.direction=") if name == "leaderboard" else ()
    if not all(other.startswith(beside or "\0") for other in others):
        raise UserError(f"{word} stands alone, without {' '.join(others)}\n  for example {example}")
    folders = _folders(word)
    if not least <= len(folders) <= most or not all(isinstance(one, str) and one for one in folders):
        raise UserError(f"{word}: {needed}\n  for example {example}")
    if name == "leaderboard":
        from assay.sweep.sweep import print_leaderboard

        print_leaderboard(folders, others)
        return
    from assay.run import compare

    if name == "diff":
        compare.diff(*folders)
    else:
        compare.reproduce(folders[0])
