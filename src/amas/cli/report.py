"""`amas report`: how the fleet did in a window of time, as tables, JSON or one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import typer

from amas.cli.api import Api, home_at
from amas.cli.output import console, print_json
from amas.errors import InputUnusable
from amas.fleet.declared import seconds

if TYPE_CHECKING:
    from rich.table import Table as Grid

    from amas.agents.skills.report.model import Report, Table

STYLES = {"good": "green", "error": "red", "warning": "yellow", "note": "cyan"}
FIGURES_IN_A_LINE = 4


def report(folder: Path | None, *, since: str, output: Path | None, as_json: bool) -> None:
    """Print the report of the last `since`, and write it to `output` as one HTML file where that is given."""
    try:
        since_s = seconds(since)
    except ValueError:
        message = f"{since!r} is no length of time: write 10m, 1h or 7d"
        raise typer.BadParameter(message, param_hint="--since") from None
    if output is not None and not output.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    found = Api.of(home_at(folder)).get("/api/report", since_s=since_s)
    if as_json:
        print_json(found)
    if as_json and output is None:
        return
    from amas.agents.skills.report.render import to_html
    from amas.cli.report_page import page_of
    from amas.model.report import FleetReport

    page = page_of(msgspec.convert(found, FleetReport))
    if not as_json:
        _print(page)
    if output is not None:
        try:
            output.write_text(to_html(page), encoding="utf-8")
        except OSError as error:
            raise InputUnusable(f"--output {output} can't be written: {error.strerror}") from error
        if not as_json:
            console().print(f"\nwritten to {output}")


def _print(page: "Report") -> None:
    from rich.console import Group
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 3))
    cells = [
        Group(Text(each.label, style="dim"), Text(each.value, style=f"bold {STYLES.get(each.tone, '')}".strip()))
        for each in page.figures
    ]
    for first in range(0, len(cells), FIGURES_IN_A_LINE):
        grid.add_row(*cells[first : first + FIGURES_IN_A_LINE])
    out = console()
    out.print(Text(f"{page.title}: {page.headline}", style=f"bold {STYLES.get(page.verdict, '')}".strip()))
    out.print(Text(page.summary, style="dim"))
    out.print()
    out.print(grid)
    for section in page.sections:
        for found in (block.table for block in section.blocks if block.table):
            out.print()
            out.print(_grid(found))
            if found.note:
                out.print(Text(found.note, style="dim"))


def _grid(found: "Table") -> "Grid":
    from rich.table import Table as Grid
    from rich.text import Text

    shown = Grid(
        title=Text(found.caption), title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False
    )
    for place, column in enumerate(found.columns):
        shown.add_column(
            column.removeprefix("#"), justify="right" if column.startswith("#") else "left", no_wrap=place == 0, overflow="fold"
        )  # a name that is cut short can't be copied
    for row in found.rows:
        shown.add_row(*(Text(cell.text, style=STYLES.get(cell.tone, "")) for cell in row))
    return shown
