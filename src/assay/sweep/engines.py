"""What a launcher's config says of how many jobs run at once, and what each may use of its machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from assay.run.place import usable_cores


@dataclass(frozen=True)
class Engine:
    """Where the jobs of a sweep run."""

    name: str  # basic, joblib, submitit_local, submitit_slurm, ray
    workers: int  # jobs at once on one machine
    threads: int | None  # CPU threads of a job at most; None where a job has its machine for itself
    is_local: bool = (
        True  # whether the jobs run on this machine, and so share its GPUs and end with the sweep
    )


def engine_of(launcher: Mapping[str, Any], jobs: int, cores: int | None = None) -> Engine:
    """The engine of a `hydra.launcher` node for a sweep of so many jobs in all.

    The share of a job follows from the command alone, not from what is left to do: a sweep that is finished
    later gives each of its jobs the threads that it would have had at once.
    """
    cores = cores or usable_cores()
    name = str(launcher["_target_"]).rpartition(".")[2]
    if name == "JoblibLauncher":
        wanted = int(launcher["n_jobs"])
        return _shared("joblib", max(1, min(wanted if wanted > 0 else cores + 1 + wanted, jobs)), cores)
    if name == "LocalLauncher":  # submitit starts all of them at once
        return _shared("submitit_local", max(1, jobs), cores)
    if name == "SlurmLauncher":
        return Engine("submitit_slurm", 1, launcher.get("cpus_per_task"), is_local=False)
    if name == "RayLauncher":
        remote = (launcher.get("ray") or {}).get("remote") or {}
        each = max(1, int(remote.get("num_cpus") or 1))  # Ray takes a part of a core, torch a whole one
        return Engine("ray", max(1, cores // each), each)
    return Engine("basic", 1, None)


def _shared(name: str, workers: int, cores: int) -> Engine:
    return Engine(name, workers, None if workers == 1 else max(1, cores // workers))
