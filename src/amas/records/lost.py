"""What the records hold of the work that an engine lost, for `controllers/recover.py` to put into another.

`lost` lists the tasks and workflows that were open when the recorder met an engine that isn't the one it had recorded. Only
these are ever put back: a task that merely ended long ago, so that the engine forgot it, is never among them.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from amas.model.recovery import LostTask, LostWorkflow, Outline
from amas.model.states import TaskState, WorkflowState
from amas.records.database import Database
from amas.records.tables import OPEN, entry_id, entry_number, goals, lost, recorder, steps, tasks, workflows

_options = msgspec.msgpack.Decoder(dict[str, Any])
_outlined = (tasks.c.id, tasks.c.state, tasks.c.workflow_id, tasks.c.parent_id, tasks.c.options)
_lost_tasks = sa.select(lost.c.id).where(lost.c.what == "task")
_lost_workflows = (
    sa.select(workflows.c.id)
    .join(lost, lost.c.id == workflows.c.id)
    .where(lost.c.what == "workflow", workflows.c.finished_ms.is_(None))
)


class Place(NamedTuple):
    """Where the recorder is."""

    engine: str
    """The mark of the engine whose journal is recorded; empty before the first."""
    position: str


class LostCount(NamedTuple):
    """How much is still open of what was lost."""

    workflows: int
    tasks: int


class _Goal(msgspec.Struct):
    tenant: str = ""


def _tenant(goal: bytes | None) -> str:
    return msgspec.msgpack.decode(goal, type=_Goal).tenant if goal else ""


class LostWork:
    """The history of one cell, as what an engine can be rebuilt from."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def place(self) -> Place:
        """Return which journal the records follow, and up to where."""
        async with self._database.reading() as connection:
            row: Any = (await connection.execute(sa.select(recorder).where(recorder.c.id == 1))).one()
        return Place(row.engine or "", entry_id(row.position))

    async def follow(self, engine: str, *, instead_of: Place, anew_at: str | None) -> bool:
        """Record the journal of the engine with this mark from now on; return False when another recorder has moved the place.

        `anew_at`: the position to take, since the engine isn't what was recorded; all that is open counts as lost then.
        """
        async with self._database.writing() as connection:
            row: Any = (await connection.execute(sa.select(recorder).where(recorder.c.id == 1).with_for_update())).one()
            if Place(row.engine or "", entry_id(row.position)) != instead_of:
                return False
            values: dict[str, Any] = {"engine": engine}
            if anew_at is not None:
                values["position"] = entry_number(anew_at)
                await _note_lost(connection)
            await connection.execute(recorder.update().values(**values))
        return True

    async def count(self) -> LostCount:
        """Return how much there is to recover."""
        open_tasks = sa.select(sa.func.count()).select_from(tasks).where(tasks.c.id.in_(_lost_tasks), OPEN)
        async with self._database.reading() as connection:
            found = (await connection.execute(sa.select(sa.func.count()).select_from(_lost_workflows.subquery()))).scalar_one()
            return LostCount(found, (await connection.execute(open_tasks)).scalar_one())

    async def workflows(self) -> list[LostWorkflow]:
        """Return the lost workflows that are open."""
        query = sa.select(workflows, goals.c.goal).outerjoin(goals, goals.c.workflow_id == workflows.c.id)
        async with self._database.reading() as connection:
            rows: Sequence[Any] = (await connection.execute(query.where(workflows.c.id.in_(_lost_workflows)))).all()
        return [
            LostWorkflow(
                id=row.id,
                goal=row.goal or row.opening or b"\xc0",
                root_id=row.root_id or "",
                created_ms=row.created_ms,
                is_goal=row.goal is not None,
                waiting=row.state == WorkflowState.WAITING,
                tenant=_tenant(row.goal),
            )
            for row in rows
        ]

    async def outlines(self) -> AsyncIterator[Outline]:
        """Yield the lost tasks that are open, then the ended ones of their workflows and their sub-tasks; some perhaps twice."""
        ended = tasks.c.finished_ms.is_not(None)
        in_workflow = tasks.c.workflow_id.in_(_lost_workflows)
        children = sa.and_(tasks.c.workflow_id.is_(None), tasks.c.parent_id.in_(_lost_tasks))
        for condition in (sa.and_(tasks.c.id.in_(_lost_tasks), OPEN), sa.and_(in_workflow, ended), sa.and_(children, ended)):
            async with self._database.reading() as connection:
                async for row in await connection.stream(sa.select(*_outlined).where(condition)):
                    yield _outline(row)

    async def outlines_of(self, task_ids: Sequence[str]) -> list[Outline]:
        """Return those of the tasks that the records hold."""
        async with self._database.reading() as connection:
            return [_outline(row) for row in await connection.execute(sa.select(*_outlined).where(tasks.c.id.in_(task_ids)))]

    async def tasks(self, task_ids: Sequence[str], children: dict[str, list[str]]) -> list[LostTask]:
        """Return tasks whole, in the order of `task_ids`; `children`: the sub-tasks of those that have any."""
        async with self._database.reading() as connection:
            rows = {row.id: row for row in await connection.execute(sa.select(tasks).where(tasks.c.id.in_(task_ids)))}
            kept: dict[str, list[tuple[str, bytes]]] = {}
            for row in await connection.execute(sa.select(steps).where(steps.c.task_id.in_(task_ids))):
                kept.setdefault(row.task_id, []).append((row.name, row.result))
        return [_task(rows[task_id], kept.get(task_id, []), children.get(task_id, [])) for task_id in task_ids if task_id in rows]

    async def settle(self) -> None:
        """Forget what was lost: it has been recovered."""
        async with self._database.writing() as connection:
            await connection.execute(lost.delete())


async def _note_lost(connection: AsyncConnection) -> None:
    known = sa.select(lost.c.id)
    open_tasks = sa.select(tasks.c.id, sa.literal("task")).where(OPEN, tasks.c.id.not_in(known))
    running = sa.select(workflows.c.id, sa.literal("workflow")).where(
        workflows.c.finished_ms.is_(None), workflows.c.id.not_in(known)
    )
    for query in (open_tasks, running):
        await connection.execute(lost.insert().from_select(["id", "what"], query))


def _outline(row: Any) -> Outline:
    return Outline(
        id=row.id,
        state=TaskState(row.state),
        workflow_id=row.workflow_id or "",
        parent_id=row.parent_id or "",
        options=_options.decode(row.options) if row.options else {},
    )


def _task(row: Any, kept: list[tuple[str, bytes]], children: Iterable[str]) -> LostTask:
    return LostTask(
        outline=_outline(row),
        queue=row.queue or row.capability,
        spec=row.spec,
        priority=row.priority,
        attempt=row.attempt,
        failures=row.failures,
        created_ms=row.created_ms,
        ready_ms=row.queued_ms or 0,
        started_ms=row.started_ms or 0,
        finished_ms=row.finished_ms or 0,
        result=row.result or b"",
        failure=row.failure or b"",
        steps=kept,
        children=list(children),
    )
