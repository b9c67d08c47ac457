"""What a launcher runs: one job of a sweep, in a process of the launcher's choosing.

It never raises for a job that failed: whatever happens is written to the job's folder, where the sweep looks.
"""

import shutil
import sys
import time
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from assay.config.redact import redact
from assay.errors import CannotResume, Interrupted, RunFailed, UserError
from assay.run.folder import RunFolder, provenance
from assay.config.load import plain
from assay.run.place import Place
from assay.run.signals import stop_requests
from assay.sweep.engines import Engine
from assay.sweep.folder import Job, JobState, SweepFolder
from assay.sweep.gpus import one_gpu, visible_gpus

STALE = ("checkpoints", "figures", "metrics.csv", "result.json", "config.yaml", "overrides.yaml")


@dataclass(frozen=True)
class Worker:
    """The task that Hydra's launcher calls once for each job; plain values, so that it can travel."""

    folder: Path
    jobs: Mapping[str, Job]
    engine: Engine
    session: str
    again: frozenset[str]  # jobs that had failed before this command
    argv: tuple[str, ...]  # what was typed, for the record

    def __call__(self, composed: DictConfig) -> None:
        job = self.jobs[HydraConfig.get().job.name]
        sweep = SweepFolder(self.folder)
        with sweep.hold(job.id, self.session) as mine:
            if not mine or sweep.is_stopped(self.session):
                return
            state = sweep.state_of_mine(job.id)
            if state.status == "completed" or (state.ended and job.id not in self.again):
                return  # another sweep has run it meanwhile
            sys.argv = list(self.argv)
            run_folder = _opened(sweep.job(job.id), state)
            with _screen(run_folder.path / "log.txt") as console:
                self._run(job, run_folder, console)
            status = sweep.state_of_mine(job.id).status
            if job.config.sweep.on_failure == "stop" and status in ("failed", "diverged"):
                sweep.stop(self.session)

    def _run(self, job: Job, folder: RunFolder, console: Console) -> None:
        began, before = time.perf_counter(), dict(folder.result)
        with stop_requests() as request:  # on leaving it, a job that SLURM pre-empts is queued again
            try:
                with self._gpu(job) as gpu:
                    from assay.run.run import execute  # torch and Lightning, in the process that needs them

                    place = Place(self.engine.threads, gpu)
                    code = execute(job.config, list(job.words), console, request, folder, place)
                    if self._is_unsaid(job):
                        raise RunFailed(f"it ended with exit code {code} and no result")
            except BaseException as error:
                if folder.result == before or folder.result["status"] == "running":  # else it is said
                    _write_failure(folder, job, error, time.perf_counter() - began)

    def _is_unsaid(self, job: Job) -> bool:
        """Whether the run has left no word of how it ended."""
        return SweepFolder(self.folder).state_of_mine(job.id).result.get("status") in (None, "running")

    @contextmanager
    def _gpu(self, job: Job) -> Generator[int | None]:
        device = job.config.device
        alone = device.devices == 1 and device.accelerator in ("auto", "gpu")
        with one_gpu(
            visible_gpus() if alone and self.engine.is_local else [], job.config.sweep.jobs_per_gpu
        ) as gpu:
            yield gpu


def _opened(path: Path, state: JobState) -> RunFolder:
    """The folder of a job that goes on where it was interrupted; of any other, empty but for `log.txt`."""
    if state.status == "interrupted" and state.result and (path / "config.yaml").is_file():
        return RunFolder.open(path)
    path.mkdir(parents=True, exist_ok=True)
    for name in STALE:
        if (path / name).is_dir():
            shutil.rmtree(path / name)
        else:
            (path / name).unlink(missing_ok=True)
    for events in path.glob("events.out.tfevents.*"):
        events.unlink()
    return RunFolder(path)


@contextmanager
def _screen(log: Path) -> Generator[Console]:
    """What a run says on the screen goes to its log: the screen is the sweep's."""
    with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        yield Console(file=file, width=110)


def _write_failure(folder: RunFolder, job: Job, error: BaseException, seconds: float) -> None:
    """What `execute` could not write: it raised before the run's books were open, or was told to stop.

    A job that was to go on and cannot for a reason outside of it stays interrupted: what it has saved waits.
    """
    stopped = isinstance(error, (Interrupted, KeyboardInterrupt))
    if stopped and folder.result.get("status") != "running":
        return  # it had not begun
    traceback.print_exception(error)
    if folder.result.get("status") == "interrupted" and not isinstance(error, CannotResume):
        folder.update(error=_reason(error))
        return
    if not folder.result:
        folder.write_config(plain(job.config), list(job.words))
    folder.update(
        status="interrupted" if stopped else "failed",
        error=str(error) if stopped else _reason(error),
        metrics={},
        epochs=0,
        steps=0,
        seconds={"total": seconds, "fit": None, "test": None, "epochs": []},
        samples_per_second=None,
        seed=job.config.seed,
        overrides=redact(job.words),
        config_id=job.id,
        checkpoint=None,
        **provenance(),
    )


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, (RunFailed, UserError)) else f"{type(error).__name__}: {error}"
