"""Tables for the screen (rich) and for `table.md`."""

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as Grid

from assay.bench.report import Report, Table


def show(report: Report, console: Console) -> None:
    """Print the tables that belong on the screen, then the lines."""
    for table in report.tables:
        if table.screen and table.rows:
            console.print(_grid(table))
    for line in report.lines:
        console.print(line, markup=False, highlight=False)
    for failure in report.failures:
        console.print(f"[bold red]FAILED[/] {escape(failure)}", highlight=False)


def _grid(table: Table) -> Grid:
    used = _used_columns(table)
    grid = Grid(title=table.title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for i in used:
        numeric = all(not row[i] or row[i].removeprefix("about ")[0] in "0123456789-+" for row in table.rows)
        grid.add_column(escape(table.columns[i]), justify="right" if numeric else "left")
    for row in table.rows:
        grid.add_row(*(escape(row[i]) for i in used))
    return grid


def _used_columns(table: Table) -> list[int]:
    """The columns that are not empty in every row."""
    return [i for i in range(len(table.columns)) if any(row[i] for row in table.rows)]


def markdown(report: Report, heading: str) -> str:
    """All tables and lines as one page."""
    parts = [f"# {heading}", "\n".join(f"- {line}" for line in report.lines)]
    parts += [f"**FAILED** {failure}" for failure in report.failures]
    parts += [f"## {table.title}\n\n{_markdown_table(table)}" for table in report.tables if table.rows]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_table(table: Table) -> str:
    used = _used_columns(table)
    lines = [[table.columns[i] for i in used], ["---"] * len(used)]
    lines += [[row[i].replace("|", "\\|") for i in used] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
