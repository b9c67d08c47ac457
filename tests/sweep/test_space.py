"""What a search draws from: words in Hydra's own grammar, and what is refused before the first trial."""

from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from assay import CONF
from assay.errors import UserError
from assay.sweep.plan import plan
from tests.sweep.searches import LR, WORDS, running, search, study
from tests.sweep.sweeps import sweep


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("optimizer.lr=interval(0.01,0.1)", FloatDistribution(0.01, 0.1)),
        ("optimizer.lr=interval(1e-4,1e-1)", FloatDistribution(1e-4, 1e-1, log=True)),
        ("optimizer.lr=tag(linear,interval(1e-4,1e-1))", FloatDistribution(1e-4, 1e-1)),
        ("optimizer.lr=tag(log,interval(0.01,0.1))", FloatDistribution(0.01, 0.1, log=True)),
        ("model.width=int(interval(16,64))", IntDistribution(16, 64)),
        ("model.width=tag(log,int(interval(16,64)))", IntDistribution(16, 64, log=True)),
        ("model.width=range(16,64,16)", IntDistribution(16, 48, step=16)),
        ("optimizer.lr=range(0.1,0.35,0.1)", FloatDistribution(0.1, 0.3, step=0.1)),
        ("model.width=64,16", CategoricalDistribution(["64", "16"])),
        ("optimizer.lr=choice(0.1,0.01)", CategoricalDistribution(["0.1", "0.01"])),
        ("optimizer=sgd,adam", CategoricalDistribution(["sgd", "adam"])),
        ("model=glob(*)", CategoricalDistribution(["autoencoder", "cnn", "mlp"])),
        ("+callbacks.x.patience=1,2", CategoricalDistribution(["1", "2"])),
    ],
)
def test_words_are_read_by_hydras_own_grammar(tmp_path: Path, word: str, expected: object) -> None:
    target = (
        "+callbacks.x._target_=pytorch_lightning.callbacks.EarlyStopping",
        "+callbacks.x.monitor=val/loss",
    )
    words = (word, *(target if "callbacks" in word else ()))
    one = search(tmp_path, *words, "sweep.search=random", "sweep.trials=1")
    with running(one) as more:
        (job,) = more()
    (trial,) = study(tmp_path).trials
    assert list(trial.distributions.values()) == [expected]
    key, value = next(iter(trial.params.items()))
    assert f"{word.partition('=')[0]}={value}" in job.overrides and key in word


def test_a_logarithmic_scale_that_nobody_asked_for_is_said(tmp_path: Path) -> None:
    words = ("sweep.search=random", "sweep.trials=1")
    assert "optimizer.lr is drawn on a logarithmic scale" in search(tmp_path, LR, *words).notes[0]
    assert not search(tmp_path, "optimizer.lr=tag(log,interval(1e-4,1e-1))", *words).notes


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((LR,), "add sweep.search=tpe sweep.trials=30"),
        (("optimizer.lr=interval(1e-1,1e-4)",), "the first must be below the second"),
        (("optimizer.lr=interval(0.1,0.1)",), "the first must be below the second"),
        (("optimizer.lr=tag(log,interval(0,0.1))",), "a logarithmic scale needs bounds above 0"),
        (("optimizer.lr=tag(logg,interval(0.1,0.2))",), "did you mean log?"),
        ((LR, "sweep.search=tpee"), "did you mean sweep.search=tpe?"),
        ((LR, "sweep.trials=0"), "sweep.trials=0 is not allowed: a whole number of at least 1"),
        ((LR, "sweep.trials=null"), "add sweep.trials=30"),
        ((LR, "sweep.metric=val/acc"), "did you mean sweep.metric=val/accuracy?"),
        ((LR, "sweep.metric=test/loss", "stages=[fit]"), "no job has the stage that measures it"),
        ((LR, "sweep.prune=median", "sweep.seeds=2"), "a trial of 2 seeds is judged by their mean"),
        ((LR, "sweep.prune=median", "sweep.metric=test/loss"), "not measured while a job trains"),
        ((LR, "sweep.prune=medin"), "did you mean sweep.prune=median?"),
        ((LR, "sweep.mode=zip"), "sweep.mode=zip is for a grid"),
        ((LR, "sweep.search=grid"), "needs values one by one"),
        ((LR, "seed=0,1"), "sweep.seeds=3"),
        (("optimizer.lr=0.1",), "no key is searched"),
        (("optimizer.lr=interval(-1,0.9)",), "Invalid learning rate: -1.0"),
        (("optimizer.lrr=interval(0,0.9)",), "there is no key lrr in optimizer"),
        (("model.width=interval(16,64)",), "for whole numbers: model.width=int(interval(16,64))"),
        (
            ("optimizer=sgd,adam", "optimizer.momentum=interval(0,0.9)"),
            "(optimizer=adam optimizer.momentum=0.0): a search draws each key with each option",
        ),
        (
            (LR, "hydra/launcher=submitit_slurm", "sweep.prune=median"),
            "a job in SLURM's queue is not stopped",
        ),
        ((LR, "hydra/launcher=submitit_slurm", "sweep.workers=auto"), "how many jobs at once"),
        (("optimizer.lr=0.1,0.2", "sweep.search=null", "sweep.trials=4"), "only a search has trials"),
        (("optimizer.lr=0.1,0.2", "sweep.search=null", "sweep.trials=null", "sweep.seeds=2"), "seed=0,1,2"),
    ],
)
def test_bad_input_is_refused_before_the_first_trial(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    typed = {word.partition("=")[0] for word in words}
    defaults = ("sweep.search=tpe", "sweep.trials=3") if words != (LR,) else ()
    more = [one for one in defaults if one.partition("=")[0] not in typed]
    refused = sweep(tmp_path, *words, *more)
    assert refused.returncode == 2, refused.stderr
    assert said in refused.stderr and "Traceback" not in refused.stderr
    assert not list(tmp_path.iterdir())


def test_without_optuna_it_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assay.sweep.space.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[search\]'"):
        search(tmp_path, LR, "sweep.search=tpe", "sweep.trials=3")


def test_a_grid_needs_no_optuna(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "optuna.py").write_text("raise ImportError('there is none')")
    env = {"PYTHONPATH": str(tmp_path / "without"), "PATH": "/usr/bin:/bin"}
    done = sweep(tmp_path, "seed=0", "trainer.max_epochs=1", "sweep.name=one", env=env)
    assert done.returncode == 0, done.stderr


def test_a_search_is_named_by_its_words_alone() -> None:
    def name(*words: str) -> str:
        return plan((*WORDS, "sweep.search=tpe", "sweep.trials=5", *words)).name

    assert name().startswith("optimizer.lr=interval_1e-4_1e-1_model.width=16,32,64-")
    same = ("sweep.trials=50", "sweep.workers=2", "output_dir=/elsewhere", "sweep.on_failure=stop")
    assert {name(word) for word in same} == {name()}
    others = ("seed=1", "sweep.search=random", "sweep.seeds=2", "trainer.max_epochs=9", "sweep.prune=median")
    assert len({name(), *map(name, others)}) == 1 + len(others)
    assert name("sweep.name=mine") == "mine"


@pytest.mark.parametrize("file", [file.stem for file in sorted((CONF / "sweep").glob("*.yaml"))])
def test_a_sweep_file_that_is_shipped_can_be_planned(file: str) -> None:
    wanted = plan((f"sweep={file}",))
    assert (wanted.space is not None) == ("interval" in (CONF / "sweep" / f"{file}.yaml").read_text())


# ---- drawing
