"""Words that set values are applied to a kept config: the same as Hydra composes, and the same errors."""

import pytest
from hydra import compose as hydra_compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from assay.config.compose import compose_whole, composer


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
        ["experiment=fast", "optimizer.lr=0.5", "optimizer=adam"],
        ["+optimizer.amsgrad=true", "~optimizer.betas"],
        ["~data.download", "++seed=5", "++data.colour=red"],
        ["sweep=lr_search", "sweep.params.seed=[1]", "sweep.name=x"],
        ["logger=csv", "stages=[fit]", "resume=null"],
        ["callbacks=early_stopping", "callbacks.early_stopping.patience=9"],
        ["model={_target_: x}", "+extra=1"],
        ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "device.threads=1"],
    ],
)
def test_the_config_is_the_one_that_hydra_composes(words: list[str]) -> None:
    with composer():
        try:
            wanted = without_hydra(hydra_compose("train", words, return_hydra_config=True))
        except HydraException as error:
            wanted = str(error)
        for _ in range(2):  # what is kept must not have been changed by the first
            try:
                found = without_hydra(compose_whole("train", words))
            except HydraException as error:
                found = str(error)
            assert found == wanted


@pytest.mark.parametrize(
    "word", ["seed=0,1", "optimizer.lrr=1", "sead=1", "seed", "seed=choice(", "model.x.y=1"]
)
def test_a_word_that_does_not_fit_raises_as_hydra_does(word: str) -> None:
    with composer():
        with pytest.raises(HydraException) as wanted:
            hydra_compose("train", [word], return_hydra_config=True)
        with pytest.raises(HydraException) as found:
            compose_whole("train", [word])
    assert (type(found.value), str(found.value)) == (type(wanted.value), str(wanted.value))
