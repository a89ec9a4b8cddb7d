"""The records read out as they stood at one moment, and put into either database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from tests.engine.cell import Cell, task

from amas.clock import new_id
from amas.controllers.figures import Figures
from amas.controllers.recorder import Recorder
from amas.engine.connection import Engine
from amas.errors import RestoreRefused
from amas.model.blob import to_blob
from amas.model.task import JournaledStep
from amas.records.database import Database
from amas.records.dump import TABLES, WHOLE, Dump, fill
from amas.records.store import Records

NewUrl = Callable[[], Awaitable[str]]


@pytest.fixture(params=["sqlite", "postgresql"])
def other_url(request: pytest.FixtureRequest, tmp_path: Path) -> NewUrl:
    """Makes empty databases of either kind, whatever the records are in."""
    if request.param == "postgresql":
        new_database: NewUrl = request.getfixturevalue("postgres").new_database
        return new_database

    async def new_sqlite() -> str:
        return f"sqlite:///{tmp_path / uuid4().hex}.sqlite3"

    return new_sqlite


class Recorded(Cell):
    """A cell with records."""

    def __init__(self, engine: Engine, records: Records) -> None:
        super().__init__(engine)
        self.records = records
        self.now = 0  # the server's clock, which the journal's ids go by

    async def record(self) -> None:
        recorder = Recorder(self.journal, self.records, Figures())
        while await self.records.position() != await self.journal.last_id():
            await recorder.run_once(wait_ms=0)

    async def work(self, count: int) -> None:
        """Submit tasks; of those that are claimed one ends, one fails and is tried again, one keeps a step."""
        await self.submit(*(task(new_id()) for _ in range(count)))
        await self.host()
        first, second, third = await self.claim(3)
        await self.complete(first)
        await self.fail(second)
        await self.queue.journal_steps([JournaledStep(third.id, third.attempt, "s", to_blob("kept"))])
        await self.record()


async def _rows(url: str) -> dict[str, list[tuple[Any, ...]]]:
    database = Database(url)
    try:
        async with database.reading() as connection:
            return {
                table.name: sorted(map(tuple, await connection.execute(_all(table))), key=lambda row: tuple(map(str, row)))
                for table in TABLES
            }
    finally:
        await database.close()


def _all(table: sa.Table) -> "sa.Select[Any]":
    """All but how far the sums reach back: those of a restored history are made anew."""
    return sa.select(*(column for column in table.columns if column.name != "summed_from_ms"))


async def _read(dump: Dump, since: str | None = None) -> list[tuple[str, int, bytes]]:
    return [piece async for piece in dump.pieces(since=since)]


async def _newest_first(pieces: Sequence[tuple[str, int, bytes]]) -> AsyncIterator[bytes]:
    for _, _, content in reversed(pieces):
        yield content


@pytest.fixture
async def recorded(engine: Engine, records: Records) -> Recorded:
    return Recorded(engine, records)


async def test_what_was_read_from_one_database_is_the_same_in_another(
    recorded: Recorded, records_url: str, other_url: NewUrl
) -> None:
    await recorded.work(30)
    async with recorded.records.frozen() as dump:
        await recorded.work(5)  # after the moment: not seen
        pieces = await _read(dump)
        counted = await dump.counts()
    target = await other_url()
    rows = await fill(target, _newest_first(pieces))
    assert rows["tasks"] == counted["tasks"] == 30
    assert rows["steps"] == 1
    there = await _rows(target)
    recorded_then = {row[0] for row in there["tasks"]}
    here = await _rows(records_url)
    assert len(here["tasks"]) == 35
    untouched = [row for row in here["tasks"] if row[0] in recorded_then]
    assert [row[0] for row in there["tasks"]] == [row[0] for row in untouched]
    assert there["events"] == here["events"][: len(there["events"])]
    with pytest.raises(RestoreRefused, match="hold a history already"):
        await fill(target, _newest_first(pieces))
    assert await _rows(target) == there


async def test_what_is_new_since_a_position_brings_an_older_dump_up_to_date(
    recorded: Recorded, records_url: str, other_url: NewUrl
) -> None:
    await recorded.work(3000)
    async with recorded.records.frozen() as dump:
        old, position = await _read(dump), dump.place.position
    await recorded.work(10)
    opened = await recorded.claim(1)
    await recorded.complete(*opened)
    await recorded.record()
    async with recorded.records.frozen() as dump:
        new = await _read(dump, since=position)
    whole = [piece for piece in old if piece[0] not in WHOLE]
    target = await other_url()
    await fill(target, _newest_first([*whole, *new]))
    assert await _rows(target) == await _rows(records_url)


async def test_rows_that_stay_stand_in_the_same_pieces(recorded: Recorded) -> None:
    await recorded.work(5000)
    async with recorded.records.frozen() as dump:
        first = {content for table, _, content in await _read(dump) if table == "tasks"}
    await recorded.submit(task(new_id()))
    await recorded.record()
    async with recorded.records.frozen() as dump:
        second = {content for table, _, content in await _read(dump) if table == "tasks"}
    assert len(first & second) >= len(first) - 1
    assert len(second) - len(first) in (0, 1)
