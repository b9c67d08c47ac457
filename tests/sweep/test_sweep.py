"""One real sweep of six jobs, seen from all sides."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest

from assay import PROJECT
from tests.sweep.sweeps import command, folders, results, start, sweep, table, train

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


def test_the_curves_come_before_what_is_there_for_hparams_alone(demo: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(next(iter(folders(demo).values()))))
    events.Reload()
    tags = events.Tags()["scalars"]
    assert isinstance(tags, list)
    groups = sorted({str(tag).partition("/")[0] for tag in tags})
    assert groups[-1] == "val_best" and {"train", "val"} <= set(groups[:-1])


def test_run_again_it_trains_nothing_and_says_the_same_without_torch(output: Path, demo: Path) -> None:
    before = {file: file.read_bytes() for file in demo.rglob("*") if file.is_file()}
    blocked = output / "no_torch"
    blocked.mkdir(exist_ok=True)
    (blocked / "torch.py").write_text("raise RuntimeError('torch was imported')")
    env = {"PYTHONPATH": str(blocked), "PATH": "/usr/bin:/bin"}
    words = command(output, *GRID)
    again = subprocess.run(words, cwd=output, env=env, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert "sgd" in again.stdout
    after = {file: file.read_bytes() for file in demo.rglob("*") if file.is_file()}
    assert after == before


def test_the_table_is_printed_again_by_its_folder(output: Path, demo: Path) -> None:
    words = [sys.executable, str(PROJECT / "train.py"), f"leaderboard={demo}", "sweep.metric=test/loss"]
    shown = subprocess.run(words, cwd=output, capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0
    assert "test/loss" in shown.stdout and "adam" in shown.stdout


def test_another_task_is_ranked_by_its_own_metrics_and_their_ends(tmp_path: Path) -> None:
    words = ("experiment=ink", "optimizer.lr=0.0001,0.003,0.3", "sweep.name=ink", "trainer.max_epochs=3")
    done = sweep(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    r2 = [float(row["val/r2"]) for row in table(tmp_path / "sweeps" / "ink")]
    assert r2 == sorted(r2, reverse=True)
    assert "test/r2" in done.stdout and "accuracy" not in done.stdout
    again = [sys.executable, str(PROJECT / "train.py"), "leaderboard=sweeps/ink", "sweep.metric=val/mae"]
    shown = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    errors = [float(line.split()[2]) for line in shown.stdout.splitlines() if line.strip()[:1].isdigit()]
    assert errors == sorted(errors) and len(set(errors)) == 3


def test_a_metric_that_nothing_measures_is_refused_before_the_first_job(tmp_path: Path) -> None:
    refused = sweep(tmp_path, "seed=0,1", "sweep.metric=val/acuracy")
    assert refused.returncode == 2 and not list(tmp_path.iterdir())
    assert "did you mean sweep.metric=val/accuracy?" in refused.stderr


def test_a_folder_named_twice_counts_once(output: Path, demo: Path) -> None:
    shown = [
        subprocess.run(
            [sys.executable, str(PROJECT / "train.py"), f"leaderboard={folders}"],
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
    assert f"2 jobs in a new folder, {output}/sweeps/dry; nothing was run" in listed.stdout
    assert not (output / "sweeps" / "dry").exists()


def test_a_sweep_may_grow_but_another_grid_is_refused(output: Path, demo: Path) -> None:
    before = (demo / "sweep.json").read_bytes()
    refused = sweep(output, "seed=5,6", "sweep.name=demo")
    assert refused.returncode == 2
    assert "has another grid" in refused.stderr
    assert (demo / "sweep.json").read_bytes() == before


def test_of_two_grids_begun_at_once_under_one_name_one_is_refused(tmp_path: Path) -> None:
    begun = [start(tmp_path, f"seed={seeds}", "sweep.name=one") for seeds in ("0,1", "2,3")]
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
        (("seed=0,1", "data=mnist", "data.root=nowhere", "data.download=false"), "original .gz files"),
        (("seed=0,1", "ckpt=nowhere"), "ckpt: nowhere: no such file"),
        (("seed=0,1", f"output_dir={PROJECT / 'README.md'}"), "cannot be made: Not a directory"),
        (("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=3"), "sweep.workers=3"),
        (("seed=0,1", "hydra/launcher=joblib", "hydra.launcher.n_jobs=-1"), "sweep.workers=auto"),
        (("seed=0,1", "sweep.workers=0"), "sweep.workers"),
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
    assert {one.name for _, one in sessions} == {f"jobs/{path.name}" for path in folders(demo).values()}
    for group, one in sessions:
        result = results(demo)[one.name.rpartition("-")[2]]
        assert one.status == 1  # STATUS_SUCCESS
        assert set(group.hparams) == {"optimizer", "seed"}
        assert group.hparams["seed"].number_value == result["seed"]
        shown = {value.name.tag: value.value for value in one.metric_values}
        for name in ("val/accuracy", "val/loss", "test/accuracy", "test/loss"):
            assert shown[f"val_best/{name}"] == pytest.approx(result["metrics"][name])


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


def test_the_report_links_to_those_of_its_jobs(demo: Path) -> None:
    text = (demo / "report.html").read_text()
    links = [unquote(link) for link in re.findall(r'<a href="([^"]+)"><code class="id">', text)]
    assert len(set(links)) == len(table(demo))
    assert all((demo / link).is_file() for link in links)


def test_a_damaged_result_is_made_again_and_no_other(output: Path, demo: Path, tmp_path: Path) -> None:
    shutil.copytree(demo, tmp_path / "sweeps" / "demo")
    copy, before = tmp_path / "sweeps" / "demo", table(demo)
    done = results(copy)
    hurt = sorted(done)[0]
    (folders(copy)[hurt] / "result.json").write_bytes(b"\x00\xff")
    assert sweep(tmp_path, *GRID).returncode == 0
    assert table(copy) == before
    again = {id for id, one in results(copy).items() if one["process"] != done[id]["process"]}
    assert again == {hurt}


def test_a_sweep_without_a_name_is_finished_by_its_command_typed_again(tmp_path: Path) -> None:
    words = ("optimizer=sgd,adam", "seed=0,1", "trainer.max_epochs=1")
    assert sweep(tmp_path, *words).returncode == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    assert folder.name.startswith("optimizer=sgd,adam_seed=0,1-")
    before, done = table(folder), results(folder)
    lost = sorted(done)[0]
    shutil.rmtree(folders(folder)[lost])
    finished = sweep(tmp_path, *words)
    assert finished.returncode == 0 and "3 of them done" in finished.stdout
    assert list((tmp_path / "sweeps").iterdir()) == [folder]
    assert table(folder) == before
    assert {id for id, one in results(folder).items() if one["process"] != done[id]["process"]} == {lost}


def test_zip_from_the_command_line(tmp_path: Path) -> None:
    done = sweep(tmp_path, "seed=0,1", "optimizer.lr=0.1,0.01", "sweep.mode=zip", "sweep.name=zip")
    assert done.returncode == 0, done.stderr
    names = {path.name.rpartition("-")[0] for path in folders(tmp_path / "sweeps" / "zip").values()}
    assert names == {"seed=0,optimizer.lr=0.1", "seed=1,optimizer.lr=0.01"}


def test_a_sweep_and_its_table_need_no_package_for_gpus(tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "pynvml.py").write_text("raise ImportError('there is none')")
    env = {"PYTHONPATH": str(tmp_path / "without"), "PATH": "/usr/bin:/bin"}
    words = ("seed=0", "sweep.name=one", "device=auto", "trainer.max_epochs=1")
    listed = [sys.executable, str(PROJECT / "train.py"), f"leaderboard={tmp_path / 'sweeps' / 'one'}"]
    for typed in (command(tmp_path, *words), listed):
        done = subprocess.run(typed, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 and "completed" in done.stdout, done.stderr


FAKE_GPUS = """
def nvmlDeviceGetUUID(handle): return f"GPU-{'ab'[handle]}"
NVMLError = RuntimeError
nvmlInit = nvmlShutdown = lambda: None
nvmlDeviceGetCount = lambda: 2
nvmlDeviceGetHandleByIndex = int
"""
SAYS_GPU = """
import builtins, os, sys
real_import = builtins.__import__
def importing(name, *args, **kwargs):
    module = real_import(name, *args, **kwargs)
    trainer = getattr(sys.modules.get("pytorch_lightning"), "Trainer", None)
    if hasattr(trainer, "fit") and not hasattr(trainer, "real_fit"):
        trainer.real_fit = trainer.fit
        def fit(self, *rest, **more):
            print("sees", os.environ.get("CUDA_VISIBLE_DEVICES"))
            return self.real_fit(*rest, **more)
        trainer.fit = fit
    return module
