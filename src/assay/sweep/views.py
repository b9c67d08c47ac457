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
from torch.utils.tensorboard import SummaryWriter, summary

from assay.run.report import read_curves
from assay.sweep.grid import job_name
from assay.sweep.job import Entry
from assay.sweep.leaderboard import Group, Leaderboard
from assay.sweep.report import mean_of, numbers_in

# without types, or made by protobuf at run time
HPARAMS: Any = summary.hparams
API: Any = api_pb2
DATA: Any = plugin_data_pb2
SUFFIX = ".sweep"
STATUS = {"completed": API.STATUS_SUCCESS, "failed": API.STATUS_FAILURE, "diverged": API.STATUS_FAILURE}


def write_views(board: Leaderboard, root: Path) -> None:
    """Replace TensorBoard's view of the sweep in `root`; the jobs' own files are left as they are."""
    begun = [one for one in board.entries if one.result]
    columns = {key: numbers_in([one.value(key) for one in begun]) for key in board.keys}
    shown = {
        f"val_best/{name}": 0.0 for name in board.metrics for one in begun if one.metric(name) is not None
    }
    for at, entry in enumerate(begun):
        values = {key: column[at] for key, column in columns.items()}
        experiment, start, end = HPARAMS(values, shown)
        _write_session(entry, board.metrics, start, end)
        if at == 0:
            with _writer(root) as writer:
                _add(writer, experiment)
    groups = [group for group in board.groups if len(group.completed) > 1]
    names = [job_name(one.entries[0].overrides, board.group_keys, one.id) for one in groups]
    for name, group in zip(names, groups, strict=True):
        _write_bands(group, board.curves, root / "groups" / name)
    for folder in (root / "groups").glob("*"):
        if folder.name not in names:  # of an earlier look, when other keys differed
            shutil.rmtree(folder)


def _write_session(entry: Entry, metrics: Sequence[str], start: Any, end: Any) -> None:
    """Between torch's records, of which the second knows no other status than success."""
    info = DATA.SessionEndInfo(status=STATUS.get(entry.status, API.STATUS_UNKNOWN))
    data = metadata.create_summary_metadata(DATA.HParamsPluginData(session_end_info=info))
    end.value[0].metadata.CopyFrom(data)
    with _writer(entry.folder) as writer:
        _add(writer, start)
        for name in metrics:
            value = entry.metric(name)
            if value is not None:
                writer.add_scalar(f"val_best/{name}", value, entry.result.get("best", {}).get("step", 0))
        if entry.status != "running":
            _add(writer, end)


def _write_bands(group: Group, curves: Sequence[str], folder: Path) -> None:
    """Charts of a mean between its least and most, in the tab Custom Scalars."""
    jobs = [read_curves(one.folder, curves) for one in group.completed]
    tags = {name: [f"{name}/{part}" for part in ("mean", "min", "max")] for name in curves}
    with _writer(folder) as writer:
        writer.add_custom_scalars({"mean over seeds": {name: ["Margin", tags[name]] for name in curves}})
        for name in curves:
            for step, values in mean_of([job[name] for job in jobs]).items():
                for tag, value in zip(tags[name], values, strict=True):
                    writer.add_scalar(tag, value, step)


def _writer(folder: Path) -> SummaryWriter:
    for stale in folder.glob(f"events.out.tfevents.*{SUFFIX}"):
        stale.unlink()
    return SummaryWriter(str(folder), filename_suffix=SUFFIX)


def _add(writer: Any, record: Any) -> None:
    writer.file_writer.add_summary(record)
