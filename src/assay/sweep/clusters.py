"""The engines that exist already: submitit on this machine or under SLURM, and Ray.

The node `hydra.launcher` is read as plain values, with the keys of hydra-submitit-launcher and
hydra-ray-launcher, and given to submitit and Ray themselves: no launcher of Hydra's is ever built.
"""

import json
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from getpass import getuser
from importlib import import_module
from pathlib import Path
from typing import Any

from assay.errors import RunFailed, UserError
from assay.run.process import this_process
from assay.sweep.job import SweepFolder
from assay.sweep.plan import Plan
from assay.sweep.pool import Engine, Handle, local_engine
from assay.sweep.worker import Task, in_process, run_job
from assay.training.atomic import write_durably

QUEUE_SECONDS = 5.0  # between two looks at SLURM's queue
# the keys of submitit itself; all others are those of SLURM, and carry its name before them
SHARED = (
    *("timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb", "nodes", "name"),
    "stderr_to_stdout",
)


def engine_of(plan: Plan, sweep: SweepFolder) -> Engine:
    """The engine that `hydra/launcher` names; without it this machine. Raises `UserError` for any other."""
    launcher, here = plan.launcher, local_engine(plan)
    name = str(launcher.get("_target_", "")).rpartition(".")[2]
    if name in ("", "BasicLauncher"):
        return here
    if name == "LocalLauncher":
        submitit = Submitit("local", launcher, sweep.path)
        return replace(here, name="by submitit on this machine", gpus=(), start=submitit.start_here)
    if name == "SlurmLauncher":
        if plan.config.prune != "none":
            raise UserError(
                f"sweep.prune={plan.config.prune}: a job in SLURM's queue is not stopped\n  leave it out"
            )
        slurm = Slurm(Submitit("slurm", launcher, sweep.path), sweep.path / "queue.json")
        return Engine("by SLURM", _at_once(plan), launcher.get("cpus_per_task"), slurm.start, elsewhere=True)
    if name == "RayLauncher":
        node: Any = launcher.get("ray") or {}
        cores = max(1, int((node.get("remote") or {}).get("num_cpus") or 1))  # torch takes whole ones
        return Engine("by Ray", _at_once(plan), cores, Ray(node).start, elsewhere=True)
    raise UserError(
        f"hydra/launcher: {name} is none that Assay knows\n"
        "  submitit_local, submitit_slurm, ray; without it jobs run on this machine, sweep.workers at once"
    )


def _at_once(plan: Plan) -> int:
    """How many jobs a cluster is given: all of a grid; `sweep.workers` of a search, which draws them."""
    if plan.space is None:
        return plan.count
    if plan.config.workers == "auto":
        raise UserError("sweep.workers=auto: how many jobs at once, for a search?\n  as in sweep.workers=8")
    return plan.config.workers


@dataclass(frozen=True)
class Submission:
    """The call that submitit makes; under SLURM it is queued again when its time is over."""

    task: Task
    sweep: Mapping[str, Any] | None  # the process that it ends with; None where it outlives the sweep

    def __call__(self) -> None:
        in_process(self.task.folder / "log.txt", self.sweep, run_job, self.task)

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


@dataclass(frozen=True)
class Submitit:
    """submitit's executor for `local` or `slurm`, with the values of the launcher's node."""

    cluster: str
    launcher: Mapping[str, Any]
    folder: Path  # of the sweep

    def submit(self, tasks: Sequence[Task], sweep: Mapping[str, Any] | None) -> list[Any]:
        """submitit's jobs, under SLURM as one array. Raises `RunFailed` where they cannot be submitted."""
        import submitit
        from submitit.core.utils import FailedJobError

        # the plugin's own defaults name nodes that are not there when no Hydra application runs
        values = {k: v for k, v in self.launcher.items() if v is not None and "${" not in str(v)}
        folder = values.pop("submitit_folder", self.folder / ".submitit" / "%j")
        timeouts = {"slurm_max_num_timeout": values.pop("max_num_timeout", 0)}
        values = {"name": "assay", **values}
        values.pop("_target_", None)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a terminal's is for the sweep alone
        try:
            executor = submitit.AutoExecutor(folder, cluster=self.cluster, **timeouts)
            executor.update_parameters(
                **{key if key in SHARED else f"slurm_{key}": value for key, value in values.items()}
            )
            with executor.batch():
                return [executor.submit(Submission(task, sweep)) for task in tasks]
        except (RuntimeError, FailedJobError, OSError) as error:
            raise RunFailed(f"hydra/launcher=submitit_{self.cluster}: {error}") from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    def start_here(self, tasks: Sequence[Task]) -> list[Handle]:
        return [_local_handle(job) for job in self.submit(tasks, this_process())] if tasks else []


