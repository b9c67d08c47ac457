import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from assay import PROJECT
from assay.config.load import check_components, load
from assay.config.saved import as_plain, config_id, group_id, saved_config
from assay.config.schema import TrainConfig
from assay.errors import UserError
from assay.run.earlier import find_earlier


def config(*words: str) -> TrainConfig:
    return load("train", words, find_earlier).config


def save(folder: Path, *words: str, **changes: Any) -> None:
    OmegaConf.save(as_plain(config(*words)) | changes, folder / "config.yaml")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "best.ckpt").touch()
    save(tmp_path, "model=cnn", "seed=4", "data.batch_size=32", "optimizer.lr=0.2", ckpt="elsewhere.ckpt")
    return tmp_path


def test_weights_bring_their_data_and_model_and_nothing_else(run: Path) -> None:
    new = config(f"ckpt={run}", "stages=[test]")
    assert new.model["_target_"] == "assay.models.cnn.CNN" and new.data["batch_size"] == 32
    assert (new.seed, new.optimizer["lr"], new.stages) == (0, 0.003, ("test",))
    assert (new.ckpt, new.resume) == (str(run), None)


def test_last_is_the_newest_run_with_a_checkpoint(run: Path, tmp_path: Path) -> None:
    for name, trained in (("2026-01-01_a", True), ("2026-01-02_b", True), ("2026-01-03_c", False)):
        shutil.copytree(run, tmp_path / "out" / "runs" / name, ignore=shutil.ignore_patterns("out"))
        if not trained:
            shutil.rmtree(tmp_path / "out" / "runs" / name / "checkpoints")
    new = config("ckpt=last", f"output_dir={tmp_path / 'out'}")
    assert new.ckpt == str(tmp_path / "out" / "runs" / "2026-01-02_b")
    with pytest.raises(UserError, match="there is no trained run in"):
        config("ckpt=last", f"output_dir={tmp_path / 'empty'}")


def test_a_typed_key_always_wins(run: Path) -> None:
    new = config(f"ckpt={run}", "model.dropout=0.1", "data.batch_size=64", "experiment=fast")
    assert (new.model["dropout"], new.data["batch_size"], new.optimizer["lr"]) == (0.1, 64, 0.25)
    assert config(f"ckpt={run}", "experiment=fast").data["batch_size"] == 384
    assert config(f"ckpt={run}", "model=mlp").model == {
        "_target_": "assay.models.mlp.MNISTClassifier",
        "width": 128,
    }


def test_a_checkpoint_from_elsewhere_brings_no_config(tmp_path: Path) -> None:
    (tmp_path / "x.ckpt").touch()
    new = config(f"ckpt={tmp_path / 'x.ckpt'}", "model.width=64", "optimizer.lr=0.05")
    assert (new.model["width"], new.optimizer["lr"]) == (64, 0.05)


def test_a_misspelt_key_of_the_runs_own_model_is_named(run: Path) -> None:
    with pytest.raises(UserError, match=r"did you mean model\.dropout=0\.1"):
        config(f"ckpt={run}", "model.dorpout=0.1")


def test_a_resumed_run_has_the_config_that_it_had(run: Path) -> None:
    again = config(f"resume={run}")
    assert (again.seed, again.optimizer["lr"], again.ckpt) == (4, 0.2, "elsewhere.ckpt")
    assert config_id(as_plain(again)) == config_id(as_plain(saved_config(run)))


@pytest.mark.parametrize(
    "word",
    [
        "sweep.name=x",
        "trainer.log_every_n_steps=7",
        "data.num_workers=1",
        "trainer.max_epochs=9",
        "trainer.max_steps=100",
        "logger=csv",
        "stages=[fit]",
    ],
)
def test_some_keys_may_change_on_resume(run: Path, word: str) -> None:
    again = config(f"resume={run}", word)
    assert again.resume == str(run) and as_plain(again) != as_plain(config(f"resume={run}"))


@pytest.mark.parametrize(
    "word", ["seed=5", "optimizer.lr=1.0", "model.width=8", "device.threads=1", "data.batch_size=64"]
)
def test_what_changes_the_result_is_refused_on_resume(run: Path, word: str) -> None:
    key = word.partition("=")[0]
    with pytest.raises(UserError, match=f"{word}: the run to resume has {key}="):
        config(f"resume={run}", word)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "- a",
        "a: &x [1]\nb: *x",
        "",
        "x: 1",
        "{" * 1_000_001,
        "[" * 500_000,
        "\0",
        "1: 2",
        "seed: {a: 1}",
    ],
    ids=lambda text: text[:9],
)
def test_a_config_that_is_not_ours_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(UserError):
        config(f"resume={tmp_path}")
    with pytest.raises(UserError):
        saved_config(tmp_path)


def test_a_secret_that_was_not_kept_is_asked_for(run: Path) -> None:
    csv = {"_target_": "pytorch_lightning.loggers.CSVLogger", "prefix": "<redacted>"}
    save(run, logger={"csv": csv})
    with pytest.raises(UserError, match=r"prefix was a secret and not kept\n  type it again"):
        config(f"resume={run}")
    logger: Any = config(f"resume={run}", "logger.csv.prefix=x").logger
    assert logger["csv"]["prefix"] == "x"


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run folder"):
        config(f"resume={tmp_path}")


def test_a_run_made_in_the_projects_folder_finds_its_data_from_elsewhere(
    run: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (run / "config.yaml").read_text().replace(str(PROJECT / "data"), "data")
    (run / "config.yaml").write_text(text)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert config(f"ckpt={run}").data["root"] == str(PROJECT / "data")


def test_what_leaves_the_result_as_it_is_leaves_the_id_as_it_is() -> None:
    def ids(*words: str) -> tuple[str, str]:
        plain = as_plain(config(*words))
        return config_id(plain), group_id(plain)

    same = ["name=x", "output_dir=y", "trainer.steps_per_execution=1", "logger=csv", "sweep.name=z"]
    assert all(ids(word) == ids() for word in same)
    assert ids("seed=1")[1] == ids()[1] and ids("seed=1")[0] != ids()[0]
    assert all(ids(word)[1] != ids()[1] for word in ("optimizer.lr=1.0", "trainer.max_epochs=9", "model=cnn"))
    assert len(ids()[0]) == 12


def test_all_components_are_checked_together() -> None:
    with pytest.raises(UserError) as caught:
        check_components(config("model.width=0", "optimizer.lr=fast"))
    assert "model.width=0" in str(caught.value) and "optimizer.lr=fast" in str(caught.value)
