"""What SQLite finds at once it is asked for without a thread, and only as long as nobody waits for it."""

import itertools
from collections.abc import AsyncIterator
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
