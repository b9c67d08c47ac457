"""One real sweep of six jobs, seen from all sides."""

import json
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from assay.sweep.folder import SweepFolder
from tests.sweep.sweeps import ROOT, command, results, sweep, table

GRID = ("optimizer=sgd,adam", "seed=0,1,2", "sweep.name=demo")


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("outputs")
    done = sweep(path, *GRID)
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture
def demo(output: Path) -> Path:
    return output / "sweeps" / "demo"


def test_mean_and_deviation_are_those_of_the_results(demo: Path) -> None:
    groups = json.loads((demo / "leaderboard.json").read_text())["groups"]
    assert len(groups) == 2
    for group in groups:
        values = [results(demo)[id]["metrics"]["val/accuracy"] for id in group["jobs"]]
        found = group["metrics"]["val/accuracy"]
        assert (found["n"], found["mean"]) == (3, statistics.fmean(values))
        assert found["sd"] == statistics.stdev(values)


def test_run_again_it_trains_nothing_and_says_the_same_without_torch(output: Path, demo: Path) -> None:
    before = {file: file.read_bytes() for file in demo.rglob("*") if file.is_file()}
    blocked = output / "no_torch"
    blocked.mkdir(exist_ok=True)
    (blocked / "torch.py").write_text("raise RuntimeError('torch was imported')")
    env = {"PYTHONPATH": str(blocked), "PATH": "/usr/bin:/bin"}
    again = sweep(output, *GRID, env=env)
    assert again.returncode == 0, again.stderr
    assert "sgd" in again.stdout
    after = {file: file.read_bytes() for file in demo.rglob("*") if file.is_file()}
    assert {file for file in after if after[file] != before.get(file)} <= {demo / "locks" / "derived.lock"}


