"""`research.tables`: the tables about a goal's topic, and what their numbers say, each statement with its rows.

A column counts as numbers when all its filled cells are, in the same unit: what mixes EUR and USD isn't compared.
"""

import re
from collections.abc import Mapping, Sequence

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Scope, Tool, specialist
from amas.agents.skills.research.found import goal_of, passages_of, tables_of
from amas.agents.skills.research.passages import Claim, Passage, Table, cite
from amas.agents.skills.research.search import Ranked, topic_of
from amas.model.task import Json

TABLES_MAX = 8
_NUMBER = re.compile(r"([^\d\s+.,-]{0,3})\s*([-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?)\s*([^\d\s.,]{0,6}(?:/\w{1,6})?)")
_ORDERS = frozenset({"year", "id", "date", "rank", "no", "no.", "nr", "#", "quarter", "month", "day"})
"""Columns whose numbers name a row and measure nothing."""


class Series(msgspec.Struct, frozen=True):
    """A column of numbers, with what each belongs to."""

    name: str
    labels: list[str]
    values: list[float]
    column: int
    rows: list[int]
    """Which row of the table each value stands in."""


def number_in(cell: str) -> tuple[float, str] | None:
    """Return a cell's number and its unit; None when it is none."""
    match = _NUMBER.fullmatch(cell.strip())
    return (float(match[2].replace(",", "")), match[1] + match[3]) if match else None


def series_of(table: Table) -> list[Series]:
    """Return the columns that hold measurements."""
    found = []
    for column, name in enumerate(table.columns):
        filled = [(number, row[column]) for number, row in enumerate(table.rows) if row[column]]
        read = [(number, number_in(cell)) for number, cell in filled]
        good = [(number, each) for number, each in read if each is not None]
        if len(good) < 2 or len(good) < len(filled) or len({unit for _, (_, unit) in good}) > 1 or name.lower() in _ORDERS:
            continue
        rows = [number for number, _ in good]
        label = _label_column(table)
        labels = [table.rows[number][label] if label is not None else f"row {number + 1}" for number in rows]
        found.append(Series(name or f"column {column + 1}", labels, [value for _, (value, _) in good], column, rows))
    return found


def relevant(tables: Sequence[Table], topic: str) -> list[Table]:
    """Return the tables that share words with the topic, best first."""
    texts = [
        Passage(
            id=str(number), path=each.path, place=each.place, heading=f"{each.title} {_words(each.path)}", text=_text_of(each)
        )
        for number, each in enumerate(tables)
    ]
    return [tables[int(found.id)] for found, _ in Ranked(texts).search(topic, limit=TABLES_MAX)]


def claims_of(table: Table, passages: Mapping[str, Passage]) -> list[Claim]:
    """Return what each series of a table comes to: its highest and its lowest value."""
    claims = []
    for series in series_of(table):
        high = max(range(len(series.values)), key=series.values.__getitem__)
        low = min(range(len(series.values)), key=series.values.__getitem__)
        if series.values[high] == series.values[low]:
            continue
        said = [f"{series.labels[at]} ({table.rows[series.rows[at]][series.column]})" for at in (high, low)]
        sources = [passages[table.row_ids[series.rows[at]]] for at in (high, low)]
        claims.append(
            Claim(
                text=f"{series.name}: highest {said[0]}, lowest {said[1]}, of {len(series.values)}",
                citations=[cite(source, source.text) for source in sources],
                about=table.title or table.path,
            )
        )
    return claims


@agent("research.tables")
async def tables(ctx: Context) -> Json:
    """Find the tables about the topic and say what their numbers come to."""

    async def analyse(scope: Scope) -> Analysis:
        passages = {passage.id: passage for passage in passages_of(ctx)}
        chosen = relevant(tables_of(ctx), topic_of(goal_of(scope.options)))
        claims = [claim for table in chosen for claim in claims_of(table, passages)]
        return Analysis(
            tool=Tool("amas research", "1", ""),
            figures={"chosen_tables": len(chosen), "claims": len(claims)},
            artifacts={"claims": msgspec.to_builtins(claims), "chosen": msgspec.to_builtins(chosen)},
        )

    return await specialist(ctx, analyse)


def _label_column(table: Table) -> int | None:
    for column in range(len(table.columns)):
        if any(row[column] and number_in(row[column]) is None for row in table.rows):
            return column
    return next((column for column, name in enumerate(table.columns) if name.lower() in _ORDERS), None)


def _text_of(table: Table) -> str:
    return " ".join([*table.columns, *(cell for row in table.rows for cell in row)])


def _words(path: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", " ", path)
