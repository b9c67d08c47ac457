"""The README and docs/ tell the truth: their commands run, their examples work, links lead somewhere."""

import csv
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from assay import PROJECT, cli
from tests.processes import start
from tests.runs import SHORT, result, train

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
# what a test adds to a command so that it ends in seconds; keys that the command has already are left alone
QUICK = {
    "train": SHORT,
    "bench": ("seconds=1", "threads=1"),
    "bench overhead": ("epochs=1", "jobs=3"),
    "bench matmul": ("sizes=[32]", "sustained_seconds=0"),
    "bench training": (
        "epochs=1",
        "repeats=1",
        "optimizers=[sgd]",
        "batch_sizes=[2048]",
        "arms=[bare,assay]",
    ),
}
# commands that need what a test machine has not, or that are run by a test of their own
ELSEWHERE = {
    "submitit": "tests/sweep, where the launcher is installed",
    "ray": "tests/sweep, where the launcher is installed",
    "train.py -m": "tests/sweep",
    "leaderboard=": "tests/sweep",
    "sweep=": "tests/sweep, and a file of the user's",
    "resume=last": "tests/reliability: it needs an interrupted run",
    "my_conf": "tests/config: the folder is the user's",
    "device=ddp": "tests/run/test_run.py: two processes",
    "device=gpu": "needs a GPU",
    "pytest": "the suite itself",
    "pip install": ".ci/run",
    "stages=[predict]": "tests/run/test_predict.py: it needs pictures",
    "data=folder": "tests/data/test_folder.py: it needs pictures",
    "export.formats": "tests/run/test_export.py",
    "model=linear": "test_the_readmes_model_trains",
    "model=dropout": "test_the_docs_own_code_trains_and_what_it_logs_is_in_the_record",
    "optimzer": "tests/config: a wrong command on purpose",
    "experiment=cnn": "tests/run/test_run.py: the CNN",
}


def commands() -> list[str]:
    """Every command of ours on the pages, without what a shell would not see."""
    found: dict[str, None] = {}
    for page in PAGES:
        text = re.sub(r"```text\n.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)  # output
        for match in re.finditer(r"python (?:train|bench)\.py[^`\n|]*", text):
            found[match.group().split("  #")[0].split(" && ")[0].rstrip(" .,;:")] = None
    return [command for command in found if "..." not in command]


def runnable() -> list[str]:
    return [command for command in commands() if not any(word in command for word in ELSEWHERE)]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "outputs"
    train(folder)
    return folder


def words_of(command: str, run: Path) -> list[str]:
    """The words of a command with a real run in place of `<run>`, and short."""
    filled = re.sub(r"<(run|other|name|date|time|id)[^>]*>", run.name, command)
    _, script, *words = shlex.split(filled)
    kind = script.removesuffix(".py")
    looks_back = any(word.partition("=")[0] in ("resume", "ckpt", "diff", "reproduce") for word in words)
    if looks_back or any(word.startswith("--") for word in words):
        return [script, *words]
    bench = next((word.partition("=")[2] for word in words if word.startswith("bench=")), "matmul")
    extra = [*QUICK[kind], *(QUICK.get(f"bench {bench}", ()) if kind == "bench" else ())]
    typed = {word.partition("=")[0] for word in words}
    return [script, *words, *(word for word in extra if word.partition("=")[0] not in typed)]


@pytest.mark.parametrize("command", runnable())
def test_a_command_of_the_docs_runs(
    command: str, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(outputs.parent)
    run = min((outputs / "runs").glob("*"))  # the first of all, which was trained
    words = words_of(command, run)
    monkeypatch.setattr(sys, "argv", words)
    try:
        code = cli.train() if words[0] == "train.py" else cli.bench()
    except SystemExit as stop:  # Hydra ends `--cfg` and `--info` so
        code = stop.code or 0
    assert code == 0, capsys.readouterr().err


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def block(page: Path, language: str, word: str) -> str:
    return next(text for text in blocks(page, language) if word in text)


def own_files(page: Path, folder: Path) -> list[str]:
    """Write down a page's own code and YAMLs; the words that let a command find the YAMLs."""
    files = re.findall(
        r"`((?:my|conf)/[\w/]+\.(?:py|yaml))`[^`]*(?:`[^`]*`[^`]*)?```\w+\n(.*?)```",
        page.read_text("utf-8"),
        re.DOTALL,
    )
    for name, text in [("my/__init__.py", ""), *files]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return ["--config-dir", str(folder / "conf"), *SHORT, f"output_dir={folder}"]


@pytest.fixture
def forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package `my` of this test alone can be imported."""
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "my"]:
        del sys.modules[name]


@pytest.mark.usefixtures("forgotten")
def test_the_readmes_model_trains(tmp_path: Path) -> None:
    words = own_files(PROJECT / "README.md", tmp_path)
    assert cli.train([*words, "model=linear", "model.bias=false"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    assert result(run)["metrics"]["test/accuracy"] > 0.5


EVERYTHING = "model=dropout data=squares task=focal optimizer=adamw scheduler=triangle callbacks=weight_norm"


@pytest.mark.usefixtures("forgotten")
def test_the_docs_own_code_trains_and_what_it_logs_is_in_the_record(tmp_path: Path) -> None:
    page = PROJECT / "docs" / "extend.md"
    assert EVERYTHING in page.read_text()
    words = own_files(page, tmp_path)
    assert cli.train([*words, *EVERYTHING.split(), "optimizer.lr=0.02"]) == 0
    (run,) = (tmp_path / "runs").iterdir()
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    norms = [float(row["weight_norm"]) for row in rows if row["val/loss"]]
    assert len(norms) == 2 and result(run)["last"]["weight_norm"] == norms[-1]
    assert all(row["weight_norm"] == "" for row in rows if not row["val/loss"])


def test_the_docs_own_code_is_found_by_the_workers_of_a_sweep(tmp_path: Path) -> None:
    words = own_files(PROJECT / "docs" / "extend.md", tmp_path)
    words += [*EVERYTHING.split(), "model.width=8,16", "sweep.metric=weight_norm"]
    ended = start("train", tmp_path, "-m", *words, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert ended.wait() == 0, ended.text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_cycle_in_the_docs_is_the_one_in_the_code() -> None:
    shown = block(PROJECT / "docs" / "training.md", "python", "# forward").splitlines()
    code = (PROJECT / "src" / "assay" / "training" / "learner.py").read_text(encoding="utf-8")
    assert all(line.strip() in code for line in shown)
