"""Trials: which are drawn, told, pruned and run, and that none is lost or run twice."""

import json
import random
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from assay.config.messages import InvalidConfig, Problem
from assay.errors import UserError
from assay.sweep.job import Job, SweepFolder
from assay.sweep.plan import Plan, job_of
from assay.sweep.search import NewRows
from assay.sweep.study import JOURNAL
from tests.sweep.searches import BY, LR, TRIALS, WORDS, accuracy, run, running, search, study, told, write
from tests.sweep.sweeps import TINY, results, sweep, table


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes", "grid"])
def test_one_seed_draws_the_same_trials_however_often_it_is_cut_off(tmp_path: Path, sampler: str) -> None:
    axes = (LR, "optimizer.weight_decay=interval(0.0,0.1)", "model.width=int(interval(16,64))")
    if sampler == "grid":
        axes = ("optimizer.lr=0.1,0.01,0.001,0.03", "model.width=range(16,64,16)")
    words = (*axes, f"sweep.search={sampler}", f"sweep.trials={TRIALS}")
    run(search(tmp_path / "whole", *words))
    for count in (1, 4, None):
        run(search(tmp_path / "cut", *words), count)
    assert told(tmp_path / "cut") == told(tmp_path / "whole")
    assert len(told(tmp_path / "whole")) == TRIALS
    run(search(tmp_path / "other", *words, "seed=7"))
    assert told(tmp_path / "other") != told(tmp_path / "whole")


@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "grid"])
def test_a_journal_cut_anywhere_is_gone_on_with(tmp_path: Path, sampler: str) -> None:
    """As a killed parent, a power cut or a full disk leaves it: after any byte."""
    axes = ("optimizer.lr=0.1,0.01,0.03", "model.width=range(16,64,8)")
    if sampler != "grid":
        axes = (LR, "model.width=int(interval(16,64))")
    words = (*axes, f"sweep.search={sampler}", f"sweep.trials={TRIALS}")
    run(search(tmp_path / "whole", *words))
    journal = (tmp_path / "whole" / JOURNAL).read_bytes()
    places = sorted(random.Random(0).sample(range(len(journal)), 12))
    for at in places:
        folder = tmp_path / f"cut{at}"
        folder.mkdir()
        (folder / "sweep.json").write_bytes((tmp_path / "whole" / "sweep.json").read_bytes())
        (folder / JOURNAL).write_bytes(journal[:at])
        run(search(folder, *words))
        assert told(folder) == told(tmp_path / "whole")
        jobs = {id for trial in study(folder).trials for id in trial.user_attrs["jobs"]}
        assert jobs <= {path.name.rpartition("-")[2] for path in (folder / "jobs").iterdir()}


def test_it_goes_on_to_a_larger_number_of_trials(tmp_path: Path) -> None:
    words = (*WORDS, "sweep.search=tpe")
    run(search(tmp_path / "a", *words, "sweep.trials=4"))
    assert search(tmp_path / "a", *words, "sweep.trials=4").is_over
    grown = search(tmp_path / "a", *words, "sweep.trials=6")
    assert not grown.is_over
    run(grown)
    run(search(tmp_path / "b", *words, "sweep.trials=6"))
    assert told(tmp_path / "a") == told(tmp_path / "b") and len(told(tmp_path / "a")) == 6


def test_a_config_that_was_drawn_before_is_told_and_not_run_again(tmp_path: Path) -> None:
    words = ("model.width=16,32", "optimizer.lr=0.1,0.01", "sweep.search=random", "sweep.trials=30")
    one = search(tmp_path, *words)
    run(one)
    assert len(one.jobs) == len(list((tmp_path / "jobs").iterdir())) == 4
    trials = study(tmp_path).trials
    assert 4 < len(trials) < 30  # the fourth config ended it
    by_params: dict[str, set[float | None]] = {}
    for trial in trials:
        by_params.setdefault(str(trial.params), set()).add(trial.value)
    assert all(len(values) == 1 for values in by_params.values()) and None not in by_params
    assert one.outcome == [f"all 4 configs were tried, after {len(trials)} of 30 trials"]
    assert one.is_over


def test_a_grid_by_search_runs_each_config_once(tmp_path: Path) -> None:
    words = ("model.width=16,32", "optimizer.lr=0.1,0.01,0.001", "sweep.search=grid", "sweep.trials=99")
    run(search(tmp_path, *words))
    assert len({str(trial.params) for trial in study(tmp_path).trials}) == len(study(tmp_path).trials) == 6


def test_a_failed_trial_is_told_as_failed_and_not_run_again(tmp_path: Path) -> None:
    words = (*WORDS, "sweep.search=tpe", "sweep.trials=20")
    run(
        search(tmp_path, *words),
        status=lambda job: "failed" if job.config.model["width"] == 64 else "completed",
    )
    states = [trial.state.name for trial in study(tmp_path).trials]
    assert len(states) == 20 and 0 < states.count("FAIL") < 20
    assert states.count("COMPLETE") + states.count("FAIL") == 20
    assert search(tmp_path, *words).is_over


