"""A run repeated with the threads it had."""

import os

import pytest

from tests.regression import Shell, config, contents
from tests.runs import result


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there is no other number of threads")
def test_a_run_is_reproduced_with_the_threads_it_had(shell: Shell) -> None:
    """`auto` takes one thread on one core, as in a parallel sweep; on two it would take two."""
    words = ("device=cpu", "stages=[fit]", "trainer.max_steps=40", "trainer.limit_val_batches=5")
    one_core = sorted(os.sched_getaffinity(0))[:1]
    done = shell.train(*words, cores=one_core)
    assert done.code == 0, done.screen
    (run,) = shell.runs()
    assert config(run)["device"]["threads"] == "auto" and result(run)["device"]["threads"] == 1
    before = contents(run)
    done = shell.train(f"reproduce={run}")
    assert done.code == 0 and "bit-identical" in done.screen, done.screen
    (again,) = shell.runs() - {run}
    assert result(again)["device"]["threads"] == 1 and contents(run) == before


def test_a_run_of_more_threads_than_this_machine_has_says_so(shell: Shell) -> None:
    words = ("device=cpu", "stages=[fit]", "trainer.max_steps=40", "trainer.limit_val_batches=5")
    assert shell.train(*words).code == 0
    (run,) = shell.runs()
    wanted = len(os.sched_getaffinity(0)) + 1
    text, threads = (run / "result.json").read_text(), result(run)["device"]["threads"]
    (run / "result.json").write_text(text.replace(f'"threads": {threads}', f'"threads": {wanted}'))
    assert result(run)["device"]["threads"] == wanted
    done = shell.train(f"reproduce={run}")
    assert done.code in (0, 1, 2) and not done.untrue(), done.screen
    again = [result(folder)["device"]["threads"] for folder in shell.runs() - {run}]
    assert again == [wanted] or f"{wanted} threads" in done.screen, done.screen
