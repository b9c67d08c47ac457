"""What a bench has to say: lines, tables and figures, all derived from its record; nothing is printed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    screen: bool = True  # False: in table.md only


@dataclass(frozen=True)
class Series:
    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Figure:
    """Lines over a common axis, with `marks` as vertical lines; or `bars`, one number a name."""

    name: str  # of the file
    title: str
    x: str
    y: str
    series: tuple[Series, ...] = ()
    bars: Mapping[str, float] = field(default_factory=dict[str, float])
    marks: Mapping[str, float] = field(default_factory=dict[str, float])
    logarithmic: bool = True


@dataclass(frozen=True)
class Report:
    """`lines` is what a person reads first; `facts` are derived numbers for programs."""

    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    figures: tuple[Figure, ...]
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    failures: tuple[str, ...] = ()  # of claims that were checked; the exit code is 1 then
