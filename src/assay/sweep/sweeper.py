"""`-m`: a Hydra sweeper whose sweeps can be run again to finish, and always leave a leaderboard."""

import secrets
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, final

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from assay.config.schema import SweepConfig
from assay.config.names import inside
from assay.errors import UserError
from assay.run.folder import git_state
from assay.sweep.derive import derive
from assay.sweep.engines import engine_of
from assay.sweep.folder import Job, JobState, SweepFolder
from assay.sweep.jobs import compose_jobs, key_of, parts
from assay.sweep.launch import Child, Launch
from assay.sweep.live import View
from assay.sweep.screen import conclude, console_of_sweep, list_jobs, say_code_changed
from assay.sweep.supervise import Outcome, Supervisor
from assay.sweep.work import Worker

# Hydra takes plugins from this package only: the class is registered under the name, there is no such package
NAME = "hydra_plugins.assay.AssaySweeper"


@final
class AssaySweeper(Sweeper):
    """Expands the grid, judges every job, and hands what is left to Hydra's launcher."""

    report: ClassVar[Callable[[int], None]]  # takes the exit code
    words: ClassVar[tuple[str, ...]]  # the command line's, as they have been judged
    hydra_context: HydraContext | None = None
    config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def sweep(self, arguments: list[str]) -> None:
        assert self.hydra_context is not None and self.config is not None
        launch = Launch(self.config, self.hydra_context, tuple(parts(self.words)[0]))
        try:
            code = run_sweep(compose_jobs(self.words), launch)
        except UserError as error:
            print(error, file=sys.stderr)
            code = 2
        type(self).report(code)


def register(words: Sequence[str], report: Callable[[int], None]) -> None:
    """Make the sweeper known to Hydra for a command line that `compose_jobs` has judged."""
    AssaySweeper.words, AssaySweeper.report = tuple(words), staticmethod(report)
    plugins = Plugins.instance()
    plugins.register(AssaySweeper)
    plugins.class_name_to_class[NAME] = AssaySweeper


def run_sweep(jobs: Sequence[Job], launch: Launch) -> int:
    """All of a sweep; the exit code. Raises `UserError` before anything is written."""
    config, console = jobs[0].config.sweep, console_of_sweep()
    existing = _existing(jobs, config)
    states = {job.id: existing.state(job.id) if existing else JobState("pending") for job in jobs}
    if existing is not None:
        _same_grid(existing, jobs)
    if (
        all(_is_settled(state, config) for state in states.values())
        and existing is not None
        and not config.dry_run
    ):
        return _end(existing, jobs, Outcome(), console)
    child = Child(launch, jobs)
    try:
        return _judged_and_run(jobs, states, existing, launch, child, console)
    except BaseException:  # Ctrl-C above all; nobody else would end the child
        child.kill()
        raise


def _judged_and_run(
    jobs: Sequence[Job],
    states: dict[str, JobState],
    existing: SweepFolder | None,
    launch: Launch,
    child: Child,
    console: Console,
) -> int:
    config, problems = jobs[0].config.sweep, child.verdict()
    if problems is not None or config.dry_run:
        child.dismiss()
        if problems is not None:
            raise UserError(problems)
        list_jobs(jobs, states, existing, console)
        return 0
    sweep = existing or SweepFolder.create(Path(jobs[0].config.output_dir) / "sweeps", config.name)
    with sweep.locked():
        _same_grid(sweep, jobs)  # again: another command may have begun a sweep of this name just now
        sweep.write_manifest(jobs, _command(sweep))
    return _end(sweep, jobs, _work(sweep, jobs, states, launch, child, console), console)


def _work(
    sweep: SweepFolder,
    jobs: Sequence[Job],
    states: dict[str, JobState],
    launch: Launch,
    child: Child,
    console: Console,
) -> Outcome:
    launcher: Any = OmegaConf.to_container(launch.config.hydra.launcher, resolve=True)
    engine = engine_of(launcher, len(jobs))
    done = sum(state.status == "completed" for state in states.values())
    console.print(f"sweep   {sweep.path}", highlight=False, soft_wrap=True)
    failed = sum(state.ended and state.status != "completed" for state in states.values())
    left = f", {done} of them done" if done else ""
    if failed and jobs[0].config.sweep.retry == "none":
        left += f", {failed} failed and left so (sweep.retry=none)"
    at_once = f", {engine.workers} at once" if engine.workers > 1 else ""
    console.print(f"jobs    {len(jobs)}{left}; {engine.name}{at_once}", highlight=False)
    say_code_changed(states.values(), git_state(), console)
    worker = Worker(
        sweep.path.absolute(),
        {job.id: job for job in jobs},
        engine,
        session=secrets.token_hex(8),
        again=frozenset(id for id, state in states.items() if state.ended),
        argv=tuple(sys.argv),
    )
    view = View(console, jobs, engine.workers)
    retry = jobs[0].config.sweep.retry == "failed"
    return Supervisor(sweep, jobs, worker, launch, view, retry).run(child)


def _end(sweep: SweepFolder, jobs: Sequence[Job], outcome: Outcome, console: Console) -> int:
    """Whatever happened: the leaderboard on disk and on the screen, the failures, the exit code."""
    config = jobs[0].config.sweep
    board = derive(sweep, config.metric, config.direction)
    conclude(sweep, board, outcome, console)
    if outcome.signum is not None:
        return 128 + outcome.signum
    mine = {job.id for job in jobs}  # another command may have let the sweep grow meanwhile
    complete = all(row.entry.status == "completed" for row in board.rows if row.entry.id in mine)
    return 0 if complete and outcome.launcher_error is None else 1


def _existing(jobs: Sequence[Job], config: SweepConfig) -> SweepFolder | None:
    if config.name is None:
        return None
    path = inside(Path(jobs[0].config.output_dir) / "sweeps", config.name, "sweep.name")
    return SweepFolder(path) if (path / "sweep.json").is_file() else None


def _same_grid(sweep: SweepFolder, jobs: Sequence[Job]) -> None:
    """A sweep may grow by new jobs; one that would lose some is another sweep. Raises `UserError`."""
    here = {job.id for job in jobs}
    manifest = sweep.manifest
    lost = [job for job in manifest.get("jobs", []) if job["id"] not in here]
    if lost:
        raise UserError(
            f"sweep.name={sweep.path.name} has another grid: {len(lost)} of its "
            f"{len(manifest['jobs'])} jobs are not in this one, "
            f"such as {' '.join(lost[0]['words']) or lost[0]['id']}\n"
            f"  it was made by: {manifest['command']}\n"
            "  a sweep may grow; for another one choose another name"
        )


def _is_settled(state: JobState, config: SweepConfig) -> bool:
    """Whether there is nothing to do for the job."""
    return state.status == "completed" or (config.retry == "none" and state.ended)


def _command(sweep: SweepFolder) -> str:
    """What finishes the sweep: the command as typed, with the sweep's name."""
    words = sys.argv[1:]
    if not any(key_of(word) == "sweep.name" for word in words):
        words = [*words, f"sweep.name={sweep.path.name}"]
    program = Path(sys.argv[0]).name
    return shlex.join([*(["python", "train.py"] if program.endswith(".py") else [program]), *words])
