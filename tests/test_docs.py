"""The README and docs/ tell the truth: their commands run, their examples work, links lead somewhere."""

import re
import shlex
import sys
import types
from pathlib import Path

import pytest

from assay import cli
from assay.config.explain import PROJECT
from tests.runs import SHORT, result, train

PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
# what a test adds to a command so that it ends in seconds; keys that the command has already are left alone
QUICK = {
    "train": SHORT,
    "bench": ("seconds=1", "threads=1"),
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
    "model=linear": "test_the_readmes_model_trains",
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
    (run,) = list((outputs / "runs").glob("*"))[:1]
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


def pretend(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a module of the code of a page, with the imports that a page leaves out."""
    head = (
        "import math\nimport torch\nfrom torch import Tensor, nn\n"
        "from torch.utils.data import TensorDataset\n"
        "from typing import Annotated\nfrom pydantic import Field\n"
        "from assay.data.source import Source, Split\nfrom assay.data.images import BatchSize\n"
    )
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(head + code, module.__dict__)


def conf_with(folder: Path, **yamls: str) -> Path:
    conf = folder / "my_conf"
    for path, text in yamls.items():
        file = conf / f"{path.replace('__', '/')}.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    return conf


def trains(conf: Path, outputs: Path, *words: str) -> None:
    assert cli.train(["--config-dir", str(conf), *SHORT, f"output_dir={outputs}", *words]) == 0


def test_the_readmes_model_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = PROJECT / "README.md"
    pretend("assay.models.linear", block(page, "python", "class Linear"), monkeypatch)
    conf = conf_with(tmp_path, model__linear=block(page, "yaml", "models.linear"))
    trains(conf, tmp_path, "model=linear", "model.bias=false")
    (run,) = (tmp_path / "runs").iterdir()
    assert result(run)["metrics"]["test/accuracy"] > 0.5


def test_the_docs_data_set_and_optimizer_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = PROJECT / "docs" / "extend.md"
    pretend("assay.data.squares", block(page, "python", "class Squares"), monkeypatch)
    conf = conf_with(
        tmp_path,
        data__squares=block(page, "yaml", "data.squares"),
        optimizer__rmsprop=block(page, "yaml", "RMSprop"),
    )
    trains(conf, tmp_path, "data=squares", "optimizer=rmsprop", "optimizer.lr=0.01")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_cycle_in_the_docs_is_the_one_in_the_code() -> None:
    shown = block(PROJECT / "docs" / "training.md", "python", "# forward").splitlines()
    code = (PROJECT / "src" / "assay" / "training" / "classifier.py").read_text(encoding="utf-8")
    assert all(line.strip() in code for line in shown)
