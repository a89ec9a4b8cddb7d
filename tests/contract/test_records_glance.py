"""What SQLite finds at once it is asked for without a thread, and only as long as nobody waits for it."""

import itertools
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

from amas.clock import new_id
from amas.errors import RecordsError
from amas.records import database as databases
from amas.records.history import History
from amas.records.migrate import migrate

NUMBER = sa.text("SELECT number FROM seen")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[databases.Database]:
    made = databases.Database(f"sqlite:///{tmp_path}/records.sqlite3")
    await migrate(made)
    async with made.writing() as connection:
        await connection.execute(sa.text("CREATE TABLE seen AS SELECT 0 AS number"))
    yield made
    await made.close()


def number(connection: sa.Connection) -> int:
    return int(connection.execute(NUMBER).scalar_one())


async def test_a_glance_sees_what_was_committed_and_waits_for_no_writer(database: databases.Database) -> None:
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE seen SET number = 7"))
        assert database.glance(number) == 0
    assert database.glance(number) == 7 == await database.look(number)


async def test_what_goes_wrong_is_for_the_look_to_say(database: databases.Database) -> None:
    history = History(database)
    assert history.task_at_a_glance(new_id()) == await history.task_in_full(new_id())
    async with database.writing() as connection:
        await connection.execute(sa.text("ALTER TABLE tasks RENAME TO gone"))
    assert history.task_at_a_glance(new_id()) is None
    with pytest.raises(RecordsError, match="can't be read: no such table: tasks"):
        await history.task_in_full(new_id())


async def test_a_glance_that_waited_for_the_disk_is_the_last_for_a_while(
    database: databases.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "GLANCE_S", -1.0)
    assert [database.glance(number) for _ in range(2)] == [0, 0]  # long, but not for the disk
    monkeypatch.setattr(databases, "_blocks_read", itertools.count().__next__)
    assert [database.glance(number) for _ in range(2)] == [0, None]
    assert await database.look(number) == 0
    monkeypatch.setattr(databases, "LOOK_AWAY_S", 0.0)
    database._no_glance_before_s = 0.0
    assert [database.glance(number) for _ in range(2)] == [0, 0]


class Asked:
    """Finds the number, and counts how often it is asked."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.times, self._meanwhile = 0, meanwhile

    def __call__(self, connection: sa.Connection) -> int:
        self.times += 1
        found = number(connection)
        self._meanwhile()
        return found


def write(path: Path, value: int) -> None:
    """Write as another process does."""
    with sqlite3.connect(path / "records.sqlite3") as connection:
        connection.execute("UPDATE seen SET number = ?", [value])
    connection.close()


async def test_what_was_found_stands_until_somebody_writes(database: databases.Database, tmp_path: Path) -> None:
    asked, other = Asked(), Asked()
    assert [await database.look_again("it", asked) for _ in range(3)] == [0, 0, 0]
    assert (await database.look_again("another", other), asked.times, other.times) == (0, 1, 1)
    async with database.writing() as connection:
        await connection.execute(sa.text("UPDATE seen SET number = 7"))
        assert (await database.look_again("it", asked), asked.times) == (0, 1)
    assert [await database.look_again("it", asked) for _ in range(2)] == [7, 7]
    write(tmp_path, 8)
    assert [await database.look_again("it", asked) for _ in range(2)] == [8, 8]
    assert asked.times == 3


async def test_what_was_being_found_at_a_write_is_not_kept(database: databases.Database, tmp_path: Path) -> None:
    asked = Asked(lambda: write(tmp_path, asked.times))
    assert [await database.look_again("it", asked) for _ in range(3)] == [0, 1, 2]


async def test_nothing_is_kept_where_nobody_can_tell_what_was_written(
    database: databases.Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked()
    await database.look_again("it", asked)
    monkeypatch.setattr(database, "_no_glance_before_s", float("inf"))
    assert [await database.look_again("it", asked) for _ in range(2)] == [0, 0] and asked.times == 3
    monkeypatch.setattr(database, "_no_glance_before_s", 0.0)
    await database.look_again("it", asked)
    write(tmp_path, 9)
    assert database.glance(lambda connection: connection.exec_driver_sql("SELECT nothing")) is None
    assert database._glances is not None and database._glances._connection is None  # the next one counts anew
    assert [await database.look_again("it", asked) for _ in range(2)] == [9, 9] and asked.times == 5
