"""Benches as a test runs them: the words that a user types, on devices that the test gives."""

import importlib
from collections.abc import Sequence
from typing import Any, cast

from assay.bench.device import Cpu, Device
from assay.bench.main import Bench
from assay.bench.measure import Rule
from assay.bench.measurement import Record
from assay.bench.report import Report
from assay.bench.session import Session
from assay.config.schema import bench_schema
from assay.config.compose import compose
from assay.config.judge import judge

QUICK = Rule(least=3, most=6, sample_s=2e-4, warm_s=0.01)  # a few times are enough to see that there are any


def run(bench: str, *words: str, devices: Sequence[Device] | None = None) -> tuple[Record, Report]:
    """The record and the report of one bench, with nothing written."""
    composed = compose("bench", [f"bench={bench}", *words])
    config = judge(bench_schema(bench), composed)
    module = cast(Bench, importlib.import_module(f"assay.bench.{bench}"))
    session = Session(devices or [Cpu()], {}, config.seconds, config.seed, rule=QUICK)
    module.measure(config, session)
    return session.record, module.report(config, session.record)


def cells(report: Report, title: str, column: str) -> list[Any]:
    """One column of the table whose title begins so."""
    table = next(table for table in report.tables if table.title.startswith(title))
    return [row[table.columns.index(column)] for row in table.rows]
