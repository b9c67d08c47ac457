"""A sweep in TensorBoard: the HParams tab, and for each group of seeds a run with mean, least and most.

TensorBoard takes the first `Experiment` record that it finds, so there is one, at the sweep's root, with all
keys and metrics; each job has a session record with its status at the end, and what the checkpoint that is
best by validation measured, under `val_best/`: a name that comes after those of the curves. All of it is made
anew from the folders, in files of their own. Needs neither torch nor TensorFlow.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from assay.sweep.grid import job_name
from assay.sweep.leaderboard import METRICS, Entry, Leaderboard
from assay.sweep.report import CURVES, Points, band, number_in, read_curves

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
