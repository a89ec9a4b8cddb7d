"""The research report as one value: numbered sources, claims that point at them, tables, and what was not read. Pure.

`write.py` renders it as Markdown and HTML, `deck.py` as slides. A number in brackets is a source's; each source is one passage's
quote. With nothing found the headline says why, and there are no claims.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from amas.agents.skills.research.passages import Claim, Table
from amas.agents.skills.research.search import topic_of
from amas.agents.skills.research.tables import Series, series_of

ROWS_SHOWN = 15
BARS_MAX = 10


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One numbered source."""

    number: int
    id: str
    path: str
    place: str
    quote: str


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """A claim with the numbers of its sources."""

    text: str
    about: str
    sources: list[int]


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """A chart of one column of a table."""

    name: str
    bars: list[tuple[str, float, float]]
    """Label, value, and its share of the longest bar, from 0 to 1."""


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A table as the report shows it."""

    title: str
    where: str
    columns: list[str]
    rows: list[list[str]]
    left_out: int
    charts: list[Bars]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the part brought, read back from the artifact store."""

    goal: str
    documents: int
    claims: Sequence[Claim]
    figures: Sequence[Claim]
    tables: Sequence[Table]
    unread: Sequence[Mapping[str, Any]]
    missing: Sequence[Mapping[str, Any]]
    notes: Sequence[str]


class Research(msgspec.Struct, frozen=True, kw_only=True):
    """The report."""

    title: str
    goal: str
    headline: str
    statements: list[Statement]
    figures: list[Statement]
    tables: list[Shown]
    sources: list[Source]
    unread: list[tuple[str, str]]
    missing: list[tuple[str, str]]
    notes: list[str]


def compose(found: Found) -> Research:
    """Return the report on what was found."""
    numbers: dict[tuple[str, str], Source] = {}
    statements = [_stated(claim, numbers) for claim in found.claims]
    figures = [_stated(claim, numbers) for claim in found.figures]
    topic = topic_of(found.goal)
    return Research(
        title=topic[:1].upper() + topic[1:],
        goal=found.goal,
        headline=_headline(found, topic, len(numbers)),
        statements=statements,
        figures=figures,
        tables=[_shown(table) for table in found.tables],
        sources=list(numbers.values()),
        unread=[(str(each.get("path")), str(each.get("reason"))) for each in found.unread],
        missing=[(str(each.get("capability")), str(each.get("reason"))) for each in found.missing],
        notes=list(found.notes),
    )


def _headline(found: Found, topic: str, sources: int) -> str:
    if not found.documents:
        return "There was nothing to search: the goal came with no document that can be read. Give some with --input DIR"
    count = f"{found.documents} document{'s' if found.documents != 1 else ''}"
    if not (found.claims or found.figures or found.tables):
        return f"Nothing was found: none of the text in {count} is about {topic!r}"
    said = len(found.claims) + len(found.figures)
    return f"{said} statements from {sources} places in {count}, each with its source"


def _stated(claim: Claim, numbers: dict[tuple[str, str], Source]) -> Statement:
    used = []
    for each in claim.citations:
        source = numbers.setdefault(
            (each.id, each.quote),
            Source(number=len(numbers) + 1, id=each.id, path=each.path, place=each.place, quote=each.quote),
        )
        used.append(source.number)
    return Statement(text=claim.text, about=claim.about, sources=used)


def _shown(table: Table) -> Shown:
    return Shown(
        title=table.title or table.path,
        where=f"{table.path}, {table.place}",
        columns=table.columns,
        rows=[row[: len(table.columns)] for row in table.rows[:ROWS_SHOWN]],
        left_out=max(len(table.rows) - ROWS_SHOWN, 0),
        charts=[_bars(series) for series in series_of(table)[:2] if min(series.values) >= 0 < max(series.values)],
    )


def _bars(series: Series) -> Bars:
    longest = max(series.values[:BARS_MAX]) or 1.0
    shown = list(zip(series.labels, series.values, strict=True))[:BARS_MAX]
    return Bars(name=series.name, bars=[(label, value, round(value / longest, 4)) for label, value in shown])
