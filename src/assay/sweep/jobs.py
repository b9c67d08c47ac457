"""The jobs of a sweep, composed and judged before the first starts."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain

from assay.config.schema import TrainConfig
from assay.config.judged import frames, slot_problems
from assay.config.messages import Problem, refuse
from assay.errors import UserError
from assay.config.load import config_id, group_id, plain
from assay.sweep.folder import Job
from assay.sweep.grid import expand, is_readable, words_of


def key_of(word: str) -> str:
    """What a word is about."""
    return word.partition("=")[0].lstrip("+~").partition("@")[0]


def value_of(word: str) -> str:
    return word.partition("=")[2]


def parts(words: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The words that steer Hydra, those that steer the sweep, and those of the jobs."""
    hydra = [w for w in words if key_of(w).startswith(("hydra.", "hydra/")) and key_of(w) != "hydra.mode"]
    sweep = [w for w in words if key_of(w).partition(".")[0] == "sweep"]
    return hydra, sweep, [w for w in words if w not in sweep and not key_of(w).startswith("hydra")]


@lru_cache(maxsize=1)  # the command line is judged first, then Hydra asks for the same
def compose_jobs(words: tuple[str, ...]) -> tuple[Job, ...]:
    """The jobs that the words of a command line and of its sweep file make.

    Raises `UserError` with the problems of all of them, each with the job that it is in.
    """
    hydra, sweep, ours = parts(words)
    base = [*hydra, *sweep]
    whole = _judged([base])[0]
    typed = [*words_of(whole.sweep.params), *ours]
    _judged([[*base, *(word for word in typed if not is_readable(word))]])
    grid = expand(typed, whole.sweep.mode)
    judged = _judged([[*base, *job] for job in grid], grid)
    configs = [_of_run(config, job) for config, job in zip(judged, grid, strict=True)]
    jobs = [Job(config_id(one), group_id(one), job, one) for one, job in zip(configs, grid, strict=True)]
    if any(job.config.resume is not None for job in jobs):
        raise UserError("resume: a sweep goes on by itself\n  run its command again, with its sweep.name")
    _refuse_repeated(jobs)
    _refuse_unmeasured(jobs)
    return tuple(jobs)


def _of_run(config: TrainConfig, words: Sequence[str]) -> TrainConfig:
    """With `ckpt` of a run, as in a single run: that run's config, with the job's words on top."""
    if config.ckpt is None:
        return config
    from assay.run.resume import started_from  # which needs torch

    return replace(started_from(config.ckpt, config, words), sweep=config.sweep, output_dir=config.output_dir)


def _refuse_repeated(jobs: Sequence[Job]) -> None:
    """Two jobs with one id would be one folder. Raises `UserError`."""
    first: dict[str, int] = {}
    for at, job in enumerate(jobs):
        before = first.setdefault(job.id, at)
        if before != at:
            words = [one.words for one in jobs]
            which = f"jobs {before + 1} and {at + 1} of {len(jobs)} are the same"
            keys = swept_keys([words[before], words[at]])
            if not keys:
                raise UserError(f"{which}: {_swept(at, words) or ' '.join(job.words)}\n  leave one out")
            raise UserError(
                f"{which}: {_swept(before, words)} and {_swept(at, words)}\n"
                "  what decides a result is the same in both: all but paths, names and what is logged"
            )


# what a stage measures; `fit` validates after its epochs
STAGE_OF = {"train": ("fit",), "val": ("fit", "validate"), "test": ("test",)}


def _refuse_unmeasured(jobs: Sequence[Job]) -> None:
    """A leaderboard needs a job that has its metric. Raises `UserError`."""
    metric = jobs[0].config.sweep.metric
    stages = STAGE_OF[metric.partition("/")[0]]
    if not any(stage in stages for job in jobs for stage in job.config.stages):
        raise UserError(
            f"sweep.metric={metric}: no job has the stage that measures it\n"
            f"  stages=[{','.join(jobs[0].config.stages)}] is without {' or '.join(stages)}"
        )


def _judged(words: Sequence[Sequence[str]], jobs: Sequence[Sequence[str]] = ()) -> list[TrainConfig]:
    """Their configs without the slots, which need torch; a problem says in which of the jobs it is."""
    found = list(frames("train", words))
    _refuse_any([problems for _, problems in found], jobs)
    return [config for config, _ in found if config is not None]


def judge_slots(jobs: Sequence[Job], hydra: Sequence[str]) -> None:
    """The rest of the judgement, which needs torch; `hydra` are the words that the jobs do not hold.

    Raises `UserError` with the problems of all of them, each with the job that it is in.
    """
    configs = [([*hydra, *job.words], plain(job.config)) for job in jobs]
    _refuse_any(list(slot_problems("train", configs)), [job.words for job in jobs])


def _refuse_any(problems: Sequence[Sequence[Problem]], jobs: Sequence[Sequence[str]]) -> None:
    """Raises `UserError` if any job has a problem, each problem once."""
    found: dict[str, tuple[Problem, list[int]]] = {}
    for at, ones in enumerate(problems):
        for problem in ones:
            found.setdefault(problem.text, (problem, []))[1].append(at)
    if found:
        raise refuse(_in_jobs(problem, where, jobs) for problem, where in found.values())


def _in_jobs(problem: Problem, where: list[int], jobs: Sequence[Sequence[str]]) -> Problem:
    if len(jobs) < 2 or len(where) == len(jobs):
        return problem
    more = f" and {len(where) - 1} more" if len(where) > 1 else ""
    note = f"in job {where[0] + 1} of {len(jobs)} ({_swept(where[0], jobs)}){more}"
    return replace(problem, notes=(*problem.notes[:2], note))


def _swept(at: int, jobs: Sequence[Sequence[str]]) -> str:
    """What a job has of its own."""
    keys = swept_keys(jobs)
    return " ".join(word for word in jobs[at] if key_of(word) in keys)


def swept_keys(jobs: Sequence[Sequence[str]]) -> list[str]:
    """The keys on whose words the jobs differ, in the order in which they were typed."""
    keys = dict.fromkeys(key_of(word) for word in chain.from_iterable(jobs))
    values = {key: {next((w for w in job if key_of(w) == key), None) for job in jobs} for key in keys}
    return [key for key in keys if len(values[key]) > 1]
