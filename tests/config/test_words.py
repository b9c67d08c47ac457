from pathlib import Path

import pytest

from assay.config.tools import Tool, tool_of
from assay.config.words import command_line, sample_jobs
from assay.errors import UserError


def test_flags_and_words_are_told_apart() -> None:
    line = command_line(["-m", "seed=0,1", "--cfg", "job"])
    assert line.multirun and line.config_only and line.overrides == ("seed=0,1",)


def test_flags_may_stand_between_the_words() -> None:
    line = command_line(["seed=1", "--cfg", "job", "trainer.max_epochs=2", "--info"])
    assert line.overrides == ("seed=1", "trainer.max_epochs=2")
    assert line.argv == ("seed=1", "trainer.max_epochs=2", "--cfg", "job", "--info")
    assert command_line(["-m", "seed=1"]).argv == ("-m", "seed=1")  # as typed, where that will do


def test_a_folder_of_ones_own_is_seen_by_the_judge(tmp_path: Path) -> None:
    line = command_line(["--config-dir", str(tmp_path), "seed=1"])
    assert line.argv == line.overrides == ("seed=1", f'hydra.searchpath=["file://{tmp_path}"]')


@pytest.mark.parametrize(
    "words", [["--experimental-rerun", "x"], ["--config-path", "x"], ["--config-name", "x"], ["--nope"]]
)
def test_closed_and_unknown_flags_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError):
        command_line(words)


def test_every_value_of_a_sweep_is_in_a_job() -> None:
    jobs = sample_jobs(["optimizer=sgd,adam", "seed=range(3)", "model.width=8"])
    assert jobs[0] == ["optimizer=sgd", "seed=0", "model.width=8"]
    assert {word for job in jobs for word in job} >= {"optimizer=adam", "seed=1", "seed=2"}
    assert len(jobs) == 4


def test_a_glob_is_a_list_of_options() -> None:
    words = {word for job in sample_jobs(["optimizer=glob(*)"]) for word in job}
    assert words == {"optimizer=adam", "optimizer=sgd"}


def test_tools_are_words_that_stand_alone() -> None:
    assert tool_of(["seed=1"]) is None
    assert tool_of(["diff=[a,b]"]) == (Tool.DIFF, ("a", "b"))
    assert tool_of(["reproduce=outputs/runs/x"]) == (Tool.REPRODUCE, ("outputs/runs/x",))
    for words in (["diff=a"], ["diff=[a,b,c]"], ["diff=["], ["reproduce="], ["diff=[a,b]", "seed=1"]):
        with pytest.raises(UserError, match="for example"):
            tool_of(words)
