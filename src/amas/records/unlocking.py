"""SQLite's connection, which holds no lock once it is closed.

A statement whose caller is cancelled leaves a cursor behind that the frames of the cancellation hold until the garbage collector
comes by. So long, SQLite keeps a connection that was closed in a transaction, with its lock, and nobody can write. Therefore a
connection is rolled back before it is closed.
Source: https://www.sqlite.org/c3ref/close.html (what is closed with statements left lives on as a zombie)
"""

import sqlite3
from contextlib import suppress
from functools import partial
from typing import Any

import aiosqlite

ROWS_AT_A_TIME = 64
"""As the driver's own connections fetch them."""


class UnlockingConnection(aiosqlite.Connection):
    """Rolls back what is open before it closes."""

    async def close(self) -> None:
        """Close it, and leave no lock."""
        with suppress(ValueError, sqlite3.Error):  # it is closed already
            await self.rollback()
        await super().close()


def connect(*arguments: Any, **more: Any) -> UnlockingConnection:
    """Return what opens a file when it is awaited; takes what `sqlite3.connect` takes."""
    return UnlockingConnection(partial(sqlite3.connect, *arguments, **more), ROWS_AT_A_TIME)
