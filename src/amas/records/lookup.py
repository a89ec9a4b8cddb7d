"""Finding tasks' rows by their ids as cheaply as the database does: for what pollers ask thousands of times a minute.

SQLite finds a row in some 10 us, in which SQLAlchemy has hardly begun to work out what to say: here it writes a statement once,
and the driver is given that, within SQLAlchemy's own transaction: a look's other queries see the same state. PostgreSQL is asked
as ever. Called within `Database.look`, which ends the transaction and says in our words what the driver raises.
"""

from collections import namedtuple
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

STATEMENTS_MAX = 400
"""Kept written: a few statements, each for one to a hundred ids."""


def of_tasks(connection: sa.Connection, query: sa.Select[Any], task_ids: Sequence[str]) -> Sequence[Any]:
    """Return the rows that a query finds for `task_ids`, its only parameter, a list; all within one transaction see one state."""
    if connection.dialect.name != "sqlite":
        return connection.execute(query, {"task_ids": list(task_ids)}).all()
    text, row = _written(query, len(task_ids), connection.dialect)
    if not connection.in_transaction():
        connection.begin()
    driver: Any = connection.connection.dbapi_connection
    return [row(*found) for found in driver.execute(text, task_ids)]


@lru_cache(STATEMENTS_MAX)
def _written(query: sa.Select[Any], many: int, dialect: sa.Dialect) -> tuple[str, Callable[..., Any]]:
    """Return a query for so many ids as text, and what makes a row of what it finds."""
    asked = query.params(task_ids=[""] * many).compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    return str(asked), namedtuple("Found", query.selected_columns.keys())
