"""The database under the history: its address, its connections, and our error for the driver's.

SQLite in one file (WAL, so readers never wait for the writer) or PostgreSQL 15 and later. `look()`, `glance()`, `reading()` and
`writing()` are the only ways to a connection; what the driver raises within them leaves as `RecordsError`. Called within this
package only.
"""

import asyncio
import importlib.util
import resource
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from amas.errors import RecordsError
from amas.records.unlocking import connect

BUSY_TIMEOUT_S = 10.0
"""Seconds that SQLite waits for another process's transaction: a start-up migration or a back-up, never our own batches."""
ANSWER_TIMEOUT_S = 30.0
"""Seconds that PostgreSQL may take for one statement of ours; a batch takes milliseconds."""
POSTGRESQL_MIN = (15, 0)
GLANCE_S = 0.002
"""What a glance may wait for the disk; while the system has the file's pages in memory, rows by their keys take a tenth of it."""
LOOK_AWAY_S = 5.0
"""For so long after one that took longer, threads wait for the disk rather than the event loop."""
KEPT_MAX = 100
"""Answers that are kept until something is written: pages of at most fifty, and sums."""
T = TypeVar("T")

# FULL and not NORMAL: the recorder trims the journal behind what is committed here, so a commit must be on disk.
# It is one fsync for a batch of thousands of changes, and costs no CPU. Large pages save a tenth of the CPU of such a batch;
# a database that exists keeps its own.
_PRAGMAS = ("page_size=16384", "journal_mode=WAL", "synchronous=FULL", "temp_store=MEMORY", "cache_size=-16000")


def _address(url: str) -> URL:
    """Return the driver's address for ours; RecordsError when there is no such."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise RecordsError("AMAS_RECORDS_URL is not an address such as sqlite:///path or postgresql://user@host/db") from error
    kind = parsed.drivername.partition("+")[0]
    if kind == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    if kind not in {"postgresql", "postgres"}:
        raise RecordsError(f"the records can't be kept in {kind!r}: take sqlite:///path or postgresql://user@host/db")
    if importlib.util.find_spec("asyncpg") is None:
        raise RecordsError("records in PostgreSQL need a driver that isn't installed: pip install 'amas[postgres]'")
    options = {("ssl" if name == "sslmode" else name): value for name, value in parsed.query.items()}  # libpq's word for it
    return parsed.set(drivername="postgresql+asyncpg", query=options)


class Database:
    """One database and the pool of connections to it."""

    def __init__(self, url: str, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        address = _address(url)
        self.shown = address.set(drivername=address.get_backend_name()).render_as_string(hide_password=True)
        """The address for messages, without a password."""
        self.is_sqlite = address.get_backend_name() == "sqlite"
        self._engine = _sqlite(address, busy_timeout_s) if self.is_sqlite else _postgresql(address)
        self._looking = _sqlite_looking(address, busy_timeout_s) if self.is_sqlite else None
        self._glances = Glances(_sqlite_looking(address, 0.0)) if self.is_sqlite else None
        self._no_glance_before_s = 0.0
        self._kept: dict[Hashable, Any] = {}
        self._kept_of: Written | None = None
        self.dialect = self._engine.dialect

    async def close(self) -> None:
        """Close every connection."""
        if self._looking is not None:
            self._looking.dispose()
        if self._glances is not None:
            self._glances.close()
        await self._engine.dispose()

    async def look(self, asked: Callable[[sa.Connection], T]) -> T:
        """Return what a function finds with a connection for queries that see one state: all of them in one visit.

        With SQLite a thread runs it whole. `reading()` goes to a thread and back for each step of each statement, which costs a
        hundred times what the database takes to find a row.
        """
        async with self._translating("read"):
            if self._looking is not None:
                return await asyncio.to_thread(_asked, self._looking, asked)
            async with self._engine.connect() as connection:
                return await connection.run_sync(asked)

    def glance(self, asked: Callable[[sa.Connection], T]) -> T | None:
        """Return what a function finds at once, by a few keys; None where that could take long, and `look` is for it.

        It blocks the event loop. That is right only because a thread costs the loop more than SQLite takes: it must be given what
        to do, and with each step of a statement it lets the interpreter's lock go, which a loop at work gives back after 5 ms.
        So not while the disk is slow, nor while somebody holds the file, nor with PostgreSQL.
        """
        began_s, read = time.monotonic(), _blocks_read()
        if self._glances is None or began_s < self._no_glance_before_s:
            return None
        try:
            return self._glances.ask(asked)
        except (SQLAlchemyError, sqlite3.Error):
            return None  # `look` meets the same, and says so
        finally:
            ended_s = time.monotonic()
            if ended_s - began_s > GLANCE_S and _blocks_read() > read:
                self._no_glance_before_s = ended_s + LOOK_AWAY_S

    async def look_again(self, question: Hashable, asked: Callable[[sa.Connection], T]) -> T:
        """Return what `look` does, or what it found for the same question where nothing was written since: for who asks often.

        `question`: all that the answer follows from, beside what is written. What is found is kept, and so mustn't be changed.
        With PostgreSQL, and wherever a glance won't do, it isn't known whether anything was written, and so it looks.
        """
        written = self.glance(_written)
        if written is None or written != self._kept_of:
            self._kept.clear()
            self._kept_of = written
        elif question in self._kept:
            kept: T = self._kept[question]
            return kept
        found = await self.look(asked)
        if written is not None and written == self._kept_of and len(self._kept) < KEPT_MAX:
            self._kept[question] = found
        return found

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection for queries that see one state of the database."""
        async with self._translating("read"), self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection in a transaction that no other writer shares; it is committed at the end, or rolled back."""
        async with self._translating("written"), self._engine.connect() as connection:
            await connection.execution_options(**{_WRITES: True})
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def _translating(self, what: str) -> AsyncIterator[None]:
        try:
            yield
        except (SQLAlchemyError, sqlite3.Error, OSError, TimeoutError) as error:  # `lookup.py` asks the driver itself
            reason = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            text = str(reason).strip() or type(reason).__name__
            raise RecordsError(f"the records in {self.shown} can't be {what}: {text.splitlines()[0]}") from error


Written = tuple[object, int]
"""Of which connection, and its count of what others have written: equal to an earlier one where nobody has written in between."""


class Glances:
    """The event loop's own connection to SQLite, which is kept: a new one, or one from a pool, costs more than what it finds."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._connection: sa.Connection | None = None

    def ask(self, asked: Callable[[sa.Connection], T]) -> T:
        """Return what a function finds with the connection; after an error there is another one."""
        if self._connection is None:
            self._connection = self._engine.connect()
        try:
            found = asked(self._connection)
            self._connection.rollback()  # of what reads alone: the next must see what is written meanwhile
        except BaseException:
            self.close()
            raise
        return found

    def close(self) -> None:
        """Close it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        self._engine.dispose()


def _written(connection: sa.Connection) -> Written:
    """Return SQLite's count of what others have written. Source: https://www.sqlite.org/pragma.html#pragma_data_version"""
    driver: Any = connection.connection.dbapi_connection
    return connection, driver.execute("PRAGMA data_version").fetchone()[0]


