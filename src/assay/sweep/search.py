"""A search: trials that Optuna draws one by one, and that are told what the folders of their jobs say.

A trial is drawn by a sampler of its own, seeded by the search's seed and the trial's number: a search that
was interrupted draws what it would have drawn. The attribute `jobs` of a trial lists the ids of its jobs; a
trial without it was cut off while it was drawn, and is drawn again. One process alone writes the journal.
"""

import csv
import statistics
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.samplers import RandomSampler
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState

from assay.config.compose import composing
from assay.config.messages import InvalidConfig
from assay.errors import UserError
from assay.sweep.job import Entry, Job, Ranking, SweepFolder
from assay.sweep.plan import Plan, job_of
from assay.sweep.space import scales
from assay.sweep.study import JOURNAL, drop_half_a_trial, is_drawn, pruner_of, sampler_of, storage_in, suggest


class Search:
    """The jobs that a search has drawn so far, and what draws the next."""

    def __init__(self, plan: Plan, folder: SweepFolder) -> None:
        """As its journal says; nothing is written."""
        assert plan.space is not None
        self.plan, self.folder, self.space = plan, folder, plan.space
        self.jobs: list[Job] = []
        self.by: Ranking | None = None  # once it has begun
        self._composed: dict[tuple[str, ...], Job] = {}
        self._trials_jobs: dict[int, list[Job]] = {}  # of the trials that nobody was told the end of
        self._rows: dict[int, NewRows] = {}
        self._seed = plan.jobs[0].config.seed
        self._epochs = max(job.config.trainer.max_epochs for job in plan.jobs)
        self._storage, self._study = None, None
        if (folder.path / JOURNAL).exists():
            with composing():
                self._open(storage_in(folder.path))

    @contextmanager
    def begun(self, by: Ranking) -> Generator[None]:
        """Alone with the journal inside the block. Raises `UserError` if another command has it."""
        self.by = by
        manifest, journal = self.folder.manifest, self.folder.path / JOURNAL
        lock = FileLock(self.folder.path / ".search.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise UserError(
                f"{self.folder.path}: this search is run by another command\n"
                "  wait for its end; for more jobs at once stop it and give sweep.workers"
            ) from None
        try:
            if manifest is None or not manifest.jobs:  # its first command was killed before a job
                journal.unlink(missing_ok=True)
            drop_half_a_trial(self.folder.path)
            with composing():  # of all its jobs the files are read once
                self._open(storage_in(self.folder.path), by)
                yield
        finally:
            lock.release()

    @property
    def is_over(self) -> bool:
        """Whether all trials have been drawn, and all have ended."""
        return self._study is not None and self._is_drawn() and not self._trials_jobs

    @property
    def notes(self) -> list[str]:
        return [
            f"{key} is drawn on a logarithmic scale; tag(linear,...) makes it a linear one"
            for key in scales(self.space.axes)
        ]

    @property
    def outcome(self) -> list[str]:
        """Trials that could not be run, and the end of a search that had nothing left to draw."""
        trials, wanted = self._trials(), self.plan.config.trials or 0
        said = [
            f"trial {trial.number} could not be run: {trial.user_attrs['refused']}"
            for trial in trials
            if "refused" in trial.user_attrs
        ]
        if self._is_exhausted() and len(trials) < wanted:
            said.append(f"all {self.space.size} configs were tried, after {len(trials)} of {wanted} trials")
        return said

    def more(self, entries: Mapping[str, Entry]) -> list[Job]:
        """The jobs of one more trial; none where all have been drawn.

        A config that was drawn before counts as a trial, and is told what its jobs' folders say.
        """
        self._tell(entries)
        while not self._is_drawn():
            fresh = self._draw()
            if fresh:
                return fresh
            self._tell(entries)
        return []

    def look(self, entries: Mapping[str, Entry]) -> dict[str, str]:
        """Report what running jobs have validated since; by their ids, why some of them are to stop."""
        self._tell(entries)
        stopped: dict[str, str] = {}
        for number, (job, *_) in self._trials_jobs.items() if self.plan.config.prune != "none" else ():
            reason = self._trials()[number].user_attrs.get("pruned")
            if reason is None and entries[job.id].status == "running":
                reason = self._fallen_behind(number, entries[job.id])
            stopped |= {job.id: reason} if reason is not None else {}
        return stopped

    def _tell(self, entries: Mapping[str, Entry]) -> None:
        """The trials that have ended since; one whose job failed has no value."""
        assert self._study is not None
        assert self.by is not None
        metric = self.by.metric
        for number, jobs in list(self._trials_jobs.items()):
            ended = [entries[job.id] for job in jobs]
            if not all(one.is_over or one.failed for one in ended):
                continue
            values = [value for one in ended if (value := one.metric(metric)) is not None]
            if len(values) == len(jobs):
                self._study.tell(number, statistics.fmean(values))
            else:
                is_pruned = any(one.status == "pruned" for one in ended)
                self._study.tell(number, state=TrialState.PRUNED if is_pruned else TrialState.FAIL)
            del self._trials_jobs[number]

    def _fallen_behind(self, number: int, entry: Entry) -> str | None:
        """Why the trial is to stop, if Optuna says so after one of the rows that are new."""
        assert self.by is not None
        metric, reported = self.by.metric, self._trials()[number].intermediate_values
        rows = self._rows.setdefault(number, NewRows(entry.folder / "metrics.csv", metric))
        trial = self._trial(number)
        for epoch, value in rows.read():
            if epoch in reported:
                continue
            trial.report(value, epoch)
            if epoch < self._epochs and trial.should_prune():
                reason = f"pruned after epoch {epoch}: {metric} was {value:.4f}"
                trial.set_user_attr("pruned", reason)
                return reason
        return None

    # ---- drawing

    def _draw(self) -> list[Job]:
        """One more trial; its jobs, but for those that are known."""
        assert self._study is not None
        number = len(self._trials())
        self._study.sampler = sampler_of(str(self.plan.config.search), self._seed, number, self.space.drawn)
        trial = self._study.ask()
        for key, axis in self.space.drawn.items():
            suggest(trial, key, axis)
        self._study.sampler = RandomSampler()  # one that does nothing when it is told
        try:
            jobs, fresh = self._load(trial.params)
        except InvalidConfig as error:  # each value is right by itself, and not beside the others
            trial.set_user_attr("refused", " ".join(str(error).split()))
            self._study.tell(number, state=TrialState.FAIL)
            return []
        trial.set_user_attr("jobs", [job.id for job in jobs])
        self._trials_jobs[number] = jobs
        return fresh

    def _load(self, drawn: Mapping[str, Any]) -> tuple[list[Job], list[Job]]:
        """The jobs of a trial, one a seed, and those of them that no trial before has; all are known then."""
        overrides, seeds = self.space.overrides(drawn), self.plan.config.seeds
        more: list[tuple[str, ...]] = [()]
        if seeds > 1:
            overrides = tuple(one for one in overrides if not one.startswith("seed="))
            more = [(f"seed={seed}",) for seed in range(self._seed, self._seed + seeds)]
        known = {job.id: job for job in self.jobs}
        jobs = [self._job((*overrides, *one)) for one in more]
        fresh = [job for job in jobs if job.id not in known]
        self.jobs += fresh
        return [known.get(job.id, job) for job in jobs], fresh

    def _job(self, overrides: tuple[str, ...]) -> Job:
        if overrides not in self._composed:
            self._composed[overrides] = job_of(self.plan, overrides)
        return self._composed[overrides]

    def _is_drawn(self) -> bool:
        return len(self._trials()) >= (self.plan.config.trials or 0) or self._is_exhausted()

    def _is_exhausted(self) -> bool:
        different = {tuple(sorted(trial.params.items())) for trial in self._trials()}
        return len(different) >= self.space.size

    # ---- the study

    def _open(self, storage: JournalStorage, by: Ranking | None = None) -> None:
        self.jobs, self._trials_jobs, self._storage = [], {}, storage
        name, config = self.space.name, self.plan.config
        if name not in [study.study_name for study in storage.get_all_studies()]:
            if by is None:
                return
            best = "maximize" if by.direction == "max" else "minimize"
            optuna.create_study(storage=storage, study_name=name, direction=best)
        pruner = pruner_of(config.prune, self._epochs)
        self._study = optuna.load_study(
            study_name=name, storage=storage, sampler=RandomSampler(), pruner=pruner
        )
        for trial in self._trials():
            if "jobs" in trial.user_attrs:
                jobs, _ = self._load(trial.params)
                self._trials_jobs |= {} if trial.state.is_finished() else {trial.number: jobs}

    def _trials(self) -> list[FrozenTrial]:
        """By number; the last one is left out if it was cut off while it was drawn."""
        trials = self._study.get_trials(deepcopy=False) if self._study else []
        return [trial for trial in trials if is_drawn(trial.user_attrs)]

    def _trial(self, number: int) -> optuna.Trial:
        """A trial that is there already; nothing is drawn by this alone."""
        assert self._study is not None and self._storage is not None
        study = self._storage.get_study_id_from_name(self.space.name)
        return optuna.Trial(self._study, self._storage.get_trial_id_from_study_id_trial_number(study, number))


@dataclass
class NewRows:
    """One column of the rows at an epoch's end; each look reads what was added since the one before."""

    file: Path
    column: str
    _header: bytes = b""
    _read: int = 0  # bytes

    def read(self) -> list[tuple[int, float]]:
        """Finished epochs with their values, in order; all of them again where the file was written anew."""
        try:
            with self.file.open("rb") as file:
                header, size = file.readline(), file.seek(0, 2)
                if header != self._header or size < self._read:
                    self._header, self._read = header, len(header)
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            return []
        added = added[: added.rfind(b"\n") + 1]  # half a row is read when it is whole
        self._read += len(added)
        lines = (self._header + added).decode().splitlines()
        return [
            (int(row["epoch"]), float(row[self.column]))
            for row in csv.DictReader(lines)
            if row.get(self.column) and row.get("epoch")
        ]
