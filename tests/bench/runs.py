"""Benches as a test runs them: the overrides that a user types, on devices that the test gives."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from assay.bench.device import Device
from assay.bench.main import bench_of
from assay.bench.measure import Rule
from assay.bench.record import Record
from assay.bench.session import Session
from assay.config.load import load
from assay.report import Report
from tests.bench.fake import FakeDevice

QUICK = Rule(least=3, most=6, sample_s=2e-4, warm_s=0.01)  # a few times are enough to see that there are any


def config(bench: str, *overrides: str) -> Any:
    """The validated config of a command line."""
    return load("bench", [f"bench={bench}", *overrides]).config


def run(
    bench: str,
    *overrides: str,
    devices: Sequence[Device | FakeDevice] | None = None,
    environment: Mapping[str, Any] | None = None,
) -> tuple[Record, Report]:
    """The record and the report of one bench, with nothing written."""
    chosen = config(bench, *overrides)
    used = cast(Sequence[Device], devices or [Device("cpu")])
    around = {"devices": {device.name: device.title for device in used}, **(environment or {})}
    session = Session(used, Record(environment=around), chosen.seconds, chosen.seed, rule=QUICK)
    bench_of(bench).measure(chosen, session)
    return session.record, bench_of(bench).report(session.record)


def cells(report: Report, title: str, column: str) -> list[Any]:
    """One column of the table whose title begins so."""
    table = next(table for table in report.tables if table.title.startswith(title))
    return [row[table.columns.index(column)] for row in table.rows]
