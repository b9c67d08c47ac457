"""How reports and lines look on a terminal, however wide it is; in a file they are as wide as a table needs.

No word is broken: what there is no room for goes by its importance.
"""

import re
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table as Grid
from rich.text import Text

from assay.report import Report, Table

WIDTH = 160  # of what is not a terminal
NARROWEST = 24  # a last column of prose gets so much before other columns are left out
SHORTEST = 10  # what is left of a name that is cut
BLANKS = 3  # between two columns
LONGEST_NUMBER = 18  # characters; what is longer is a sentence that begins with one
NUMBER = re.compile(r"[-+]?\d[\d.,]*\S{0,4}(\s|$)")  # with its unit, if it has one; not a date or an id


def show(report: Report, console: Console) -> None:
    """Print the tables that belong on the screen, then the lines."""
    for table in report.tables:
        for part in parts(table, console.width) if table.screen and table.rows else ():
            console.print(grid(part, console.width))
    for line in report.lines:
        console.print(line, markup=False, highlight=False)
    for failure in report.failures:
        console.print(f"[bold red]FAILED[/] {escape(failure)}", highlight=False)


def grid(table: Table, width: int) -> Grid:
    """The table as rich prints it in so many columns of a screen; numbers stand to the right.

    Empty columns are left out, and spare ones where there is no room for them. What is too wide then wraps at
    its blanks, the last column first; a name that is too long even so loses its middle, a number nothing.
    """
    table = _without_spare(table, width)
    widths, result = _fitted(_widths_of(table), width), Grid(box=box.SIMPLE_HEAD, pad_edge=False)
    result.title, result.title_justify, result.title_style = escape(table.title), "left", "bold"
    result.min_width = min(cell_len(table.title), width)  # or it would be broken over a narrow table
    for i, name in enumerate(table.columns):
        justify = "right" if _is_numeric(table, i) else "left"
        heading = name if cell_len(name) <= widths[i] or " " in name else name.rpartition(".")[2]  # of a key
        result.add_column(escape(cut(heading, widths[i])), justify=justify, width=widths[i])
    for row, of_row in zip(table.rows, table.styles or ("",) * len(table.rows), strict=True):
        result.add_row(*(escape(cut(cell, widths[i])) for i, cell in enumerate(row)), style=of_row)
    return result


def parts(table: Table, width: int) -> list[Table]:
    """The table, in several if it is too wide at its least: each has the first column and some others."""
    table = _without_spare(table, width)
    columns = enumerate(_widths_of(table))
    least = [one.wrapped if _is_numeric(table, i) else one.cut for i, one in columns]
    blocks = [[0]]
    for i in range(1, len(least)):
        if len(blocks[-1]) > 1 and _total([least[j] for j in (*blocks[-1], i)]) > width:
            blocks.append([0])
        blocks[-1].append(i)
    names = [{table.columns[i] for i in block} for block in blocks]
    cut = [table.without(*(one for one in table.columns if one not in block)) for block in names]
    return [replace(one, title=one.title if at == 0 else "") for at, one in enumerate(cut)]


class _Widths(NamedTuple):
    """How wide a column is: whole, wrapped at its blanks, and with its longest words cut."""

    whole: int
    wrapped: int
    cut: int


def _widths_of(table: Table) -> list[_Widths]:
    columns = [(name, *(row[i] for row in table.rows)) for i, name in enumerate(table.columns)]
    wrapped = [_longest_word(cells) for cells in columns]
    least = [
        max(_longest_word(cells[1:]), SHORTEST // 2) if _is_numeric(table, i) else min(wrapped[i], SHORTEST)
        for i, cells in enumerate(columns)
    ]
    return [
        _Widths(max(map(cell_len, cells)), *each)
        for cells, *each in zip(columns, wrapped, least, strict=True)
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + BLANKS * len(widths) - 1


def _without_spare(table: Table, width: int) -> Table:
    """The columns that are not empty, and of the spare ones those that there is room for."""
    table, spare = table.without(*table.empty_columns), list(table.spare)
    while spare:
        whole = [one.whole for one in _widths_of(table)]
        if _total([*whole[:-1], *(min(one, NARROWEST) for one in whole[-1:])]) <= width:
            break
        table = table.without(spare.pop(0))
    return table


def _fitted(columns: Sequence[_Widths], width: int) -> list[int]:
    """How wide each column is to be: the widest gives way first."""
    every, widths = list(range(len(columns))), [one.whole for one in columns]
    wrapped, least = [one.wrapped for one in columns], [one.cut for one in columns]
    prose = [max(one, NARROWEST) for one in wrapped]
    for limit, among in ((prose, every[-1:]), (wrapped, every), (least, every)):
        while _total(widths) > width and (slack := [i for i in among if widths[i] > limit[i]]):
            widths[max(slack, key=widths.__getitem__)] -= 1
    return widths


def _longest_word(cells: Sequence[str]) -> int:
    return max((cell_len(word) for cell in cells for word in cell.split()), default=0)


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column].removeprefix("about ") for row in table.rows]
    return all(cell in ("", "-") or (len(cell) <= LONGEST_NUMBER and NUMBER.match(cell)) for cell in cells)


def cut(text: str, width: int) -> str:
    """The text with its longest words shortened in their middles to the width."""

    def word(word: str) -> str:
        kept = width - 1
        return f"{word[: kept - kept // 2]}…{word[len(word) - kept // 2 :]}" if len(word) > width else word

    return " ".join(map(word, text.split(" ")))


def on_a_line(parts: Sequence[tuple[int, str]], width: int, between: str = "  ") -> list[str]:
    """Each part's text if there is room for it, those of the least rank first, else nothing."""
    kept, left = [""] * len(parts), width + len(between)
    for i in sorted(range(len(parts)), key=lambda i: parts[i][0]):
        text = parts[i][1]
        if text and cell_len(text) + len(between) <= left:
            kept[i], left = text, left - cell_len(text) - len(between)
    return kept


def screen() -> Console:
    """Standard output with a terminal's own width; in a file, wide enough for a table."""
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False)


@contextmanager
def waiting(text: str, spinning: bool = True) -> Generator[None]:
    """Say on a terminal what takes its time inside the block; it leaves nothing behind.

    What spins is drawn by a thread: where processes are started it must stand still, or signals go astray.
    """
    console, both = Console(stderr=True), sys.stdout.isatty()  # what else is printed goes above it
    shown = Spinner("dots", Text(text)) if spinning else Text(text)
    with Live(shown, console=console, transient=True, redirect_stdout=both, auto_refresh=spinning):
        yield
