"""How a machine is shared among the jobs of a sweep."""

from dataclasses import replace
from typing import Any

import pytest

from assay.sweep import pool
from assay.sweep.plan import Plan, plan


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "usable_cores", lambda: 8)
    monkeypatch.setattr(pool, "visible_gpus", tuple)


def seeds(count: int, *overrides: str) -> Plan:
    return plan((f"seed=range(0,{count})", *overrides))


@pytest.mark.parametrize(
    ("workers", "count", "at_once", "threads"),
    [("1", 16, 1, None), ("2", 16, 2, 4), ("auto", 16, 8, 1), ("auto", 2, 2, 4), ("3", 16, 3, 2)],
)
def test_the_cores_are_shared_among_the_jobs_at_once(
    eight_cores: None, workers: str, count: int, at_once: int, threads: int | None
) -> None:
    engine = pool.local_engine(seeds(count, f"sweep.workers={workers}"))
    assert (engine.at_once, engine.threads, engine.gpus) == (at_once, threads, ())


def test_with_gpus_auto_is_one_job_a_gpu_or_as_many_as_may_share_it(
    eight_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "visible_gpus", lambda: ("GPU-a", "GPU-b"))
    assert pool.local_engine(seeds(16, "sweep.workers=auto")).at_once == 2
    shared = pool.local_engine(seeds(16, "sweep.workers=auto", "sweep.jobs_per_gpu=3"))
    assert (shared.at_once, shared.gpus) == (6, ("GPU-a", "GPU-b"))
    on_cpu = pool.local_engine(seeds(16, "sweep.workers=auto", "device=cpu"))
    assert (on_cpu.at_once, on_cpu.gpus) == (8, ())


def test_a_job_that_wants_several_gpus_is_given_no_single_one(
    eight_cores: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "visible_gpus", lambda: ("GPU-a", "GPU-b"))
    wide: Any = [
        replace(job, config=replace(job.config, device=replace(job.config.device, devices=2)))
        for job in seeds(2).jobs
    ]
    assert pool.local_engine(replace(seeds(2), jobs=wide)).gpus == ()