def _local_handle(job: Any) -> Handle:
    """submitit's controller hands on SIGTERM and would kill at a SIGINT; its process has no public name."""

    def ended() -> str | None:
        is_told = job.paths.result_pickle.exists()
        return None if not job.done() else "" if is_told else "it left no result"

    controller = job._process
    return Handle(ended, lambda _: controller.send_signal(signal.SIGTERM), controller.kill)


@dataclass
class Slurm:
    """Jobs in SLURM's queue outlive the command; typed again it finds them there, and queues none twice."""

    submitit: Submitit
    file: Path  # SLURM's ids of the jobs, by the names of their folders
    queued: set[str] = field(default_factory=set[str])
    looked: float = -QUEUE_SECONDS
    left: bool = False

    def start(self, tasks: Sequence[Task]) -> list[Handle]:
        ids: dict[str, str] = json.loads(self.file.read_bytes()) if self.file.exists() else {}
        fresh = [task for task in tasks if ids.get(task.folder.name) not in self.queue()]
        if fresh:
            submitted = self.submitit.submit(fresh, None)
            ids |= {task.folder.name: job.job_id for task, job in zip(fresh, submitted, strict=True)}
            write_durably(self.file, json.dumps(ids).encode())
            self.queued |= {job.job_id for job in submitted}
        return [self._handle(ids[task.folder.name]) for task in tasks]

    def _handle(self, id: str) -> Handle:
        def ended() -> str | None:
            return "" if self.left else None if id in self.queue() else f"SLURM's job {id} is over"

        return Handle(ended, self.leave, self.leave)

    def leave(self, _: int = 0) -> None:
        self.left = True

    def queue(self) -> set[str]:
        """The ids of this user's jobs in the queue; those of the last look while SLURM does not answer."""
        if time.monotonic() - self.looked > QUEUE_SECONDS:
            command = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getuser()}"]
            try:
                answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
            except OSError as error:
                raise RunFailed(f"hydra/launcher=submitit_slurm: {error}") from error
            self.queued = set(answer.stdout.split()) if answer.returncode == 0 else self.queued
            self.looked = time.monotonic()
        return self.queued


@dataclass(frozen=True)
class Ray:
    """One Ray task a job, in a process of its own; Ray's scheduler says when it starts."""

    node: Mapping[str, Any]  # `init` and `remote`, the arguments of Ray's functions of these names

    def start(self, tasks: Sequence[Task]) -> list[Handle]:
        ray: Any = import_module("ray")  # of an extra, and seconds
        if tasks and not ray.is_initialized():
            ray.init(**(self.node.get("init") or {}))
        settings: dict[str, Any] = {"max_calls": 1, "max_retries": 0, **(self.node.get("remote") or {})}
        call = ray.remote(**settings)(in_process)
        return [_ray_handle(ray, call.remote(task.folder / "log.txt", None, run_job, task)) for task in tasks]


def _ray_handle(ray: Any, reference: Any) -> Handle:
    def ended() -> str | None:
        if not ray.wait([reference], timeout=0)[0]:
            return None
        try:
            ray.get(reference)
        except ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[0]
        return ""

    return Handle(ended, lambda _: ray.cancel(reference), lambda: ray.cancel(reference, force=True))
