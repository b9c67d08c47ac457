"""The study of a search: its journal, what reads it, what is refused, and what the report shows of it."""

import os
import pickle
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from assay import PROJECT
from assay.errors import UserError
from assay.report import svg
from assay.sweep.plan import plan
from assay.sweep.study import JOURNAL, figures_of
from tests.sweep.searches import LR, WORDS, run, search, study
from tests.sweep.sweeps import sweep
from tests.test_docs import block, commands

SEARCHES = [command for command in commands() if "sweep.search=" in command or "sweep=tune" in command]


@pytest.mark.parametrize("command", SEARCHES)
def test_a_search_of_the_docs_can_be_planned(command: str) -> None:
    words = [word for word in shlex.split(command)[2:] if word != "-m"]
    assert plan(words).space is not None and len(SEARCHES) >= 3


def test_python_opens_a_study_as_the_docs_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(search(tmp_path, *WORDS, "sweep.search=tpe", "sweep.trials=4"))
    code = block(PROJECT / "docs" / "sweeps.md", "python", "load_study")
    assert "outputs/sweeps/<name>" in code
    exec(code.replace("outputs/sweeps/<name>", str(tmp_path)), {})
    best = study(tmp_path).best_trial
    assert capsys.readouterr().out == f"{best.params} {best.user_attrs['jobs']}\n"


def test_the_report_shows_history_and_importance_once_there_are_trials(tmp_path: Path) -> None:
    assert figures_of(tmp_path, "val/accuracy") == {}
    run(search(tmp_path, *WORDS, "sweep.search=tpe", "sweep.trials=5"))
    (history,) = figures_of(tmp_path, "val/accuracy")["Search"]
    best = [value for _, value in history.series[1].points]
    assert best == sorted(best) and len(best) == 5
    run(search(tmp_path, *WORDS, "sweep.search=tpe", "sweep.trials=15"))
    history, importance = figures_of(tmp_path, "val/accuracy")["Search"]
    assert set(importance.bars) == {"optimizer.lr", "model.width"}
    assert sum(importance.bars.values()) == pytest.approx(1.0)
    assert svg([history, importance]).startswith("<svg")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.getpid, ()


def test_a_pickle_in_a_journal_from_elsewhere_is_refused(tmp_path: Path) -> None:
    words = (LR, "optimizer.weight_decay=interval(0.0,0.1)", "sweep.search=cmaes", "sweep.trials=20")
    run(search(tmp_path, *words))
    assert search(tmp_path, *words).is_over  # it reads its own
    text, evil = (tmp_path / JOURNAL).read_text(), pickle.dumps(Evil()).hex()
    changed = re.sub(r'("cma:optimizer:0":")[0-9a-f]+', rf"\g<1>{evil}", text)
    changed = re.sub(r'("cma:optimizer:1":")[0-9a-f]+', r"\g<1>", changed)
    assert changed != text
    (tmp_path / JOURNAL).write_text(changed)
    with pytest.raises(UserError, match="is damaged: it holds"):
        search(tmp_path, *words)


def test_a_damaged_journal_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    words = (*WORDS, "sweep.search=tpe", "sweep.trials=3")
    run(search(tmp_path, *words))
    journal = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / JOURNAL).write_bytes(b"\x00\xff\n" + journal)
    with pytest.raises(UserError, match="remove the journal"):
        search(tmp_path, *words)


def test_another_search_or_a_grid_under_its_name_is_refused_and_nothing_is_touched(tmp_path: Path) -> None:
    words = (*WORDS, "sweep.search=tpe", "sweep.trials=2", "sweep.name=one", "trainer.max_epochs=1")
    assert sweep(tmp_path, *words).returncode == 0
    folder = tmp_path / "sweeps" / "one"
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    for other in ((LR, "sweep.search=tpe", "sweep.trials=2"), ("seed=0,1",), (*words[:4], "seed=1")):
        refused = sweep(tmp_path, *other, "sweep.name=one", "trainer.max_epochs=1")
        assert refused.returncode == 2 and "has another" in refused.stderr
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before
