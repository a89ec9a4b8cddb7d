"""Whoever is cancelled while it writes holds nobody else up."""

import asyncio
import gc
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from amas.records.database import Database
from amas.records.migrate import migrate

PATIENCE_S = 60.0
WRITE = sa.text("UPDATE recorder SET position = position + 1")


async def test_a_write_that_was_cancelled_leaves_no_lock(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/records.sqlite3")
    await migrate(database)

    async def write() -> None:
        async with database.writing() as connection:
            for statement in (WRITE, sa.text("SELECT 1"), WRITE):
                await connection.execute(statement)

    gc.disable()  # it would free a lock now and then, by chance
    try:
        for moment in range(300):  # cancelled at each of its steps, wherever those are
            writing = asyncio.create_task(write())
            await asyncio.sleep(moment * 0.000_02)
            writing.cancel()
            with suppress(asyncio.CancelledError):
                await writing
            async with asyncio.timeout(PATIENCE_S):
                await write()
    finally:
        gc.enable()
        await database.close()
