"""A sweep in TensorBoard: the HParams tab, and for each group of seeds a run with mean, least and most.

TensorBoard takes the first `Experiment` record that it finds, so there is one, at the sweep's root, with all
keys and metrics; each job has a session record with its status at the end. All of it is made anew from the
folders, in files of their own. Needs neither torch nor TensorFlow.
"""

import csv
import re
import shutil
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import event_pb2, summary_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import metadata as custom_scalar
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util

from assay.sweep.leaderboard import METRICS, Entry, Group, Leaderboard
from assay.sweep.table import key_value

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
    "running": API.STATUS_RUNNING,
}
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")
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
            name = re.sub(r"[^\w.=,-]+", "_", _name(board, group))[:100]  # file names have an end
            shown.add(f"{name}-{group.id}")
            _write(root / "groups" / f"{name}-{group.id}", _bands([read_curves(entry) for entry in done]))
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


def _name(board: Leaderboard, group: Group) -> str:
    return ",".join(f"{key}={key_value(group.entries[0], key)}" for key in board.group_keys) or "all"


def _record(tag: str, data: Any) -> Any:
    described = metadata.create_summary_metadata(data)
    return Event(
        summary=Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])
    )


def _experiment(board: Leaderboard, entries: Sequence[Entry]) -> Any:
    found = [name for name in METRICS if any(entry.metric(name) is not None for entry in entries)]
    of = {True: API.DATA_TYPE_FLOAT64, False: API.DATA_TYPE_STRING}
    keys = [API.HParamInfo(name=key, type=of[_is_numeric(entries, key)]) for key in board.keys]
    tags = [(API.MetricName(tag=f"best/{name}"), f"best {name}") for name in found]
    metrics = [API.MetricInfo(name=tag, display_name=shown) for tag, shown in tags]
    return API.Experiment(name=board.metric, hparam_infos=keys, metric_infos=metrics)


def _is_numeric(entries: Sequence[Entry], key: str) -> bool:
    return all(_as_number(key_value(entry, key)) is not None for entry in entries)


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _session(board: Leaderboard, entry: Entry) -> list[Any]:
    start = DATA.SessionStartInfo(group_name=entry.id)
    for key in board.keys:
        value = key_value(entry, key)
        number = _as_number(value)
        if number is not None:
            start.hparams[key].number_value = number
        else:
            start.hparams[key].string_value = value
    events = [_record(metadata.SESSION_START_INFO_TAG, DATA.HParamsPluginData(session_start_info=start))]
    step = entry.result.get("best", {}).get("step", 0)
    for name in METRICS:
        value = entry.metric(name)
        if value is not None:
            events.append(_scalar(f"best/{name}", step, value))
    status = STATUS.get(entry.status, API.STATUS_UNKNOWN)
    if status != API.STATUS_RUNNING:
        end = DATA.SessionEndInfo(status=status)
        events.append(_record(metadata.SESSION_END_INFO_TAG, DATA.HParamsPluginData(session_end_info=end)))
    return events


def _scalar(tag: str, step: int, value: float) -> Any:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=tag, simple_value=value)]))


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


def _bands(jobs: Sequence[Mapping[str, Points]]) -> list[Any]:
    events = [_layout()]
    for name in CURVES:
        for step, values in band([job.get(name, {}) for job in jobs]).items():
            for part, value in zip(("mean", "min", "max"), values, strict=True):
                events.append(_scalar(f"{name}/{part}", step, value))
    return events


def _layout() -> Any:
    """Charts of a mean between its least and most, in the tab Custom Scalars."""
    charts = [
        LAYOUT.Chart(
            title=name,
            margin=LAYOUT.MarginChartContent(
                series=[
                    LAYOUT.MarginChartContent.Series(
                        value=f"{name}/mean", lower=f"{name}/min", upper=f"{name}/max"
                    )
                ]
            ),
        )
        for name in CURVES
    ]
    layout = LAYOUT.Layout(category=[LAYOUT.Category(title="mean over seeds", chart=charts)])
    value = Summary.Value(
        tag=custom_scalar.CONFIG_SUMMARY_TAG,
        metadata=custom_scalar.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(layout.SerializeToString(), dtype=STRING),
    )
    return Event(summary=Summary(value=[value]))
