"""The worked example of docs/bench.md is a bench that runs."""

import re
import sys
import types
from types import SimpleNamespace

import pytest

from assay import PROJECT
from assay.bench.device import Device
from assay.bench.main import bench_of
from assay.bench.record import Record
from assay.bench.session import Session
from tests.bench.runs import QUICK


def test_the_example_measures_checks_and_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PROJECT / "docs" / "bench.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    module = types.ModuleType("assay.bench.softmax")
    exec(code, module.__dict__)
    monkeypatch.setitem(sys.modules, "assay.bench.softmax", module)
    session = Session([Device("cpu")], Record(), seconds=30, seed=0, rule=QUICK)
    bench_of("softmax").measure(SimpleNamespace(sizes=(16, 64)), session)
    rows = session.record.ok()
    assert [m.task.size for m in rows] == [16, 64] and all(m.check and m.check.right for m in rows)
    report = bench_of("softmax").report(session.record)
    assert [row[0] for row in report.tables[0].rows] == ["16", "64"]
    assert len(report.figures[0].series[0].points) == 2
