"""`Records`: the history of one cell. Opened by the control plane, which writes it, and by whoever reads it.

The write side is one method, `apply`, and the recorder is its only caller. It is idempotent by the id of the entry: the position
is kept in the same transaction as the rows, under its lock, so that neither a crash nor two recorders at once record anything
twice or leave anything out.
"""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Self

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from amas.errors import RecordsError
from amas.model.journal import JournalEntry
from amas.records.database import BUSY_TIMEOUT_S, Database
from amas.records.dump import Dump, frozen, open_states
from amas.records.fold import Batch, fold
from amas.records.history import POSITION, History
from amas.records.lost import LostWork
from amas.records.migrate import migrate
from amas.records.outcomes import Outcomes, add_rows
from amas.records.packed import write_packed
from amas.records.reseal import Resealed, reseal
from amas.records.sums import older
from amas.records.tables import entry_id, entry_number, recorder
from amas.records.taken import Taken, take_apart, to_look_up
from amas.records.views import Applied
from amas.records.writing import Statements, read_known, read_place, write, write_sums
from amas.sealing import Seal

CHANGES_MAX = 30_000
"""Changes to tasks in one transaction, or those of one entry where it has more: enough that a task's submission, claim and end
often meet in one row, few enough to hold. A thread takes them apart and folds them, so the event loop goes on."""


class Records(History):
    """The history of one cell: `History`'s queries, and `apply`."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._statements = Statements(database.dialect)
        self.lost_work = LostWork(database)

    @classmethod
    async def open(cls, url: str, *, cell: str = "local", busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """Return the history at `url`, its tables brought up to date; RecordsError says why it can't be had."""
        database = Database(url, busy_timeout_s=busy_timeout_s)
        try:
            await migrate(database)
            records = cls(database)
            await records._claim(cell)
        except BaseException:
            await database.close()
            raise
        return records

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def position(self) -> str:
        """Return the id of the last entry of the journal that is recorded; `0-0` before the first."""
        return entry_id(await self._again(("position",), lambda connection: int(connection.execute(POSITION).scalar_one())))

    async def reseal(self, seal: Seal, *, held_since_ms: int) -> Resealed:
        """Seal what an older key has sealed anew, but for what the engine may still hold; `reseal.py` says more."""
        return await reseal(self._database, seal, held_since_ms=held_since_ms)

    def frozen(self) -> AbstractAsyncContextManager[Dump]:
        """Give the history as it stands now, to be read in peace while it goes on."""
        return frozen(self._database)

    async def open_states(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the state of every open task and of every open workflow, by id."""
        return await open_states(self._database)

    async def apply(self, entries: Sequence[JournalEntry]) -> Applied:
        """Record entries, given in the journal's order; those that are recorded already are passed over."""
        applied = Applied(position="0-0", entries=0, decompositions_ms=[], assignments_ms=[])
        parts = _parts(entries)
        while part := await asyncio.to_thread(next, parts, None):
            count, position, batch = await self._apply_part(part)
            applied = Applied(
                position=entry_id(position),
                entries=applied.entries + count,
                decompositions_ms=applied.decompositions_ms + batch.decompositions_ms,
                assignments_ms=applied.assignments_ms + batch.assignments_ms,
                spent=applied.spent.plus(batch.spent),
            )
        return applied

    async def _apply_part(self, part: list[Taken]) -> tuple[int, int, Batch]:
        """Apply entries in one transaction, taking submitted tasks for new; where one isn't, look all up and try again."""
        try:
            return await self._try_part(part, trusting=True)
        except RecordsError as error:
            if not isinstance(error.__cause__, IntegrityError):
                raise
        return await self._try_part(part, trusting=False)

    async def _try_part(self, part: list[Taken], *, trusting: bool) -> tuple[int, int, Batch]:
        async with self._database.writing() as connection:
            place = await read_place(connection, self._statements)
            new = [taken for taken in part if entry_number(taken.entry.id) > place.position]
            if not new:
                return 0, place.position, Batch()
            known = await read_known(connection, self._statements, to_look_up(new, trusting=trusting))
            batch = await asyncio.to_thread(fold, new, known)
            place = place._replace(position=entry_number(new[-1].entry.id))
            await write(connection, self._statements, batch, known=known, place=place)
        return len(new), place.position, batch

    async def sum_older(self) -> int:
        """Let the sums reach further back by some ten thousand rows; return since when they hold all, 0 for the beginning.

        The way there is one transaction each, so it can be left anywhere. Where they reach back to the beginning, it is one look.
        """
        from_ms = await self.summed_from_ms()
        if from_ms == 0:
            return 0
        async with self._database.writing() as connection:
            place = await read_place(connection, self._statements)
            until_ms = place.summed_from_ms
            found, from_ms = await older(connection, until_ms)
            await write_sums(connection, self._statements, found)
            done = Outcomes()
            await connection.run_sync(add_rows, done, from_ms, until_ms)
            await write_packed(connection, done)
            await connection.exec_driver_sql(self._statements.reach_back, (from_ms,))
        return from_ms

    async def _claim(self, cell: str) -> None:
        """Make this the history of `cell`, or refuse: two journals in one database would each skip the other's entries."""
        async with self._database.reading() as connection:
            owner = (await connection.execute(sa.select(recorder.c.cell))).scalar()
        if owner is None:
            async with self._database.writing() as connection:
                columns = ("id", "cell", "position")
                await connection.exec_driver_sql(self._statements.insert("recorder", columns, anew=False), (1, cell, 0))
                owner = (await connection.execute(sa.select(recorder.c.cell))).scalar_one()
        if owner != cell:
            raise RecordsError(
                f"the records in {self._database.shown} are those of the cell {owner!r}, not of {cell!r}: "
                "give each cell a database of its own"
            )


def _parts(entries: Sequence[JournalEntry]) -> Iterator[list[Taken]]:
    part: list[Taken] = []
    size = 0
    for entry in entries:
        taken = take_apart(entry)
        part.append(taken)
        size += taken.size
        if size >= CHANGES_MAX:
            yield part
            part, size = [], 0
    if part:
        yield part
