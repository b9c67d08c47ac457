"""A sweep in pictures: the figures of its report, and TensorBoard's HParams tab and groups of seeds.

TensorBoard takes the first `Experiment` record that it finds, so there is one, at the sweep's root, with all
keys and metrics; each job has a session record with its status at the end, and what the checkpoint that is
best by validation measured, under `val_best/`: a name that comes after those of the curves. All of it is made
anew from the folders, in files of their own. Needs neither torch nor TensorFlow.
"""

import csv
import io
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from assay.sweep.grid import job_name
from assay.sweep.leaderboard import METRICS, Entry, Leaderboard

# made by protobuf at run time: the type checker does not see what is in them
API: Any = api_pb2
DATA: Any = plugin_data_pb2
LAYOUT: Any = layout_pb2
Event: Any = event_pb2.Event  # pyright: ignore[reportAttributeAccessIssue]
Summary: Any = summary_pb2.Summary  # pyright: ignore[reportAttributeAccessIssue]
STRING: Any = types_pb2.DT_STRING  # pyright: ignore[reportAttributeAccessIssue]
SUFFIX = ".sweep"
STATUS = {
    "completed": API.STATUS_SUCCESS,
    "failed": API.STATUS_FAILURE,
    "diverged": API.STATUS_FAILURE,
}
BEST = "val_best"
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
MOST_GROUPS = 10  # drawn, the best ones: more lines cannot be read
MOST_BARS = 60
Points = Mapping[int, float]  # by step


def write_views(board: Leaderboard, root: Path) -> None:
    """Replace TensorBoard's view of the sweep in `root`; the jobs' own files are left as they are."""
    begun = [row.entry for row in board.rows if row.entry.result]
    _write(
        root, [_record(metadata.EXPERIMENT_TAG, DATA.HParamsPluginData(experiment=_experiment(board, begun)))]
    )
    for entry in begun:
        _write(Path(entry.folder), _session(board, entry))
    shown: set[str] = set()
    for group in board.groups:
        done = [entry for entry in group.entries if entry.status == "completed"]
        if len(done) > 1:
            values = [f"{key}={done[0].value(key)}" for key in board.group_keys]
            shown.add(name := job_name(values, board.group_keys, group.id))
            _write(root / "groups" / name, _bands([read_curves(entry) for entry in done]))
    for folder in (root / "groups").glob("*"):
        if folder.name not in shown:  # of an earlier look, when other keys differed
            shutil.rmtree(folder)


def _write(folder: Path, events: Sequence[Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        stale.unlink()
    writer = EventFileWriter(str(folder), filename_suffix=SUFFIX)
    for event in events:
        writer.add_event(event)
    writer.close()


def _record(tag: str, data: Any) -> Any:
    described = metadata.create_summary_metadata(data)
    return Event(
        summary=Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])
    )


def _experiment(board: Leaderboard, entries: Sequence[Entry]) -> Any:
    names = [name for name in METRICS if any(entry.metric(name) is not None for entry in entries)]
    metrics = [
        API.MetricInfo(name=API.MetricName(tag=f"{BEST}/{name}"), display_name=f"best {name}")
        for name in names
    ]
    keys: list[Any] = []
    for key in board.keys:
        is_numeric = all(number_in(entry.value(key)) is not None for entry in entries)
        keys.append(
            API.HParamInfo(name=key, type=API.DATA_TYPE_FLOAT64 if is_numeric else API.DATA_TYPE_STRING)
        )
    return API.Experiment(name=board.metric, hparam_infos=keys, metric_infos=metrics)


def _session(board: Leaderboard, entry: Entry) -> list[Any]:
    start = DATA.SessionStartInfo(group_name=entry.id)
    for key in board.keys:
        number = number_in(entry.value(key))
        if number is None:
            start.hparams[key].string_value = entry.value(key)
        else:
            start.hparams[key].number_value = number
    events = [_record(metadata.SESSION_START_INFO_TAG, DATA.HParamsPluginData(session_start_info=start))]
    step = entry.result.get("best", {}).get("step", 0)
    measured = {name: entry.metric(name) for name in METRICS}
    events += [
        _scalar(f"{BEST}/{name}", step, value) for name, value in measured.items() if value is not None
    ]
    if entry.status != "running":
        end = DATA.SessionEndInfo(status=STATUS.get(entry.status, API.STATUS_UNKNOWN))
        events.append(_record(metadata.SESSION_END_INFO_TAG, DATA.HParamsPluginData(session_end_info=end)))
    return events


def _scalar(tag: str, step: int, value: float) -> Any:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


def _bands(jobs: Sequence[Mapping[str, Points]]) -> list[Any]:
    events = [_layout()]
    for name in CURVES:
        for step, values in band([job.get(name, {}) for job in jobs]).items():
            for part, value in zip(("mean", "min", "max"), values, strict=True):
                events.append(_scalar(f"{name}/{part}", step, value))
    return events


