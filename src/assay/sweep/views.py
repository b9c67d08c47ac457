"""A sweep in TensorBoard: the tab HParams, and the groups of seeds. Needs torch, whose writer it uses.

TensorBoard takes the first `Experiment` record that it finds, so there is one, at the sweep's root, with all
keys and metrics; each job has a session record with its status at the end, and what the checkpoint that is
best by validation measured, under `val_best/`: a name that comes after those of the curves. All of it is made
anew from the folders, in files of their own.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from torch.utils.tensorboard import FileWriter, summary

from assay.sweep.grid import job_name
from assay.sweep.job import Entry
from assay.sweep.leaderboard import METRICS, Group, Leaderboard
from assay.sweep.report import CURVES, mean_of, numbers_in, read_curves

# without types, or made by protobuf at run time
SUMMARY: Any = summary
API: Any = api_pb2
DATA: Any = plugin_data_pb2
SUFFIX = ".sweep"
BAND = ("mean", "min", "max")
Summaries = Sequence[tuple[Any, int]]  # each with its step


def write_views(board: Leaderboard, root: Path) -> None:
    """Replace TensorBoard's view of the sweep in `root`; the jobs' own files are left as they are."""
    begun = [one for one in board.entries if one.result]
    columns = {key: numbers_in([one.value(key) for one in begun]) for key in board.keys}
    shown = {f"val_best/{name}": 0.0 for name in METRICS for one in begun if one.metric(name) is not None}
    for at, entry in enumerate(begun):
        values = {key: column[at] for key, column in columns.items()}
        experiment, start, end = SUMMARY.hparams(values, shown)
        _write(entry.folder, [(start, 0), *_best(entry), *_end(entry, end)])
        if at == 0:
            _write(root, [(experiment, 0)])
    groups = [group for group in board.groups if len(group.completed) > 1]
    names = [job_name(one.entries[0].overrides, board.group_keys, one.id) for one in groups]
    for name, group in zip(names, groups, strict=True):
        _write(root / "groups" / name, _bands(group))
    for folder in (root / "groups").glob("*"):
        if folder.name not in names:  # of an earlier look, when other keys differed
            shutil.rmtree(folder)


def _best(entry: Entry) -> Summaries:
    step = entry.result.get("best", {}).get("step", 0)
    measured = {name: entry.metric(name) for name in METRICS}
    return [
        (SUMMARY.scalar(f"val_best/{name}", value), step)
        for name, value in measured.items()
        if value is not None
    ]


def _end(entry: Entry, end: Any) -> Summaries:
    """torch's record of a session's end, which knows no other status than success."""
    unknown = API.STATUS_SUCCESS if entry.status == "completed" else API.STATUS_UNKNOWN
    info = DATA.SessionEndInfo(status=API.STATUS_FAILURE if entry.failed else unknown)
    data = metadata.create_summary_metadata(DATA.HParamsPluginData(session_end_info=info))
    end.value[0].metadata.CopyFrom(data)
    return [] if entry.status == "running" else [(end, 0)]


def _bands(group: Group) -> Summaries:
    """Charts of a mean between its least and most, in the tab Custom Scalars."""
    jobs = [read_curves(one) for one in group.completed]
    tags = {name: [f"{name}/{part}" for part in BAND] for name in CURVES}
    layout = {"mean over seeds": {name: ["Margin", tags[name]] for name in CURVES}}
    scalars = [
        (SUMMARY.scalar(tag, value), step)
        for name in CURVES
        for step, values in mean_of([job[name] for job in jobs]).items()
        for tag, value in zip(tags[name], values, strict=True)
    ]
    return [(SUMMARY.custom_scalars(layout), 0), *scalars]


def _write(folder: Path, summaries: Summaries) -> None:
    for stale in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        stale.unlink()
    writer = FileWriter(str(folder), filename_suffix=SUFFIX)
    for record, step in summaries:
        writer.add_summary(record, step)
    writer.close()