def test_a_trial_of_several_seeds_is_their_mean(tmp_path: Path) -> None:
    one = search(tmp_path, *WORDS, "seed=5", "sweep.search=tpe", "sweep.trials=3", "sweep.seeds=3")
    run(one)
    assert len(one.jobs) == 9 and len({job.group for job in one.jobs}) == 3
    assert {job.config.seed for job in one.jobs} == {5, 6, 7}
    by_id = {job.id: job for job in one.jobs}
    for trial in study(tmp_path).trials:
        values = [accuracy(by_id[id]) for id in trial.user_attrs["jobs"]]
        assert trial.value == pytest.approx(sum(values) / 3)


def test_with_jobs_at_once_a_trial_is_told_when_it_ends_whatever_the_order(tmp_path: Path) -> None:
    one = search(tmp_path, *WORDS, "sweep.search=tpe", "sweep.trials=4")
    with running(one) as more:
        first, second = *more(), *more()
        write(one.folder, second, "completed", 0.5)
        one.look(one.folder.entries(one.jobs))
        assert [trial.state.name for trial in study(tmp_path).trials] == ["RUNNING", "COMPLETE"]
        more()
        write(one.folder, first, "completed", 0.4)
    assert [trial.value for trial in study(tmp_path).trials] == [0.4, 0.5, None]


def test_values_that_are_right_alone_and_wrong_together_cost_their_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_one(plan: Plan, overrides: Sequence[str]) -> Job:
        if overrides == ("optimizer=adam", "optimizer.lr=0.2"):
            raise InvalidConfig([Problem("optimizer.lr", "optimizer.lr=0.2: not for adam")])
        return job_of(plan, overrides)

    monkeypatch.setattr("assay.sweep.search.job_of", refuse_one)
    words = ("optimizer=sgd,adam", "optimizer.lr=0.1,0.2", "sweep.search=grid", "sweep.trials=9")
    one = search(tmp_path, *words)
    with running(one) as more:
        while jobs := more():
            write(one.folder, jobs[0], "completed", 0.5)
    states = [trial.state.name for trial in study(tmp_path).trials]
    assert sorted(states) == ["COMPLETE"] * 3 + ["FAIL"]
    assert len(one.jobs) == 3
    assert one.outcome[0].endswith("could not be run: optimizer.lr=0.2: not for adam")
    assert search(tmp_path, *words).is_over


def test_only_one_command_at_a_time_has_the_journal(tmp_path: Path) -> None:
    words = (*WORDS, "sweep.search=tpe", "sweep.trials=3")
    one, other = search(tmp_path, *words), search(tmp_path, *words)
    with one.begun(BY), pytest.raises(UserError, match="run by another command"), other.begun(BY):
        pass


# ---- pruning


def rows(folder: SweepFolder, job: Job, *values: float) -> None:
    lines = [f"{epoch},{epoch * 10},{value!r}" for epoch, value in enumerate(values, start=1)]
    (folder.path / "jobs" / job.name / "metrics.csv").write_text(
        "\n".join(["epoch,step,val/accuracy", *lines, ""])
    )


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_a_trial_that_falls_behind_is_to_stop_and_that_is_kept(tmp_path: Path, pruner: str) -> None:
    words = (
        *WORDS,
        "sweep.search=random",
        f"sweep.prune={pruner}",
        "trainer.max_epochs=9",
        "sweep.trials=12",
    )
    one = search(tmp_path, *words)
    with running(one) as more:
        for _ in range(11):
            (job,) = more()
            write(one.folder, job, "running", 0.0)
            rows(one.folder, job, *[0.9] * 9)
            assert one.look(one.folder.entries(one.jobs)) == {}
            write(one.folder, job, "completed", 0.9)
        (last,) = more()
        write(one.folder, last, "running", 0.0)
        rows(one.folder, last, *[0.1] * 8)
        stopped = one.look(one.folder.entries(one.jobs))
    assert list(stopped) == [last.id]
    assert re.fullmatch(r"pruned after epoch [1-8]: val/accuracy was 0\.1000", stopped[last.id])
    write(one.folder, last, "interrupted", 0.1)
    again = search(tmp_path, *words)
    with again.begun(BY):
        assert again.look(again.folder.entries(again.jobs)) == stopped
        write(one.folder, last, "pruned", 0.1)
        assert again.look(again.folder.entries(again.jobs)) == {}
    trial = study(tmp_path).trials[-1]
    assert trial.state.name == "PRUNED" and trial.value == 0.1


