"""What a report is made of, whatever it is rendered as: sections of blocks, tables of cells, and tasks that every figure names.

A cell holds plain text and says what it is (`kind`); the renderers escape by that, so nothing here is Markdown or HTML.
Made by `gather.py` and the `section_*.py` files, read by `render.py`.
"""

from collections.abc import Sequence
from typing import Literal

import msgspec

from amas.agents.skills.charts import Chart

CellKind = Literal["text", "code", "number", "badge", "link", "tasks"]
Tone = Literal["", "good", "error", "warning", "note", "muted"]


class TaskRef(msgspec.Struct, frozen=True):
    """A task as it is named in running text."""

    short: str
    anchor: str


class Cell(msgspec.Struct, frozen=True):
    """One cell of a table."""

    text: str = ""
    kind: CellKind = "text"
    tone: Tone = ""
    href: str = ""
    """For `link`: a relative address that we made ourselves."""
    refs: tuple[TaskRef, ...] = ()
    """For `tasks`."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table with a caption; a column whose title starts with `#` holds numbers."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """What was left out, and where it is."""


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in a section: exactly one of text, table, chart, output."""

    text: str = ""
    refs: tuple[TaskRef, ...] = ()
    """The tasks that a text's figures come from."""
    table: Table | None = None
    chart: Chart | None = None
    output: str = ""
    """The last lines of a program, shown as they are."""
    folded: str = ""
    """The line to click on, for what is long and seldom wanted."""


class Section(msgspec.Struct, frozen=True):
    """A heading and what is under it."""

    id: str
    title: str
    blocks: Sequence[Block]


class KeyFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One number that a reader should take away."""

    label: str
    value: str
    tone: Tone = ""
    refs: tuple[TaskRef, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The whole report."""

    title: str
    goal: str
    source: str
    headline: str
    summary: str
    verdict: Tone
    figures: Sequence[KeyFigure]
    sections: Sequence[Section]
    made_by: str


def text(value: object, tone: Tone = "") -> Cell:
    """Return a cell of words."""
    return Cell(str(value), tone=tone)


def code(value: object) -> Cell:
    """Return a cell with a name from a program."""
    return Cell(str(value), "code")


def number(value: float | None, *, digits: int = 2, unit: str = "") -> Cell:
    """Return a cell with a number, its thousands apart; empty for none."""
    return Cell("" if value is None else figure(value, digits=digits) + unit, "number")


def tasks(refs: Sequence[TaskRef]) -> Cell:
    """Return a cell that names tasks."""
    return Cell(kind="tasks", refs=tuple(refs))


def figure(value: float, *, digits: int = 2) -> str:
    """Return a number as people write it."""
    return f"{int(value):,}" if float(value).is_integer() else f"{value:,.{digits}f}"


def percent(share: float) -> str:
    """Return a share from 0 to 1 in per cent; only the whole is 100 %."""
    shown = round(share * 100, 1)
    return f"{min(shown, 99.9) if share < 1 else 100:g} %"


def plural(count: float, one: str, many: str = "") -> str:
    """Return `1 error`, `3 errors`."""
    return f"{figure(count)} {one if count == 1 else many or one + 's'}"
