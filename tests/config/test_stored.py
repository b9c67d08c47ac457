from pathlib import Path

import pytest
from omegaconf import OmegaConf

from assay.config.compose import PROJECT, compose
from assay.config.judged import judged
from assay.config.stored import stored_config
from assay.errors import UserError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    words = ["model=cnn", "seed=4", "data.batch_size=32", "ckpt=elsewhere"]
    OmegaConf.save(compose("train", words), tmp_path / "config.yaml", resolve=True)
    return tmp_path


def test_the_run_gives_its_config_and_the_command_line_wins(run: Path) -> None:
    config = stored_config(run, [f"ckpt={run}", "stages=[test]", "model.dropout=0.1"])
    assert config.model._target_ == "assay.models.cnn.CNN" and config.model.dropout == 0.1
    assert (config.seed, config.data.batch_size, config.stages) == (4, 32, ["test"])
    assert (config.ckpt, config.resume) == (str(run), None)


def test_a_groups_choice_replaces_the_node(run: Path) -> None:
    config = stored_config(run, [f"ckpt={run}", "model=mlp", "optimizer=sgd"])
    assert "dropout" not in config.model and config.optimizer.nesterov


def test_a_word_about_the_runs_own_model_waits_for_it(run: Path) -> None:
    found = judged("train", [f"ckpt={run}", "model.dropout=0.1"], slots=False)
    assert found.deferred == ("model.dropout=0.1",)
    with pytest.raises(UserError, match=r"did you mean model\.dropout=0\.1"):
        stored_config(run, [f"ckpt={run}", "model.dorpout=0.1"])


@pytest.mark.parametrize("word", ["sweep.name=x", "trainer.log_every_n_steps=7", "data.num_workers=1"])
def test_what_changes_no_result_may_differ_on_resume(run: Path, word: str) -> None:
    assert stored_config(run, [f"resume={run}", word]).resume == str(run)


@pytest.mark.parametrize(
    "word", ["trainer.max_epochs=9", "seed=5", "optimizer.lr=1.0", "model.width=8", "device.threads=1"]
)
def test_what_changes_the_result_is_refused_on_resume(run: Path, word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(UserError, match=f"{word}: the run to resume has {key}="):
        stored_config(run, [f"resume={run}", word])


@pytest.mark.parametrize("text", ["a: [", "- a", "a: &x [1]\nb: *x", "", "x: 1", "{" * 1_000_001])
def test_a_config_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError):
        stored_config(tmp_path, [f"ckpt={tmp_path}"])


def test_a_word_that_cannot_be_read_is_refused(run: Path) -> None:
    with pytest.raises(UserError, match="the value cannot be read"):
        stored_config(run, [f"ckpt={run}", "model.dropout=["])


def test_a_secret_that_was_not_kept_is_asked_for(run: Path) -> None:
    config = OmegaConf.load(run / "config.yaml")
    config.logger = {"csv": {"_target_": "pytorch_lightning.loggers.CSVLogger", "prefix": "<redacted>"}}
    OmegaConf.save(config, run / "config.yaml")
    with pytest.raises(UserError, match="prefix was a secret and not kept"):
        stored_config(run, [f"ckpt={run}"])
    assert stored_config(run, [f"ckpt={run}", "logger.csv.prefix=x"]).logger.csv.prefix == "x"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        stored_config(tmp_path, [])


def test_a_run_made_in_the_projects_folder_finds_its_data_from_elsewhere(
    run: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (run / "config.yaml").read_text().replace(str(PROJECT / "data"), "data")
    (run / "config.yaml").write_text(text)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert stored_config(run, [f"ckpt={run}"]).data.root == str(PROJECT / "data")