builtins.__import__ = importing
"""


def test_each_job_sees_one_gpu(tmp_path: Path) -> None:
    """Two fake GPUs, four jobs: CUDA_VISIBLE_DEVICES as it was while each one trained is in its log."""
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "pynvml.py").write_text(FAKE_GPUS)
    (tmp_path / "fake" / "sitecustomize.py").write_text(SAYS_GPU)
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "fake"), "TMPDIR": str(tmp_path)}
    words = ("seed=0,1,2,3", "sweep.name=gpus", "device=auto", "sweep.workers=auto", "trainer.max_epochs=1")
    done = sweep(tmp_path, *words, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "jobs    4; 2 at once" in done.stdout
    logs = [path / "log.txt" for path in folders(tmp_path / "sweeps" / "gpus").values()]
    seen = [line for log in logs for line in log.read_text().splitlines() if line.startswith("sees ")]
    assert len(seen) == 4 and set(seen) == {"sees GPU-a", "sees GPU-b"}


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


def test_a_module_of_ones_own_that_cannot_be_read_ends_the_command_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "syn.py").write_text("x = 1\ndef x(:\n")
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "syn.yaml").write_text("_target_: my.syn.Net\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    words = ("--config-dir", str(tmp_path / "conf"), f"output_dir={tmp_path}/outputs")
    for more in (("-m", "model=syn,mlp"), ("model=syn", "--help")):
        done = train(tmp_path, *words, *more, env=env)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "SyntaxError" in done.stderr and f"{tmp_path}/my/syn.py:2" in done.stderr
        assert len(done.stderr.splitlines()) <= 4 and not (tmp_path / "outputs").exists()