def _layout() -> Any:
    """Charts of a mean between its least and most, in the tab Custom Scalars."""
    charts: list[Any] = []
    for name in CURVES:
        series = LAYOUT.MarginChartContent.Series(
            value=f"{name}/mean", lower=f"{name}/min", upper=f"{name}/max"
        )
        charts.append(LAYOUT.Chart(title=name, margin=LAYOUT.MarginChartContent(series=[series])))
    layout = LAYOUT.Layout(category=[LAYOUT.Category(title="mean over seeds", chart=charts)])
    value = Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG,
        metadata=custom_scalar.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(layout.SerializeToString(), dtype=STRING),
    )
    return Event(summary=Summary(value=[value]))


def number_in(text: str) -> float | None:
    """The number that a text is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None


def read_curves(entry: Entry) -> dict[str, Points]:
    """The curves of a job, from its `metrics.csv`."""
    file = Path(entry.folder) / "metrics.csv"
    if not file.is_file():
        return {}
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {name: {int(row["step"]): float(row[name]) for row in rows if row.get(name)} for name in CURVES}


def band(curves: Sequence[Points]) -> dict[int, tuple[float, float, float]]:
    """Mean, least and most at each step that all the curves have."""
    steps = sorted(set.intersection(*(set(curve) for curve in curves))) if curves else []
    at = {step: [curve[step] for curve in curves] for step in steps}
    return {step: (statistics.fmean(values), min(values), max(values)) for step, values in at.items()}


def svg_figures(board: Leaderboard) -> dict[str, str]:
    """The figures of the report by title, each as an `<svg>` element."""
    drawn = {
        "Curves": curves(board),
        f"Keys against {board.metric}": keys_against_metric(board),
        "Times": times(board),
    }
    return {title: svg(figure, title) for title, figure in drawn.items() if figure is not None}


def svg(figure: Figure, salt: str) -> str:
    """The figure as an `<svg>` element; the same figure gives the same text."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none", "font.family": "sans-serif"}):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def curves(board: Leaderboard) -> Figure:
    """Each job as a thin line, the mean of its group as a thick one, between least and most."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    groups = [group for group in board.groups if group.completed][:MOST_GROUPS]
    done = [[one for one in group.entries if one.status == "completed"] for group in groups]
    points = [[read_curves(one) for one in entries] for entries in done]
    for axes, name in zip(figure.subplots(1, 2), ("val/loss", "val/accuracy"), strict=True):
        for at, (entries, jobs) in enumerate(zip(done, points, strict=True)):
            label = ", ".join(f"{key}={entries[0].value(key)}" for key in board.group_keys) or "all jobs"
            _draw(axes, [job[name] for job in jobs if job.get(name)], f"C{at}", label)
        axes.set(xlabel="step", ylabel=name)
        axes.grid(alpha=0.3)
    if groups:
        figure.axes[0].legend(fontsize=8)
    return figure


def _draw(axes: Axes, jobs: Sequence[Points], color: str, label: str) -> None:
    for job in jobs:
        axes.plot(list(job), list(job.values()), color=color, linewidth=0.6, alpha=0.5)
    if bands := band(jobs):
        mean, low, high = zip(*bands.values(), strict=True)
        axes.plot(list(bands), mean, "o-", color=color, linewidth=2, markersize=4, label=label)
        axes.fill_between(list(bands), low, high, color=color, alpha=0.15, linewidth=0)


def keys_against_metric(board: Leaderboard) -> Figure | None:
    """One panel a key: its values along the bottom, each job's metric above; None where there is none."""
    keys = board.keys[:6]
    entries = [row.entry for row in board.rows]
    measured = [(one, value) for one in entries if (value := one.metric(board.metric)) is not None]
    if not keys or not measured:
        return None
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for axes, key in zip(figure.subplots(1, len(keys), sharey=True, squeeze=False)[0], keys, strict=True):
        texts = [one.value(key) for one, _ in measured]
        numbers = [number for text in texts if (number := number_in(text)) is not None]
        is_numeric = len(numbers) == len(texts)
        if is_numeric and min(numbers) > 0 and len(set(numbers)) > 2:
            axes.set_xscale("log")
        axes.plot(numbers if is_numeric else texts, [value for _, value in measured], "o", alpha=0.6)
        axes.set_xlabel(key)
        axes.margins(x=0.2)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel(board.metric)
    return figure


def times(board: Leaderboard) -> Figure | None:
    """Seconds of each completed job: fitting, and all the rest; None where none completed."""
    done = [row.entry for row in board.rows if row.entry.status == "completed"][:MOST_BARS][::-1]
    if not done:
        return None
    figure = Figure(figsize=(10, 0.8 + 0.24 * len(done)), layout="constrained")
    axes = figure.subplots()
    names = [" ".join(one.value(key) for key in board.keys) or one.id for one in done]
    fit = [one.result["seconds"]["fit"] or 0.0 for one in done]
    rest = [one.result["seconds"]["total"] - seconds for one, seconds in zip(done, fit, strict=True)]
    axes.barh(range(len(done)), fit, label="fitting")
    axes.barh(range(len(done)), rest, left=fit, color="0.8", label="starting, testing, figures")
    axes.set_yticks(range(len(done)), names, fontsize=8)
    axes.set_xlabel("seconds")
    axes.legend(fontsize=8)
    return figure
