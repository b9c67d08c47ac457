from pathlib import Path

import pytest

from assay import cli
from assay.errors import Interrupted, RunFailed, UserError, say


def test_one_run_is_shown_not_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.train(["--multirun", "--cfg", "job", "seed=1,2"]) == 2
    assert "leave -m out" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["diff=a"], ["diff=[a,b,c]"], ["diff=["], ["reproduce="], ["diff=[a,b]", "seed=1"]]
)
def test_words_that_look_back_stand_alone(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.train(words) == 2
    assert "for example" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("x"), 2),
        (RunFailed("x"), 1),
        (Interrupted(15), 143),
        (Interrupted(2), 130),
        (KeyboardInterrupt(), 130),
    ],
)
def test_an_error_has_one_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(words: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_train", fails)
    assert cli.train([]) == code
    assert capsys.readouterr().err.strip() and "Traceback" not in capsys.readouterr().err


def test_the_node_hydra_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.train(["--cfg", "hydra", "--package", "launcher"]) == 0
    assert "BasicLauncher" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--info", "defaults"], ["--hydra-help"]])
def test_what_hydra_itself_shows_is_for_configs_that_compose(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.train([*words, "modle=cnn"]) == 2
    assert "did you mean model=cnn?" in capsys.readouterr().err


def test_help_lists_the_keys_of_what_is_typed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.train(["model=cnn", "optimizer=sgd", "callbacks=early_stopping", "--help"]) == 0
    page = capsys.readouterr().out
    assert "model.dropout=0.25 " in page and "at least 0 and below 1: share of features dropped" in page
    assert "optimizer.momentum=0.9" in page and "optimizer.betas" not in page
    assert "callbacks.early_stopping.patience=3" in page
    assert cli.train(["model=cnnn", "--help"]) == 2


def test_folders_whose_names_have_signs_of_hydras_grammar_need_no_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, seed in (("seed=1,name=a-1", 1), ("seed=2-2", 2)):
        Path(name).mkdir()
        Path(name, "config.yaml").write_text(f"seed: {seed}\n")
    assert cli.train(["diff=[seed=1,name=a-1, seed=2-2]"]) == 0
    assert "config seed 1 2" in " ".join(capsys.readouterr().out.split())


def test_an_error_on_a_terminal_breaks_between_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = "model=x: there is no such option\n  did you mean model=cnn or perhaps another?"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    say(text)
    assert capsys.readouterr().err.splitlines() == [
        "model=x: there is no such",
        "    option",
        "  did you mean model=cnn or",
        "      perhaps another?",
    ]
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    say(text)
    assert capsys.readouterr().err == f"{text}\n"


@pytest.mark.parametrize("by_library", [False, True])
def test_ctrl_c_before_anything_says_so(
    by_library: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*words: object) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            if by_library:  # as OmegaConf does in the midst of a change
                raise UserError("conf/: 'NoneType' object has no attribute '_flags'") from None
            raise

    monkeypatch.setattr("assay.config.load.load", interrupted)
    assert cli.train([]) == 130
    assert "nothing was written" in capsys.readouterr().err
