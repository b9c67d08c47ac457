"""Two results, row by row: SAME, FASTER, SLOWER or UNCLEAR, by a bootstrap interval of the ratio of medians.

A row is FASTER or SLOWER only where the whole interval lies beyond a margin of 2 %, SAME only where the whole
interval lies within it; everything else is UNCLEAR: more times are needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from assay.bench import words
from assay.bench.measurement import Measurement
from assay.bench.report import Report, Table
from assay.bench.statistics import Interval, ratio_interval

MARGIN = 0.02
FEWEST = 3  # times on either side, for any verdict

Verdict = Literal["SAME", "FASTER", "SLOWER", "UNCLEAR"]


@dataclass(frozen=True)
class Row:
    key: str
    before_s: float
    after_s: float
    ratio: Interval  # after over before
    verdict: Verdict


def verdict(before: Sequence[float], after: Sequence[float], ratio: Interval) -> Verdict:
    """What the interval of the ratio allows to say."""
    if min(len(before), len(after)) < FEWEST:
        return "UNCLEAR"
    if ratio.high < 1 - MARGIN:
        return "FASTER"
    if ratio.low > 1 + MARGIN:
        return "SLOWER"
    return "SAME" if ratio.low >= 1 - MARGIN and ratio.high <= 1 + MARGIN else "UNCLEAR"


def compare(before: Sequence[Measurement], after: Sequence[Measurement]) -> list[Row]:
    """The rows that both results have a good time for, in the order of the first."""
    second = {m.task.key: m for m in after if m.ok and m.times}
    rows: list[Row] = []
    for m in before:
        other = second.get(m.task.key)
        if other is None or not m.ok or not m.times:
            continue
        ratio = ratio_interval(m.times, other.times)
        said = verdict(m.times, other.times, ratio)
        rows.append(Row(m.task.key, m.median_s, other.median_s, ratio, said))
    return rows


def report(rows: Sequence[Row], left_out: int, differences: Sequence[str]) -> Report:
    """The rows as a table; `differences` are lines on what else was not alike."""
    cells = tuple(
        (
            row.key,
            words.seconds(row.before_s),
            words.seconds(row.after_s),
            f"{row.after_s / row.before_s:.3f}",
            f"{row.ratio.low:.3f} .. {row.ratio.high:.3f}",
            row.verdict,
        )
        for row in rows
    )
    columns = ("row", "before", "after", "after/before", "95 % interval", "verdict")
    counts = {
        name: sum(row.verdict == name for row in rows) for name in ("SAME", "FASTER", "SLOWER", "UNCLEAR")
    }
    summary = ", ".join(f"{count} {name}" for name, count in counts.items())
    extra = [f"{left_out} rows are in one result only, or have no good time"] if left_out else []
    return Report((*differences, *extra, summary), (Table("after against before", columns, cells),), ())
