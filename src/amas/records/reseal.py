"""Sealing the history anew after a key was rotated: page by page, each a transaction, so it can be killed and begun again.

What the engine may still hold is left as it is and counted: its key is needed until the engine has forgotten those tasks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import sqlalchemy as sa

from amas.records.database import Database
from amas.records.tables import goals, steps, tasks, workflows
from amas.sealing import Seal

PAGE = 200
"""Rows in one transaction: they may hold 25 MiB, and the recorder waits for so long."""


class Resealed(NamedTuple):
    """What came of it."""

    values: int
    """Rows that are sealed with the first key now."""
    held: int
    """Rows that the engine may still hold, sealed with another key."""


async def reseal(database: Database, seal: Seal, *, held_since_ms: int) -> Resealed:
    """Seal what an older key has sealed anew; the engine may hold what is open, or ended since `held_since_ms`."""
    in_engine = sa.or_(tasks.c.finished_ms.is_(None), tasks.c.finished_ms >= held_since_ms)
    of_tasks = sa.select(tasks.c.id, tasks.c.spec, tasks.c.result, tasks.c.finished_ms, in_engine.label("held"))
    opened = sa.or_(workflows.c.finished_ms.is_(None), workflows.c.finished_ms >= held_since_ms)
    of_goals = sa.select(goals.c.workflow_id, goals.c.goal, opened.label("held")).join(
        workflows, workflows.c.id == goals.c.workflow_id
    )

    def task_anew(row: Any) -> sa.Update | None:
        spec, result = seal.anew(row.spec), seal.anew(row.result or b"")
        if (spec, result) == (row.spec, row.result or b""):
            return None
        same = (tasks.c.id == row.id, tasks.c.finished_ms == row.finished_ms)  # it may run again since
        return tasks.update().where(*same).values(spec=spec, result=result or None)

    def goal_anew(row: Any) -> sa.Update | None:
        goal = seal.anew(row.goal)
        return None if goal == row.goal else goals.update().where(goals.c.workflow_id == row.workflow_id).values(goal=goal)

    done, held = await _reseal(database, of_tasks, tasks.c.id, task_anew)
    more, open_ones = await _reseal(database, of_goals, goals.c.workflow_id, goal_anew)
    return Resealed(done + more, held + open_ones + await _held_steps(database, seal))


async def _reseal(
    database: Database, query: sa.Select[Any], key: sa.Column[str], anew: Callable[[Any], sa.Update | None]
) -> tuple[int, int]:
    """Seal a table's rows anew, in the order of `key`, the query's first column; return how many, and how many are `held`.

    `anew` returns a row's change; None where there is none to be made.
    """
    done = held = 0
    cursor = ""
    while rows := await _rows(database, query.where(key > cursor).order_by(key).limit(PAGE)):
        cursor = rows[-1][0]
        changes = [(row, change) for row in rows if (change := anew(row)) is not None]
        held += sum(row.held for row, _ in changes)
        done += await _write(database, [change for row, change in changes if not row.held])
    return done, held


async def _held_steps(database: Database, seal: Seal) -> int:
    """Return how many steps are sealed with another key than the first; the history keeps those of open tasks alone."""
    held, at = 0, ("", "")
    place = sa.tuple_(steps.c.task_id, steps.c.name)
    query = sa.select(steps).order_by(steps.c.task_id, steps.c.name).limit(PAGE)
    while rows := await _rows(database, query.where(place > sa.tuple_(*map(sa.literal, at)))):
        at = rows[-1].task_id, rows[-1].name
        held += sum(seal.anew(row.result) != row.result for row in rows)
    return held


async def _rows(database: Database, query: sa.Select[Any]) -> list[Any]:
    async with database.reading() as connection:
        return list((await connection.execute(query)).all())


async def _write(database: Database, changes: list[sa.Update]) -> int:
    """Return how many rows were changed."""
    if not changes:
        return 0
    async with database.writing() as connection:
        return sum([(await connection.execute(change)).rowcount for change in changes])
