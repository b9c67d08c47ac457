"""Wrong inputs as a user types them: exit 2, one to four lines a problem, the right name, nothing written."""

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from assay import PROJECT, cli

from .config.wrong_inputs import FILES, WRONG, Wrong

SAMPLE = [wrong for at, wrong in enumerate(WRONG) if at % 24 == 0]


@pytest.fixture(scope="session")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's own YAML files, each with a mistake."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder


def typed(wrong: Wrong, mine: Path) -> list[str]:
    return [word.replace("{mine}", str(mine)) for word in wrong.words]


def check(wrong: Wrong, code: int, out: str, err: str) -> None:
    lines = err.splitlines()
    starts = [line for line in lines if not line.startswith("  ") and not line.endswith(" problems:")]
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert len(starts) >= 1 and len(lines) <= 4 * len(starts) + 1
    for part in wrong.says:
        assert part in err


def test_there_are_at_least_sixty() -> None:
    assert len({wrong.words for wrong in WRONG}) == len(WRONG) >= 60


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_input_is_explained(
    wrong: Wrong,
    mine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{wrong.command}.py", *typed(wrong, mine)])
    code = cli.train() if wrong.command == "train" else cli.bench()
    shown = capsys.readouterr()
    check(wrong, code, shown.out, shown.err)
    assert not list(tmp_path.iterdir())


def process(wrong: Wrong, mine: Path, cwd: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    """The wall time in seconds of the whole process, and how it ended."""
    command = [sys.executable, str(PROJECT / f"{wrong.command}.py"), *typed(wrong, mine)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd)
    return time.perf_counter() - started, done


@pytest.mark.parametrize("wrong", SAMPLE, ids=lambda wrong: wrong.name)
def test_a_process_answers_the_same(wrong: Wrong, mine: Path, tmp_path: Path) -> None:
    _, done = process(wrong, mine, tmp_path)
    check(wrong, done.returncode, done.stdout, done.stderr)
    assert not list(tmp_path.iterdir())


@pytest.mark.full
def test_the_answers_are_quick(request: pytest.FixtureRequest, mine: Path, tmp_path: Path) -> None:
    """Every wrong input as a process of its own: median under 1 s, under 6 s where a constructor is asked."""
    if "full" not in str(request.config.getoption("-m")):
        pytest.skip("measures whole processes for two minutes: pytest -m full")
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for wrong in WRONG:
        took, done = process(wrong, mine, tmp_path)
        check(wrong, done.returncode, done.stdout, done.stderr)
        seconds[wrong.constructor].append(took)
    medians = {constructor: statistics.median(took) for constructor, took in seconds.items()}
    print(
        f"{len(WRONG)} wrong inputs: median {medians[False]:.2f} s, {medians[True]:.2f} s with a constructor"
    )
    assert medians[False] < 1.0 and medians[True] < 6.0


def test_what_is_refused_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom assay.cli import train, bench\n"
        "sys.argv = ['train.py', 'trainer.max_epoch=5', 'seed=x', 'model=mpl']\nassert train() == 2\n"
        "sys.argv = ['train.py', '--help']\nassert train() == 0\n"
        "sys.argv = ['bench.py', '--help']\nassert bench() == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", ["train", "bench"])
def test_help_says_what_there_is(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])
    assert (cli.train if script == "train" else cli.bench)() == 0
    shown = capsys.readouterr().out
    assert shown.count(f"  python {script}.py") >= 6
    assert "--cfg job" in shown
    for group in ("model", "optimizer") if script == "train" else ("bench",):
        for path in (PROJECT / "conf" / group).glob("*.yaml"):
            assert path.stem in shown
    assert ("trainer.max_epochs=5" if script == "train" else "seconds=") in shown
    assert "a whole number of at least 1" in shown


def test_every_option_has_a_line_of_help() -> None:
    from assay import CONF
    from assay.config.explain import groups, options
    from assay.config.help import title

    silent = [
        f"{group}={one}"
        for group in groups()
        for one in options(group)
        if not title(CONF / group / f"{one}.yaml")
    ]
    assert silent == []


@pytest.mark.parametrize("kind", ["defaults", "defaults-tree", "config", "searchpath", "plugins", "all"])
def test_info_keeps_working(
    kind: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        [sys.executable, str(PROJECT / "train.py"), "--info", kind], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) > 5


def test_the_whole_config_is_shown_resolved(tmp_path: Path) -> None:
    words = [sys.executable, str(PROJECT / "train.py"), "--cfg", "job", "--resolve", "model=cnn"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0
    assert "assay.models.cnn.CNN" in done.stdout and "${" not in done.stdout


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("assay-train optimizer=", "optimizer=adam"),
        ("assay-train opt", "optimizer="),
        ("assay-train trainer.max_e", "trainer.max_epochs="),
        ("assay-bench bench=", "bench=matmul"),
    ],
)
def test_the_shell_completes_groups_options_and_keys(line: str, expected: str, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name(line.split()[0])
    if not command.exists():
        pytest.skip("the package is not installed beside this Python")
    done = subprocess.run(
        [str(command), "-sc", "query=bash"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "COMP_LINE": line, "COMP_POINT": str(len(line))},
    )
    assert expected in done.stdout.split(), done.stderr


def test_completion_does_not_hook_python(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "-sc", "install=bash"])
    assert cli.train() == 2
    assert 'eval "$(assay-train -sc install=bash)"' in capsys.readouterr().err


def test_all_problems_are_listed_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["optimzer=adam", "trainer.max_epochs=x", "+foo=1", "model.width=0", "seed=-1"]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    assert cli.train() == 2
    shown = capsys.readouterr().err
    assert shown.startswith("5 problems:")
    for key in ("optimzer", "trainer.max_epochs", "foo", "model.width", "seed"):
        assert f"\n{key}=" in shown


@pytest.mark.parametrize(
    "name",
    ["../x", "/etc/x", "a/b", "x" * 300, "..", "con", ".hidden", "a\nb", "-x"],
    ids=lambda name: name[:9],
)
@pytest.mark.parametrize("key", ["name", "sweep.name"])
def test_a_name_cannot_leave_the_outputs(
    key: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", f'{key}="{name}"'])
    assert cli.train() == 2
    assert f"{key}=" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_link_cannot_lead_a_sweep_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs" / "sweeps").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs" / "sweeps" / "link").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "argv", ["train.py", "sweep.name=link"])
    assert cli.train() == 2
    assert "is a link to" in capsys.readouterr().err
    assert not list((tmp_path / "elsewhere").iterdir())
