"""From the words of a command line to what they ask for.

The order is what a person feels: help and refusals answer before torch is imported, nothing is run or written
before the whole config is judged, and Hydra does what it does well: `--cfg`, `--info`, sweeps, completion.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import replace

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from assay.config.compose import CONF
from assay.config.judge import judge
from assay.config.judged import JudgedConfig, composes, judge_jobs, judged, schema_of
from assay.config.tools import Tool, tool_of
from assay.config.words import CommandLine, command_line, names_sweep_file, sample_jobs
from assay.errors import RunFailed, UserError

Job = Callable[[JudgedConfig[object]], int]


def command(name: str) -> int:
    """What `train` or `bench` does with the words in `sys.argv`: the exit code."""
    line = command_line(sys.argv[1:])
    if name == "train" and names_sweep_file(line):
        line = replace(line, multirun=True, argv=("-m", *line.argv))
    if line.help:
        return _help(name)
    asked = tool_of(line.overrides) if name == "train" else None
    if asked is not None:
        return _tool(*asked, line.overrides)
    return _hydra(name, line, _train if name == "train" else _bench)


def _train(found: JudgedConfig[object]) -> int:
    from assay.config.frame import TrainConfig
    from assay.run.run import main  # torch and Lightning take seconds: not before the config is judged

    assert isinstance(found.config, TrainConfig)
    return main(found.config, list(found.overrides))


def _bench(found: JudgedConfig[object]) -> int:
    from assay.bench.main import main
    from assay.config.bench_frame import BenchConfig

    assert isinstance(found.config, BenchConfig)
    main(found.config, found.overrides)
    return 0


def _tool(tool: Tool, folders: tuple[str, ...], words: tuple[str, ...]) -> int:
    if tool is Tool.LEADERBOARD:
        from assay.sweep.derive import print_again

        return print_again(folders, [word for word in words if word.startswith("sweep.")])
    from assay.run import compare

    return compare.reproduce(folders[0]) if tool is Tool.REPRODUCE else compare.diff(*folders)


def _help(name: str) -> int:
    from assay.config.help import page

    try:
        print(page(name), flush=True)
    except BrokenPipeError:  # `--help | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _judged(name: str, line: CommandLine) -> JudgedConfig[object] | None:
    """The config of a single run; None where Hydra composes by itself, what can be judged being judged."""
    if line.completion:
        return None
    if line.config_only:
        composes(name, line.overrides, line.resolve)
        return None
    if not line.multirun:
        return judged(name, line.overrides)
    # frames alone: the sweeper judges the slots of the jobs that are still to run, others need no torch
    if name == "train":
        from assay.sweep.jobs import compose_jobs

        compose_jobs(line.overrides)  # what needs torch is judged by the sweep, if there is anything to run
    else:
        judge_jobs(name, sample_jobs(line.overrides))
    return None


def _hydra(name: str, line: CommandLine, job: Job) -> int:
    """Hands over to Hydra, which calls back once for each job; the worst of their exit codes."""
    found = _judged(name, line)
    if line.completion and sys.argv[0].endswith(".py") and any("install" in word for word in line.overrides):
        raise UserError(
            f'completion is for the command assay-{name}: eval "$(assay-{name} -sc install=bash)"'
        )
    codes = [0]

    def task(composed: DictConfig) -> None:
        sys.argv[1:] = typed  # what is recorded, and what further processes of a run are started with
        one = found
        if one is None:
            words = tuple(HydraConfig.get().overrides.task)
            one = JudgedConfig(judge(schema_of(name, composed), composed), composed, words)
        codes.append(_reported(job, one))

    if name == "train" and line.multirun:
        from assay.sweep.sweeper import register

        register(line.overrides, codes.append)
    typed = sys.argv[1:]
    sys.argv[1:] = [word for word in line.argv if found is None or word not in found.deferred]
    hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(task)()
    return max(codes)


def _reported(job: Job, found: JudgedConfig[object]) -> int:
    """The exit code of one job; Hydra would print the traceback of what is no bug."""
    try:
        return job(found)
    except (UserError, RunFailed) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
