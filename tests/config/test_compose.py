"""Words that set values are applied to a kept config: the same as Hydra composes, and the same errors."""

from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from assay.config.compose import compose, composing


def without_hydra(composed: DictConfig) -> str:
    return OmegaConf.to_yaml(
        OmegaConf.masked_copy(composed, [str(key) for key in composed if key != "hydra"])
    )


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["seed=3"],
        ["seed=3", "seed=4"],
        ["trainer.max_epochs=2", "model=cnn", "name=first"],
        ["experiment=fast", "optimizer.lr=0.5", "scheduler=none"],
        ["+optimizer.amsgrad=true", "~optimizer.betas"],
        ["~data.download", "++seed=5", "++data.colour=red"],
        ["sweep=lr_search", "sweep.params.seed=[1]", "sweep.name=x"],
        ["logger=csv", "stages=[fit]", "resume=null"],
        ["callbacks=early_stopping", "callbacks.early_stopping.patience=9"],
        ["model={_target_: x}", "+extra=1"],
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=2", "device.threads=1"],
    ],
)
def test_the_config_is_the_one_that_hydra_composes(words: list[str]) -> None:
    with composing():
        wanted = without_hydra(hydra_compose("train", words, return_hydra_config=True))
        for _ in range(2):  # what is kept must not have been changed by the first
            composed, problems = compose("train", words)
            assert (OmegaConf.to_yaml(composed.config), problems) == (wanted, [])


@pytest.mark.parametrize(
    "word",
    ["seed=0,1", "optimizer.lrr=1", "sead=1", "seed", "seed=choice(", "model.x.y=1", "~data.x", "model=x"],
)
def test_a_word_that_hydra_refuses_is_a_problem_and_leaves_the_others(word: str) -> None:
    with composing():
        with pytest.raises(HydraException):
            hydra_compose("train", [word], return_hydra_config=True)
        composed, (problem,) = compose("train", [word, "name=kept"])
    assert word in problem.text and composed.config.name == "kept"


@pytest.mark.parametrize(
    "text",
    [
        "hydra: {callbacks: {x: '${oc.create:{_target_:joblib.load}}'}}",
        "hydra: {job_logging: {handlers: {x: {class: logging.FileHandler, filename: y, mode: w}}}}",
        "hydra: {launcher: {_target_: os.system}}",
        "hydra: {job: {env_set: {LD_PRELOAD: x.so}}}",
        "hydra: {job: {env_set: {OMP_NUM_THREADS: '${oc.env:HOME}'}}}",
        "hydra: {run: {dir: elsewhere}}",
        "defaults: [{override /hydra/launcher: submitit_slurm}]\nhydra: {launcher: {setup: [touch pwned]}}",
    ],
)
def test_a_file_cannot_steer_hydra(text: str, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "evil.yaml").write_text(f"# @package _global_\n{text}\n")
    with composing():
        problems = compose("train", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=evil"])[1]
    assert len(problems) == 1 and "is refused" in problems[0].text


def test_the_launcher_and_the_environment_are_read_as_plain_values() -> None:
    words = ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"]
    words += ["+hydra.job.env_set.OMP_NUM_THREADS=2"]
    with composing():
        composed, problems = compose("train", words)
    assert problems == [] and composed.launcher["timeout_min"] == 5
    assert composed.environment == {"OMP_NUM_THREADS": "2"}
