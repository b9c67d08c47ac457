"""A search whose process is killed again and again, and typed again each time."""

import signal
from pathlib import Path

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tests.processes import wait_for
from tests.reliability.test_sweep_killed import all_gone, below, completed
from tests.sweep.sweeps import folders, results, start, sweep, table

SPACE = ("optimizer.lr=interval(1e-4,1e-1)", "model.width=int(interval(8,64))", "trainer.max_epochs=1")


@pytest.mark.parametrize(
    ("trials", "kills", "workers"),
    [
        (6, (2, 4), 2),
        pytest.param(20, (3, 7, 15), 2, marks=pytest.mark.full),
        pytest.param(6, (1, 3, 5), 1, marks=pytest.mark.full),
    ],
)
def test_no_trial_is_lost_and_none_is_run_twice(
    tmp_path: Path, trials: int, kills: tuple[int, ...], workers: int
) -> None:
    words = (*SPACE, "sweep.search=tpe", f"sweep.trials={trials}", f"sweep.workers={workers}", "sweep.name=s")
    folder, done = tmp_path / "sweeps" / "s", dict[str, object]()
    for after in kills:
        running = start(tmp_path, *words)
        wait_for(lambda after=after: completed(folder) >= after)
        left = below(running)
        running.send_signal(signal.SIGKILL)
        running.wait()
        wait_for(lambda left=left: all_gone(left), seconds=10)
        assert {id: results(folder)[id]["process"] for id in done} == done  # none was started again
        done = {id: one["process"] for id, one in results(folder).items() if one["status"] == "completed"}
    last = sweep(tmp_path, *words)
    assert last.returncode == 0, last.stdout + last.stderr
    assert {id: results(folder)[id]["process"] for id in done} == done
    storage = JournalStorage(JournalFileBackend(str(folder / "study.log")))
    study = optuna.load_study(study_name=None, storage=storage)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * trials
    ids = [id for trial in study.trials for id in trial.user_attrs["jobs"]]
    assert len(set(ids)) == trials and set(ids) == set(folders(folder))
    values = {id: one["metrics"]["val/accuracy"] for id, one in results(folder).items()}
    assert [trial.value for trial in study.trials] == [values[id] for id in ids]
    assert len(table(folder)) == trials
    if workers == 1:
        whole = sweep(tmp_path, *words, "sweep.name=undisturbed")
        assert whole.returncode == 0
        assert table(tmp_path / "sweeps" / "undisturbed") == table(folder)
