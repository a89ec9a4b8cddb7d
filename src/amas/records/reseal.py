"""Sealing the history anew after a key was rotated: page by page, each a transaction, so it can be killed and begun again.

What the engine may still hold is left as it is and counted: its key is needed until the engine has forgotten those tasks.
"""

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
    done = held = 0
    in_engine = sa.or_(tasks.c.finished_ms.is_(None), tasks.c.finished_ms >= held_since_ms)
    query = sa.select(tasks.c.id, tasks.c.spec, tasks.c.result, tasks.c.finished_ms, in_engine.label("held")).order_by(tasks.c.id)
    cursor = ""
    while rows := await _rows(database, query.where(tasks.c.id > cursor).limit(PAGE)):
        cursor = rows[-1].id
        changed = [(row, seal.anew(row.spec), seal.anew(row.result or b"")) for row in rows]
        changed = [(row, spec, result) for row, spec, result in changed if spec != row.spec or result != (row.result or b"")]
        held += sum(row.held for row, _, _ in changed)
        changes = [
            tasks.update()
            .where(tasks.c.id == row.id, tasks.c.finished_ms == row.finished_ms)  # it may run again since
            .values(spec=spec, result=result or None)
            for row, spec, result in changed
            if not row.held
        ]
        done += await _write(database, changes)
    opened = sa.or_(workflows.c.finished_ms.is_(None), workflows.c.finished_ms >= held_since_ms)
    query = sa.select(goals.c.workflow_id.label("id"), goals.c.goal, opened.label("held")).join(
        workflows, workflows.c.id == goals.c.workflow_id
    )
    cursor = ""
    while rows := await _rows(database, query.where(goals.c.workflow_id > cursor).order_by(goals.c.workflow_id).limit(PAGE)):
        cursor = rows[-1].id
        found = [(row, seal.anew(row.goal)) for row in rows]
        found = [(row, goal) for row, goal in found if goal != row.goal]
        held += sum(row.held for row, _ in found)
        changes = [goals.update().where(goals.c.workflow_id == row.id).values(goal=goal) for row, goal in found if not row.held]
        done += await _write(database, changes)
    kept = await _rows(database, sa.select(steps.c.result))  # of open tasks only
    return Resealed(done, held + sum(seal.anew(row.result) != row.result for row in kept))


async def _rows(database: Database, query: sa.Select[Any]) -> list[Any]:
    async with database.reading() as connection:
        return list((await connection.execute(query)).all())


async def _write(database: Database, changes: list[sa.Update]) -> int:
    """Return how many rows were changed."""
    if not changes:
        return 0
    async with database.writing() as connection:
        return sum([(await connection.execute(change)).rowcount for change in changes])
