"""Verdicts of two results: what the interval allows to say and no more."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from assay.bench.compare import compare
from assay.bench.main import main
from assay.bench.measurement import Measurement, Task, to_json
from assay.config.compose import compose as composed
from assay.errors import UserError

RANDOM = np.random.default_rng(0)
AROUND = {
    "cpu": {"name": "CPU"},
    "devices": {"cpu": "CPU"},
    "versions": {"torch": "2.15.0"},
    "blas": {"torch": "MKL"},
}


def timed(seconds: float, spread: float = 0.005, count: int = 40, size: int = 64) -> Measurement:
    times = seconds * (1 + spread * RANDOM.normal(size=count))
    return Measurement(Task("matmul", "torch", "cpu", threads=1, size=size), wall_s=tuple(times.tolist()))


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (timed(1.0), "SAME"),
        (timed(0.8), "FASTER"),
        (timed(1.3), "SLOWER"),
        (timed(1.02, spread=0.1), "UNCLEAR"),
        (timed(5.0, count=2), "UNCLEAR"),  # two times prove nothing
    ],
)
def test_the_verdict_of_a_row(after: Measurement, said: str) -> None:
    (row,) = compare([timed(1.0)], [after])
    assert row.verdict == said
    assert row.ratio.low <= row.after_s / row.before_s <= row.ratio.high


def test_rows_without_a_partner_or_a_good_time_are_left_out() -> None:
    bad = Measurement(Task("matmul", "torch", "cpu", threads=1, size=128), "skipped", "needs 3 GB, free 1 GB")
    assert len(compare([timed(1.0), bad, timed(1.0, size=32)], [timed(1.0), bad])) == 1


def written(folder: Path, *measurements: Measurement, around: Mapping[str, object] | None = None) -> Path:
    folder.mkdir()
    result = {"environment": {**AROUND, **(around or {})}, "measurements": [to_json(m) for m in measurements]}
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def run(before: Path, after: Path, *words: str) -> int:
    overrides = [f"compare=['{before}','{after}']", *words]
    return main(composed("bench", overrides), overrides)


def test_the_command_compares_files_and_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = written(tmp_path / "a", timed(1.0))
    newer = {"versions": {"torch": "2.16.0"}}
    after = written(tmp_path / "b", timed(1.3), timed(1.0, size=32), around=newer)
    assert run(before / "result.json", after) == 0
    screen = capsys.readouterr().out
    assert "SLOWER" in screen
    assert "1 rows are in one result only" in screen
    assert "versions differ: {'torch': '2.15.0'} and {'torch': '2.16.0'}" in screen


def test_fail_if_slower_is_for_scripts(tmp_path: Path) -> None:
    slow, fast = written(tmp_path / "slow", timed(1.3)), written(tmp_path / "fast", timed(1.0))
    assert run(fast, slow, "fail_if_slower=true") == 1
    assert run(slow, fast, "fail_if_slower=true") == 0


def test_what_is_no_result_is_said_to_be_none(tmp_path: Path) -> None:
    good = written(tmp_path / "good", timed(1.0))
    with pytest.raises(UserError, match=r"compare: .*nowhere.* cannot be read: No such file"):
        run(good, tmp_path / "nowhere")
    (tmp_path / "other.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=r"other\.json is no result of a bench"):
        run(good, tmp_path / "other.json")
    with pytest.raises(UserError, match="have no row in common"):
        run(good, written(tmp_path / "none", timed(1.0, size=7)))
