"""From a command line to the jobs of a sweep, composed and validated before the first starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assay.config.compose import Composed, composing
from assay.config.explain import groups, key_of
from assay.config.load import load_job
from assay.config.messages import InvalidConfig, Problem, nearest
from assay.config.saved import Find, as_plain, config_id, group_id
from assay.config.schema import SweepConfig, TrainConfig
from assay.errors import UserError
from assay.run.earlier import find_earlier
from assay.sweep.grid import (
    Axis,
    axes,
    expand,
    grid_name,
    is_for_all,
    job_name,
    label,
    overrides_of,
    swept_keys,
)
from assay.sweep.job import Direction, Job, Ranking
from assay.sweep.space import Space, corners, refuse_search, space_of, whole_numbers

# what a stage measures; `fit` validates after its epochs
STAGES = {"train": ("fit",), "val": ("fit", "validate"), "test": ("test",)}


@dataclass(frozen=True)
class Plan:
    """What a command line asks for: jobs, where they run, and the environment variables that they get."""

    name: str  # of the sweep
    jobs: tuple[Job, ...]  # of a search those at the corners of its space, which are not run
    keys: tuple[str, ...]  # those that differ between jobs
    launcher: Mapping[str, Any]
    env: Mapping[str, str]
    for_all: tuple[str, ...]  # overrides that are no job's
    space: Space | None  # of a search
    find: Find

    @property
    def config(self) -> SweepConfig:
        return self.jobs[0].config.sweep

    @property
    def leaves_failed(self) -> bool:
        """Whether a job that has failed stays so when the command is typed again."""
        return self.config.retry == "none" or self.space is not None

    @property
    def count(self) -> int:
        """How many jobs there are in all, if nothing ends a search before."""
        return len(self.jobs) if self.space is None else (self.config.trials or 1) * self.config.seeds


def plan(overrides: Sequence[str], find: Find = find_earlier) -> Plan:
    """The jobs that overrides and sweep file make; raises `UserError` with the problems of all of them."""
    for_all = tuple(one for one in overrides if is_for_all(key_of(one)))
    typed = [one for one in overrides if one not in for_all]
    with composing():
        first_job = tuple(axis.overrides[0] for axis in axes(typed).values())
        first = load_job("train", [*for_all, *first_job], find)
        config = first[0].config.sweep if first[0] else None
        columns = axes([*overrides_of(config.params if config else {}), *typed])
        if config is not None:
            refuse_search(config, columns)
        is_search = config.search is not None if config else any(one.is_interval for one in columns.values())
        if is_search:
            points = corners(columns, [key for key in columns if key in groups()])
        else:
            points = expand(typed, config.mode if config else "product", config.params if config else {})
        problems: list[list[Problem]] = []
        configs: list[TrainConfig] = []
        composed: Composed | None = None  # of the first alone: a thousand would be 60 MB
        for point in points:
            loaded, found = first if point == first_job else load_job("train", [*for_all, *point], find)
            problems.append(found)
            if loaded is not None:
                configs.append(loaded.config)
                composed = composed or loaded.composed
    refuse_any(problems, points, columns if is_search else None)
    assert composed is not None  # or it has been refused
    keys = swept_keys(points)
    jobs = tuple(_job(one, point, keys) for one, point in zip(configs, points, strict=True))
    _refuse_useless(jobs, keys)
    ids, config = [job.id for job in jobs], jobs[0].config.sweep
    space = space_of(columns, config, ids) if is_search else None
    name = config.name or (space.name if space else grid_name(points, ids))
    keys = (*keys, "seed") if config.seeds > 1 else tuple(keys)
    return Plan(name, jobs, keys, composed.launcher, composed.environment, for_all, space, find)


def job_of(plan: Plan, overrides: Sequence[str]) -> Job:
    """One more job of a search, inside `composing`; raises `InvalidConfig`."""
    loaded, problems = load_job("train", [*plan.for_all, *overrides], plan.find)
    if loaded is None:
        raise InvalidConfig(problems)
    return _job(loaded.config, overrides, plan.keys)


def _job(config: TrainConfig, overrides: Sequence[str], keys: Sequence[str]) -> Job:
    plain = as_plain(config)
    id, config = config_id(plain), replace(config, sweep=replace(config.sweep, params={}))
    return Job(id, group_id(plain), job_name(overrides, keys, id), tuple(overrides), config)


def _refuse_useless(jobs: Sequence[Job], keys: Sequence[str]) -> None:
    """Raises `UserError` for jobs that go on with a run, and two that are one folder."""
    if any(job.config.resume is not None for job in jobs):
        raise UserError("resume: a sweep goes on by itself\n  type its command again, with its sweep.name")
    first: dict[str, int] = {}
    for at, job in enumerate(jobs):
        before = first.setdefault(job.id, at)
        if before != at:
            own = dict.fromkeys(label(jobs[one].overrides, keys) for one in (before, at))
            raise UserError(
                f"jobs {before + 1} and {at + 1} of {len(jobs)} are the same: "
                f"{' and '.join(filter(None, own)) or f'seed={job.config.seed}'}\n"
                "  what decides a result is the same in both: all but paths, names and what is logged"
            )


def ranking(
    config: TrainConfig, directions: Mapping[str, Direction], before: Ranking | None = None
) -> Ranking:
    """As typed; else as `before`, or by the task's first metric where it is validated, or tested.

    `directions` are the task's. Raises `UserError` for a metric that nothing measures: what callbacks log may
    have any name.
    """
    metric, wanted = config.sweep.metric, config.sweep.direction
    if metric is None and before is not None:
        return before if wanted == "auto" else replace(before, direction=wanted)
    if metric is None:
        validates = {*STAGES["val"]} & {*config.stages}
        metric = f"{'val' if validates else 'test'}/{next(iter(directions))}"
    split, name = metric.partition("/")[0], metric.rpartition("/")[2]
    names = [f"{one}/{measured}" for one in STAGES for measured in (*directions, "loss")]
    if metric not in names and not config.callbacks:
        near = [f"val/{metric}"] if f"val/{metric}" in names else nearest(metric, names)
        hint = f"did you mean sweep.metric={near[0]}?" if near else f"it is one of {', '.join(names)}"
        raise UserError(f"sweep.metric={metric}: nothing measures it\n  {hint}")
    if metric in names and not {*STAGES[split]} & {*config.stages}:
        raise UserError(
            f"sweep.metric={metric}: no job has the stage that measures it\n"
            f"  stages=[{','.join(config.stages)}] is without {' or '.join(STAGES[split])}"
        )
    if wanted == "auto":
        wanted = directions.get(name) or ("min" if name.endswith("loss") else "max")
    return Ranking(metric, wanted, directions)


def refuse_any(
    problems: Sequence[Sequence[Problem]],
    jobs: Sequence[Sequence[str]],
    searched: Mapping[str, Axis] | None = None,
) -> None:
    """Raises `InvalidConfig` if any job has a problem: each problem once, with the first job that has it.

    `searched` are the axes of a search, whose corners the jobs are.
    """
    where: dict[str, list[tuple[int, Problem]]] = {}
    for at, ones in enumerate(problems):
        for problem in ones:
            where.setdefault(problem.text, []).append((at, problem))
    keys = swept_keys(jobs) if where else []
    raised: list[Problem] = []
    for has in where.values():
        first, problem = has[0]
        more = f" and {len(has) - 1} more" if len(has) > 1 else ""
        notes = problem.notes[:2]
        if len(has) < len(jobs):
            what = "job" if searched is None else "corner"
            note = f"in {what} {first + 1} of {len(jobs)} ({label(jobs[first], keys)}){more}"
            note += ": a search draws each key with each option" if searched is not None else ""
            axis = (searched or {}).get(problem.key)
            hint = whole_numbers(axis) if axis is not None else None
            problem = replace(problem, notes=(*([hint] if hint else notes), note))
        raised.append(problem)
    if raised:
        raise InvalidConfig(raised)