def _asked(engine: sa.Engine, asked: Callable[[sa.Connection], T]) -> T:
    with engine.connect() as connection:
        return asked(connection)


def _blocks_read() -> int:
    """Return how much this thread has waited for disks to read; of what was in memory already it knows nothing."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


_WRITES = "amas_writes"


def _sqlite(address: URL, busy_timeout_s: float) -> AsyncEngine:
    if address.database in {None, "", ":memory:"}:
        raise RecordsError("the records need a file: sqlite:///path")
    try:
        Path(str(address.database)).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordsError(f"the folder of the records can't be made: {error}") from error
    engine = create_async_engine(address, connect_args={"timeout": busy_timeout_s, "async_creator_fn": connect})

    @sa.event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins no transaction of its own; `begin` below does
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            _patiently(cursor, f"PRAGMA {pragma}", busy_timeout_s)
        cursor.close()

    @sa.event.listens_for(engine.sync_engine, "begin")
    def begin(connection: sa.Connection) -> None:
        # A writer takes its lock at once: one that began as a reader can't wait for another writer, it fails.
        writes = connection.get_execution_options().get(_WRITES)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _sqlite_looking(address: URL, busy_timeout_s: float) -> sa.Engine:
    """Return connections for `look()`, which threads use and nothing can write through."""
    engine = sa.create_engine(address.set(drivername="sqlite"), connect_args={"timeout": busy_timeout_s})

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # as above
        for pragma in ("query_only=ON", "temp_store=MEMORY", "cache_size=-4000"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        driver: Any = connection.connection.dbapi_connection
        driver.execute("BEGIN")  # by SQLAlchemy it would cost more than many a look finds

    return engine


def _patiently(cursor: Any, statement: str, patience_s: float) -> None:
    """Execute it; while the file is locked try again, at most so many seconds.

    Of two processes that both turn a new file to WAL, SQLite refuses one at once, whatever its time-out: each holds the
    lock that the other waits for. Runs where the driver's own calls run, so its pauses stop nobody else.
    """
    for pause_s in _pauses(patience_s):
        try:
            cursor.execute(statement)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
        else:
            return
        await_only(asyncio.sleep(pause_s))
    cursor.execute(statement)


def _pauses(total_s: float, *, first_s: float = 0.01, longest_s: float = 0.2) -> Iterator[float]:
    """Give pauses that double up to the longest and add up to about the total."""
    pause_s, spent_s = first_s, 0.0
    while spent_s < total_s:
        yield pause_s
        spent_s += pause_s
        pause_s = min(2 * pause_s, longest_s)


def _postgresql(address: URL) -> AsyncEngine:
    return create_async_engine(
        address,
        pool_pre_ping=True,  # a restarted server costs one reconnection, not one failed request
        pool_timeout=ANSWER_TIMEOUT_S,
        connect_args={"timeout": 5.0, "command_timeout": ANSWER_TIMEOUT_S, "server_settings": {"application_name": "amas"}},
    )
