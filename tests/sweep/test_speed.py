"""What several workers gain, and what a large sweep costs: needs a quiet machine (pytest -n 0 -m full)."""

import json
import subprocess
import threading
import time
from pathlib import Path

import psutil
import pytest

from assay import PROJECT
from tests.sweep.sweeps import command, results

pytestmark = pytest.mark.full


@pytest.fixture(autouse=True)
def only_if_asked(request: pytest.FixtureRequest) -> None:
    if "full" not in str(request.config.getoption("-m")):
        pytest.skip("measures whole sweeps for minutes: pytest -n 0 -m full")


def seconds(words: list[str], cwd: Path) -> tuple[float, int]:
    """How long a command took, and the most memory of its own process in bytes."""
    began, most = time.perf_counter(), 0
    running = subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL)
    process = psutil.Process(running.pid)

    def watch() -> None:
        nonlocal most
        while running.poll() is None:
            most = max(most, process.memory_info().rss)
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    assert running.wait() == 0
    watcher.join()
    return time.perf_counter() - began, most


@pytest.mark.timeout(900)
def test_two_workers_are_nearly_twice_as_fast_as_one(tmp_path: Path) -> None:
    train = [
        "python",
        str(PROJECT / "train.py"),
        "-m",
        "device=cpu",
        "seed=range(0,16)",
        "trainer.max_epochs=10",
    ]
    ratios: list[float] = []
    for turn in range(3):
        took = [
            seconds(
                [*train, f"output_dir={tmp_path}", f"sweep.workers={n}", f"sweep.name=w{n}t{turn}"], tmp_path
            )[0]
            for n in (1, 2)
        ]
        ratios.append(took[0] / took[1])
        print(f"one worker {took[0]:.1f} s, two {took[1]:.1f} s: {ratios[-1]:.2f} times as fast")
    beside = [
        one["seconds"]["total"] - one["seconds"]["fit"] - one["seconds"]["test"]
        for one in results(tmp_path / "sweeps" / "w1t0").values()
    ]
    print(f"a job beside its fitting and testing: {min(beside):.2f} to {max(beside):.2f} s")
    assert sorted(ratios)[1] >= 1.8


def test_a_thousand_jobs_are_validated_in_little_memory(tmp_path: Path) -> None:
    took, most = seconds(command(tmp_path, "seed=range(0,1000)", "sweep.dry_run=true"), tmp_path)
    print(f"1,000 jobs validated in {took:.1f} s, {most / 1e6:.0f} MB")
    assert most < 150e6


def test_the_parent_of_a_thousand_jobs_stays_small(tmp_path: Path) -> None:
    """All but two are said to be done, by copies of one job's folder."""
    words = command(tmp_path, "seed=range(0,1000)", "sweep.name=many", "trainer.max_epochs=1")
    running = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    folder = tmp_path / "sweeps" / "many"
    while not any(one["status"] == "completed" for one in results(folder).values()):
        time.sleep(0.1)
    running.terminate()
    assert running.wait(timeout=60) == 143
    jobs = json.loads((folder / "sweep.json").read_text())["jobs"]
    done = next(path for path in folder.glob("jobs/*") if "completed" in (path / "result.json").read_text())
    for seed, job in list(enumerate(jobs))[2:]:
        copy = folder / "jobs" / f"seed={seed}-{job['id']}"
        copy.mkdir(exist_ok=True)
        result = json.loads((done / "result.json").read_text()) | {"seed": seed, "config_id": job["id"]}
        (copy / "result.json").write_text(json.dumps(result))
    took, most = seconds(words, tmp_path)
    print(f"the rest of 1,000 jobs in {took:.1f} s, {most / 1e6:.0f} MB")
    assert most < 150e6