def test_a_pruned_job_stops_at_once_keeps_its_last_value_and_is_not_run_again(tmp_path: Path) -> None:
    """The trials before it are made up: none of theirs was worse than 100 % after an epoch."""
    space = (LR, "sweep.search=random", "sweep.trials=6", "sweep.prune=median", "sweep.name=p")
    words = (*space, "trainer.max_epochs=3000")
    folder = tmp_path / "sweeps" / "p"
    before = search(folder, *TINY, f"output_dir={tmp_path}", *words)
    with running(before) as more:
        for _ in range(5):
            (job,) = more()
            write(before.folder, job, "running", 0.0)
            rows(before.folder, job, 1.0, 1.0)
            before.look(before.folder.entries(before.jobs))
            write(before.folder, job, "completed", 1.0)
    done = sweep(tmp_path, *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "interrupted" not in done.stdout
    last = table(folder)[-1]
    assert last["status"] == "pruned" and last["rank"] == "" and last["val/accuracy"] == ""
    assert 0 < float(last["last val/accuracy"]) < 1 and 0 < int(last["epochs"]) < 3000
    assert re.match(r"pruned after epoch \d+: val/accuracy was 0\.", last["reason"])
    assert [trial.state.name for trial in study(folder).trials] == ["COMPLETE"] * 5 + ["PRUNED"]
    kept = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert sweep(tmp_path, *words).returncode == 0
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == kept


def test_a_job_is_not_stopped_after_its_last_epoch(tmp_path: Path) -> None:
    words = (*WORDS, "sweep.search=random", "sweep.trials=9", "sweep.prune=median", "trainer.max_epochs=1")
    one = search(tmp_path, *words)
    with running(one) as more:
        for at in range(9):
            (job,) = more()
            write(one.folder, job, "running", 0.0)
            rows(one.folder, job, 1 - at / 10)
            assert one.look(one.folder.entries(one.jobs)) == {}
            write(one.folder, job, "completed", 1 - at / 10)


def test_new_rows_are_read_as_they_come_and_again_where_the_file_is_written_anew(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    new = NewRows(file, "val/loss")
    assert new.read() == []
    file.write_text("epoch,train/loss,val/loss\n0,0.5,\n1,0.4,0.3\n2,0.3,0")
    assert new.read() == [(1, 0.3)]
    file.write_text("epoch,train/loss,val/loss\n0,0.5,\n1,0.4,0.3\n2,0.3,0.25\n")
    assert new.read() == [(2, 0.25)]
    assert new.read() == []
    file.write_text("epoch,train/loss,val/loss\n0,0.5,\n1,0.4,0.3\n")
    assert new.read() == [(1, 0.3)]
    file.write_text("epoch,train/loss,val/loss,norm\n0,0.5,,\n1,0.4,0.3,\n2,0.4,0.2,1.0\n")
    assert new.read() == [(1, 0.3), (2, 0.2)]


# ---- real jobs


def test_failed_trials_are_told_and_listed_and_the_others_complete(tmp_path: Path) -> None:
    words = ("optimizer.lr=0.01,0.001,1e30", "sweep.search=grid", "sweep.trials=5", "sweep.name=one")
    failed = sweep(tmp_path, *words, "trainer.max_epochs=1", "sweep.workers=2")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    folder = tmp_path / "sweeps" / "one"
    assert [row["status"] for row in table(folder)] == ["completed", "completed", "diverged"]
    assert "1 did not complete" in failed.stdout and "all 3 configs were tried" in failed.stdout
    assert sorted(trial.state.name for trial in study(folder).trials) == ["COMPLETE", "COMPLETE", "FAIL"]
    before = results(folder)
    again = sweep(tmp_path, *words, "trainer.max_epochs=1", "sweep.workers=2")
    assert again.returncode == 1 and results(folder) == before


def test_one_worker_and_one_seed_give_the_same_trials_and_values(tmp_path: Path) -> None:
    words = ("sweep=tune", "sweep.trials=3", "trainer.max_epochs=1")
    done = [sweep(tmp_path, *words, f"sweep.name={name}") for name in "ab"]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert told(tmp_path / "sweeps" / "a") == told(tmp_path / "sweeps" / "b")
    assert len(told(tmp_path / "sweeps" / "a")) == 3
    page = (tmp_path / "sweeps" / "a" / "report.html").read_text()
    assert "best so far" in page and page.count("<svg") == 4
    listed = json.loads((tmp_path / "sweeps" / "a" / "sweep.json").read_text())["jobs"]
    ids = [id for trial in study(tmp_path / "sweeps" / "a").trials for id in trial.user_attrs["jobs"]]
    assert [job["id"] for job in listed] == ids
    values = [results(tmp_path / "sweeps" / "a")[id]["metrics"]["val/accuracy"] for id in ids]
    assert [trial.value for trial in study(tmp_path / "sweeps" / "a").trials] == values


# ---- what is shown, and whom the journal trusts