def test_the_table_is_printed_again_by_its_folder(output: Path, demo: Path) -> None:
    words = [sys.executable, str(ROOT / "train.py"), f"leaderboard={demo}", "sweep.metric=test/loss"]
    shown = subprocess.run(words, cwd=output, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert "test/loss" in shown.stdout and "adam" in shown.stdout


def test_a_folder_named_twice_counts_once(output: Path, demo: Path) -> None:
    shown = [
        subprocess.run(
            [sys.executable, str(ROOT / "train.py"), f"leaderboard={folders}"],
            cwd=output, capture_output=True, text=True, timeout=60,
        ).stdout
        for folders in (demo, f"[{demo},{demo}/../demo]")
    ]  # fmt: skip
    assert shown[0] == shown[1] != ""


def test_jobs_with_other_stages_are_other_jobs(tmp_path: Path) -> None:
    fitted = sweep(tmp_path, "stages=[fit],[fit,test]", "sweep.name=stages")
    assert fitted.returncode == 0, fitted.stderr
    tested = [one["metrics"].get("test/accuracy") for one in results(tmp_path / "sweeps" / "stages").values()]
    assert len(tested) == 2 and sum(value is None for value in tested) == 1


def test_a_dry_run_lists_and_runs_nothing(output: Path) -> None:
    listed = sweep(output, "seed=0,1", "sweep.name=dry", "sweep.dry_run=true")
    assert listed.returncode == 0
    assert "2 jobs in a new folder; nothing was run" in listed.stdout
    assert not (output / "sweeps" / "dry").exists()


def test_a_sweep_may_grow_but_another_grid_is_refused(output: Path, demo: Path) -> None:
    before = (demo / "sweep.json").read_bytes()
    refused = sweep(output, "seed=5,6", "sweep.name=demo")
    assert refused.returncode == 2
    assert "has another grid" in refused.stderr
    assert (demo / "sweep.json").read_bytes() == before


def test_of_two_grids_begun_at_once_under_one_name_one_is_refused(tmp_path: Path) -> None:
    begun = [
        subprocess.Popen(command(tmp_path, f"seed={seeds}", "sweep.name=one"), cwd=tmp_path)
        for seeds in ("0,1", "2,3")
    ]
    assert sorted(one.wait(timeout=120) for one in begun) == [0, 2]
    listed = json.loads((tmp_path / "sweeps" / "one" / "sweep.json").read_text())["jobs"]
    assert {job["id"] for job in listed} == set(results(tmp_path / "sweeps" / "one"))


def test_weights_of_a_run_bring_its_config_along_as_in_a_single_run(tmp_path: Path) -> None:
    assert sweep(tmp_path, "model.width=32", "seed=5", "sweep.name=first").returncode == 0
    job = next((tmp_path / "sweeps" / "first" / "jobs").iterdir())
    words = ("seed=0,1", f"ckpt={job}", "stages=[test]", "sweep.metric=test/accuracy", "sweep.name=tested")
    tested = sweep(tmp_path, *words)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    found = [one["metrics"]["test/accuracy"] for one in results(tmp_path / "sweeps" / "tested").values()]
    assert len(found) == 2 and found[0] == found[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("seed=0,1", "sweep.retry=maybe"), "one of failed, none"),
        (("seed=0,1", "sweep.name=../x"), "cannot be a path"),
        (("optimizer.lrr=0.1,0.2",), "there is no key lrr in optimizer"),
        (("model=glob(zzz*)",), "the sweep is empty"),
        (("seed=0,-1",), "in job 2 of 2"),
        (("optimizer=sgd", "optimizer.lr=0.1,-1"), "Invalid learning rate"),
        (("optimizer.lr=0.1,abc",), "in job 2 of 2 (optimizer.lr=abc)"),
        (("optimizer.lr=0.1,abc", "hydra/launcher=joblib"), "in job 2 of 2 (optimizer.lr=abc)"),
        (("seed=0,1", "data=mnist", "data.root=nowhere", "data.download=false"), "original .gz files"),
        (("seed=0,1", "ckpt=nowhere"), "ckpt: nowhere: no such file"),
        (("seed=0,1", f"output_dir={ROOT / 'README.md'}"), "cannot be made: Not a directory"),
        (("seed=0,1", "hydra/sweeper=basic"), "Assay has a sweeper of its own"),
        (("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"), "n_jobs=0 is not allowed"),
        (("seed=0,1", "sweep.name=a,b"), "a sweep takes one"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    refused = sweep(tmp_path, *words)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(tmp_path.iterdir())


def test_the_hparams_tab_has_all_sessions_keys_and_metrics(demo: Path) -> None:
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    events = plugin_event_multiplexer.EventMultiplexer()
    events.AddRunsFromDirectory(str(demo))
    events.Reload()
    provider = data_provider.MultiplexerDataProvider(events, str(demo))
    of_board = base_plugin.TBContext(logdir=str(demo), data_provider=provider)
    asked = api_pb2.ListSessionGroupsRequest(slice_size=100, allowed_statuses=[0, 1, 2, 3])  # pyright: ignore[reportAttributeAccessIssue]
    context_of = backend_context.Context(of_board)
    answer = list_session_groups.Handler(context.RequestContext(), context_of, "", asked).run()
    sessions = [(group, one) for group in answer.session_groups for one in group.sessions]
    assert {one.name for _, one in sessions} == {f"jobs/{id}" for id in results(demo)}
    for group, one in sessions:
        result = results(demo)[one.name.removeprefix("jobs/")]
        assert one.status == 1  # STATUS_SUCCESS
        assert set(group.hparams) == {"optimizer", "seed"}
        assert group.hparams["seed"].number_value == result["seed"]
        shown = {value.name.tag: value.value for value in one.metric_values}
        for name in ("val/accuracy", "val/loss", "test/accuracy", "test/loss"):
            assert shown[f"best/{name}"] == pytest.approx(result["metrics"][name])


def test_each_group_has_a_run_with_mean_least_and_most(demo: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folders = sorted((demo / "groups").iterdir())
    assert len(folders) == 2
    events = EventAccumulator(str(folders[0]))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert isinstance(tags, list)
    assert {"val/accuracy/mean", "val/accuracy/min", "val/accuracy/max"} <= set(tags)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CLICK = """<script>
const button = [...document.querySelectorAll("#jobs button")].find(b => b.textContent === "val/accuracy");
button.click();
document.title = [...document.querySelectorAll("#jobs tbody tr")].map(r => r.cells[0].textContent).join(" ");
</script></body>"""


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")
def test_the_report_sorts_by_a_click_in_a_browser_and_has_no_error(demo: Path, tmp_path: Path) -> None:
    page = tmp_path / "clicked.html"
    page.write_text((demo / "report.html").read_text().replace("</body>", CLICK))
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    browser = subprocess.run(
        [str(CHROMIUM), *flags, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    title = browser.stdout.partition("<title>")[2].partition("</title>")[0]
    values = {row["rank"]: float(row["val/accuracy"]) for row in table(demo)}
    shown = [values[rank] for rank in title.split()]
    assert len(shown) == 6
    assert shown == sorted(shown)
    assert "CONSOLE" not in browser.stderr


def test_the_report_holds_all_it_shows(demo: Path) -> None:
    text = (demo / "report.html").read_text()
    assert "src=" not in text and "@import" not in text
    assert text.count("<svg") == 3


def test_a_job_held_by_a_dead_process_is_interrupted(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    with folder.hold("abcd", "session") as mine:
        assert mine
        assert folder.state("abcd").status == "running"
        with SweepFolder(tmp_path).hold("abcd", "other") as theirs:
            assert not theirs
    assert folder.state("abcd").status == "pending"
    holder = tmp_path / "locks" / "abcd.json"
    described = json.loads(holder.read_text())
    described.pop("done")
    holder.write_text(json.dumps({**described, "pid": 2**22 + 1}))
    assert folder.state("abcd").died


def test_a_damaged_result_is_made_again_and_no_other(output: Path, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "sweeps" / "demo")
    copy, before = tmp_path / "sweeps" / "demo", table(demo)
    done = results(copy)
    hurt = sorted(done)[0]
    (copy / "jobs" / hurt / "result.json").write_bytes(b"\x00\xff")
    assert sweep(tmp_path, *GRID).returncode == 0
    assert table(copy) == before
    again = {id for id, one in results(copy).items() if one["process"] != done[id]["process"]}
    assert again == {hurt}


def test_a_damaged_list_of_jobs_is_said_and_loses_no_job(demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "sweeps" / "demo")
    listed = tmp_path / "sweeps" / "demo" / "sweep.json"
    listed.write_text("{")
    refused = sweep(tmp_path, *GRID)
    assert (refused.returncode, "sweep.json is damaged" in refused.stderr) == (2, True)
    listed.unlink()
    done = results(listed.parent)
    assert sweep(tmp_path, *GRID).returncode == 0
    assert results(listed.parent) == done
