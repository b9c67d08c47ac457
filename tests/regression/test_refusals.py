"""Words that are no config of ours: exit 2, the key as typed, what to do, and nothing written."""

from pathlib import Path

import pytest

from assay import cli
from tests.regression import TINY, Shell

SUBMITIT = "hydra_plugins.hydra_submitit_launcher.submitit_launcher.BaseSubmititLauncher"
# what was typed, with blanks between the words, and what the answer must hold
REFUSED = {
    "+hydra.callbacks.x=3": "hydra.callbacks",
    "hydra.verbose=true": "hydra.verbose",
    "hydra.job.name=x": "hydra.job.name",
    "hydra.job.chdir=true": "hydra.job.chdir",
    "hydra.run.dir=elsewhere": "hydra.run.dir",
    "hydra.output_subdir=x": "hydra.output_subdir",
    "hydra.mode=MULTIRUN": "hydra.mode",
    "+hydra.foo=1": "hydra.foo",
    "~hydra.run": "hydra.run",
    "hydra/job_logging=default": "hydra/job_logging",
    "hydra/hydra_logging=default": "hydra/hydra_logging",
    "+hydra.job_logging.root.level=DEBUG": "hydra.job_logging",
    "+hydra.job.env_set.PYTHONPATH=x": "PYTHONPATH",
    "+hydra.job.env_set.LD_PRELOAD=x.so": "LD_PRELOAD",
    "hydra.searchpath=[pkg://stranger]": "hydra.searchpath",
    "--multirun --cfg job": "--cfg",
    "--multirun --cfg job seed=0,1": "--cfg",
    "+hydra.sweeper.foo=1 -m seed=1": "hydra.sweeper",
    "hydra/sweeper=basic -m seed=0,1": "hydra/sweeper",
    f"hydra.launcher._target_={SUBMITIT} -m seed=0,1": "hydra.launcher",
    "trainer.limit_train_batches=0.0": "trainer.limit_train_batches=0.0",
    "device.strategy=ddp": "device.strategy",
    "device=ddp device.accelerator=cpu": "device.devices",
}


@pytest.mark.parametrize("words", REFUSED)
def test_it_is_refused_with_the_key_and_nothing_is_written(shell: Shell, words: str) -> None:
    done = shell.train(*words.split(), "trainer.max_steps=1")
    assert done.refused(REFUSED[words]), done.screen
    assert 1 <= len(done.screen.splitlines()) <= 4, done.screen
    assert not list(shell.folder.iterdir())


def test_no_training_at_all_is_refused_with_what_to_type_instead(shell: Shell) -> None:
    done = shell.train(*TINY, "trainer.limit_train_batches=0")
    assert done.refused("trainer.limit_train_batches=0"), done.screen
    assert any(hint in done.screen for hint in ("stages=", "limit_train_batches=1", "at least"))


@pytest.mark.parametrize("word", ["~bench", "~sizes", "~seconds"])
def test_a_bench_needs_its_keys(shell: Shell, word: str) -> None:
    done = shell.command("bench", word)
    assert done.refused(word.lstrip("~")) and "KeyError" not in done.screen, done.screen
    assert "None" not in done.screen and not list(shell.folder.iterdir())


@pytest.mark.parametrize("word", ["hydra.job.env_set.OMP_NUM_THREADS=1", "hydra.searchpath=[file://{here}]"])
def test_what_is_on_the_short_list_of_hydra_is_still_taken(shell: Shell, word: str) -> None:
    plus = "+" if "env_set" in word else ""
    shell.run("trainer.max_steps=1", plus + word.replace("{here}", str(shell.folder)))


def test_a_tilde_is_the_home_folder(shell: Shell) -> None:
    home = shell.folder / "home"
    home.mkdir()
    words = (*TINY, "trainer.max_steps=1", "output_dir=~/mine")
    done = shell.train(*words, env={"HOME": str(home)})
    assert done.code == 0, done.screen
    assert len(list((home / "mine" / "runs").iterdir())) == 1
    assert [path.name for path in shell.folder.iterdir()] == ["home"]


def test_a_command_that_was_installed_without_its_checkout_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`conf/` is no part of the package: a command beside Python cannot find it."""
    monkeypatch.setattr(cli, "CONF", tmp_path / "conf")
    assert cli.train(["seed=1"]) == cli.bench([]) == 2
    assert "pip install -e ." in capsys.readouterr().err
