import pytest

from assay.config.load import load
from assay.config.schema import TrainerConfig
from assay.config.validate import validate
from assay.errors import UserError


def test_the_shipped_config_is_typed() -> None:
    config = load("train", []).config
    assert config.stages == ("fit", "test")
    assert config.trainer.max_epochs == 5


def test_a_part_is_named_by_its_key() -> None:
    problems = validate(TrainerConfig, {"max_epochs": 0}, "trainer")[1]
    assert problems[0].what.startswith("trainer.max_epochs=0 is not allowed: a whole number of at least 1")
    assert "trainer.max_steps is missing" in problems[1].what


def test_all_problems_come_at_once_and_once_a_key() -> None:
    words = ["device.threads=0", "trainer.limit_val_batches=-1", "stages=[fit,tset]", "+foo=1"]
    with pytest.raises(UserError) as caught:
        load("train", words)
    text = str(caught.value)
    assert text.startswith("4 problems:")
    assert "stages.1=tset" in text and "did you mean test?" in text
    assert text.count("device.threads=0") == 1


def test_a_missing_key_is_said() -> None:
    with pytest.raises(
        UserError, match=r"trainer\.max_epochs is missing: a whole number of at least 1 is needed"
    ):
        load("train", ["~trainer.max_epochs"])


def test_numbers_are_not_text_and_truth_is_no_number() -> None:
    for word in ('seed="5"', "seed=true", "seed=1.5", "trainer.detect_anomaly=1"):
        with pytest.raises(UserError):
            load("train", [word])


def test_interpolations_that_fail_are_named() -> None:
    words = ["name=${nmae}", "output_dir=${output_dir}", "seed=???"]
    with pytest.raises(UserError) as caught:
        load("train", words)
    text = str(caught.value)
    assert "name=${nmae} cannot be resolved" in text
    assert "leads back to itself" in text
    assert "seed needs a value" in text
