"""Reading: the queries of the API and the command line. None of them touches the engine.

Pages go by id and never by offset: `cursor` is the last id of the page before. Lists of tasks leave out inputs and results, which
may be a megabyte each; `task` has them.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import sqlalchemy as sa

from amas.core.report import Slots, Work
from amas.model.goal import Goal
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Failure, TaskSpec, TaskView
from amas.records.analytics import analyse, mean_of_newest, work_of
from amas.records.costs import SUMMED_FROM, CostsBy, calls_of, costs_of_tasks, groups, total, usd_of
from amas.records.database import Database
from amas.records.ended import Span, worked_on
from amas.records.lookup import of_tasks
from amas.records.report import OPEN_MAX, open_ids, work_in
from amas.records.tables import AMISS, OPEN, attempts, costs, entry_id, entry_number, events, goals, recorder, tasks, workflows
from amas.records.tenancy import own_workflows
from amas.records.views import (
    Analytics,
    AttemptRecord,
    Cost,
    CostGroup,
    EventRecord,
    ModelCallRecord,
    TaskEvent,
    ValuesInUse,
    WorkflowRecord,
)

PAGE = 50
PAGE_MAX = 1000
"""More are never returned at a time, whatever is asked for."""

T = TypeVar("T")
_any = msgspec.msgpack.Decoder()
_goal = msgspec.msgpack.Decoder(Goal)
_failure = msgspec.msgpack.Decoder(Failure)
_needs = msgspec.msgpack.Decoder(tuple[str, ...])
_spec = msgspec.msgpack.Decoder(TaskSpec)
_task_events = msgspec.msgpack.Decoder(list[tuple[Any, ...]])
_old_task_events = msgspec.json.Decoder(list[TaskEvent])

POSITION = sa.select(recorder.c.position).where(recorder.c.id == 1)
_LISTED = [column for column in tasks.columns if column.name not in {"spec", "options", "result"}]
_TASK = sa.select(tasks).where(tasks.c.id == sa.bindparam("task_id"))
_TASKS = sa.select(
    tasks,
    sa.exists().where(attempts.c.task_id == tasks.c.id).label("tried"),
    sa.exists().where(costs.c.task_id == tasks.c.id).label("priced"),
).where(tasks.c.id.in_(sa.bindparam("task_ids", expanding=True)))
_ATTEMPTS = (
    sa.select(attempts)
    .where(attempts.c.task_id.in_(sa.bindparam("task_ids", expanding=True)))
    .order_by(attempts.c.task_id, attempts.c.attempt)
)
_workflow_columns = sa.select(workflows, goals.c.goal).outerjoin(goals, goals.c.workflow_id == workflows.c.id)


class TaskInFull(NamedTuple):
    """All that the history has of a task; None and nothing for one that it doesn't know."""

    task: TaskView | None
    attempts: list[AttemptRecord]
    cost: Cost


_NOTHING = TaskInFull(None, [], Cost())


class History:
    """The history of one cell, to be read."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def workflow(self, workflow_id: str) -> WorkflowRecord | None:
        """Return a workflow; None when there is none of that id."""
        query = _workflow_columns.where(workflows.c.id == workflow_id)
        found = await self._database.look(lambda connection: _workflows(connection, query))
        return found[0] if found else None

    async def workflows(
        self, *, limit: int = PAGE, cursor: str = "", state: WorkflowState | None = None, tenant: str = ""
    ) -> list[WorkflowRecord]:
        """Return workflows, newest first; `tenant`: those that have a task of it, which are its own."""

        def asked(connection: sa.Connection) -> list[WorkflowRecord]:
            query = _page(_workflow_columns, workflows.c.id, limit, cursor)
            if tenant:
                own = own_workflows(connection, tenant, limit=_bounded(limit), cursor=cursor, state=state)
                return _workflows(connection, query.where(workflows.c.id.in_(own)))
            return _workflows(connection, query if state is None else query.where(workflows.c.state == state.value))

        return await self._again(("workflows", limit, cursor, state, tenant), asked, rows=limit)

    async def task(self, task_id: str) -> TaskView | None:
        """Return a task with its input and result; None when there is none of that id."""
        found = await self._database.look(lambda connection: connection.execute(_TASK, {"task_id": task_id}).first())
        return _task(found) if found else None

    async def task_in_full(self, task_id: str) -> TaskInFull:
        """Return a task, every attempt at it, first to last, and its cost, as `task`, `attempts` and `cost` do: in one look."""
        (found,) = await self.tasks_in_full([task_id])
        return found

    async def tasks_in_full(self, task_ids: Sequence[str]) -> list[TaskInFull]:
        """Return the same of several, in order: in one look, and for those of one attempt that cost nothing by one statement."""
        return await self._database.look(lambda connection: _in_full_of(connection, task_ids))

    def task_at_a_glance(self, task_id: str) -> TaskInFull | None:
        """Return what `task_in_full` does, at once and without a thread; None where only that may find it out."""
        found = self._database.glance(lambda connection: _in_full_of(connection, [task_id]))
        return found[0] if found else None

    async def tasks(
        self,
        *,
        workflow_id: str = "",
        state: TaskState | None = None,
        agent_id: str = "",
        tenant: str = "",
        limit: int = PAGE,
        cursor: str = "",
    ) -> list[TaskView]:
        """Return tasks without inputs and results, newest first; `agent_id`: those that the agent worked on."""

        def asked(connection: sa.Connection) -> list[TaskView]:
            query = _page(sa.select(*_LISTED), tasks.c.id, limit, cursor)
            if workflow_id:
                query = query.where(tasks.c.workflow_id == workflow_id)
            if tenant:
                query = query.where(tasks.c.tenant == tenant)
            if state is not None:
                query = _in_state(query, state)
            if agent_id:
                query = query.where(tasks.c.id.in_(worked_on(agent_id)))
            return _listed(connection, query)

        return await self._again(("tasks", workflow_id, state, agent_id, tenant, limit, cursor), asked, rows=limit)

    async def tasks_of(self, workflow_id: str, *, limit: int = PAGE) -> tuple[list[TaskView], Cost]:
        """Return a workflow's tasks as `tasks` does, and its cost: in one look."""
        query = _page(sa.select(*_LISTED), tasks.c.id, limit, "").where(tasks.c.workflow_id == workflow_id)

        def asked(connection: sa.Connection) -> tuple[list[TaskView], Cost]:
            return _listed(connection, query), total(connection, Span(workflow_id=workflow_id))

        return await self._database.look(asked)

    async def tasks_by_id(self, task_ids: Sequence[str]) -> dict[str, TaskView]:
        """Return those of these tasks that are known, without inputs and results."""
        found: dict[str, TaskView] = {}
        for first in range(0, len(task_ids), PAGE_MAX):
            query = sa.select(*_LISTED).where(tasks.c.id.in_(task_ids[first : first + PAGE_MAX]))
            found |= {row.id: _task(row) for row in await self._rows(query)}
        return found

    async def spawned_by(self, task_id: str, *, workflow_id: str, limit: int = PAGE) -> list[TaskView]:
        """Return the sub-tasks of a task, which belong to its workflow where it has one, in the order of their creation."""
        within = tasks.c.workflow_id == workflow_id if workflow_id else tasks.c.workflow_id.is_(None)
        query = sa.select(*_LISTED).where(tasks.c.parent_id == task_id, within).order_by(tasks.c.id).limit(_bounded(limit))
        return [_task(row) for row in await self._rows(query)]

    async def tenants_of(self, task_ids: Sequence[str]) -> dict[str, str]:
        """Return the tenant of each of these tasks that is known, "" for none; 1000 at most."""
        query = sa.select(tasks.c.id, tasks.c.tenant).where(tasks.c.id.in_(task_ids)).limit(PAGE_MAX)
        return {row.id: row.tenant or "" for row in await self._rows(query)}

    async def values_in_use(self, *, since_ms: int, cursor: str = "") -> list[ValuesInUse]:
        """Return the inputs and results of tasks that are open or ended since a time, oldest first."""
        columns = (tasks.c.id, tasks.c.finished_ms, tasks.c.spec, tasks.c.result)
        wanted = sa.or_(tasks.c.finished_ms.is_(None), tasks.c.finished_ms >= since_ms)
        query = sa.select(*columns).where(wanted, tasks.c.id > cursor).order_by(tasks.c.id).limit(PAGE_MAX)
        rows = await self._rows(query)
        return [ValuesInUse(row.id, row.finished_ms is None, row.spec + b" " + (row.result or b"")) for row in rows]

    async def attempts(self, task_id: str) -> list[AttemptRecord]:
        """Return every attempt at a task, first to last."""
        return (await self.task_in_full(task_id)).attempts

    async def events(self, *, after: str = "0-0", workflow_id: str = "", limit: int = PAGE) -> list[EventRecord]:
        """Return events after an id, oldest first, of one workflow or of all; an id may stand there once for each workflow."""
        query = sa.select(events).where(events.c.entry > entry_number(after))
        if workflow_id:
            query = query.where(events.c.workflow_id == workflow_id)
        query = query.order_by(events.c.entry, events.c.workflow_id).limit(_bounded(limit))
        return await self._whole_entries(await self._rows(query), workflow_id, limit)

    async def analytics(self, since_ms: int) -> Analytics:
        """Return figures of what ended since a time, and of what is open."""
        return await self._again(("analytics", since_ms), lambda connection: analyse(connection, since_ms))

    async def work_of(self, agent_id: str) -> tuple[int, int]:
        """Return how many tasks an agent has done, and how many of its attempts failed."""
        return await self._database.look(lambda connection: work_of(connection, agent_id))

    async def mean_response_s(self, since_ms: int, *, limit: int = PAGE_MAX) -> float | None:
        """Return the mean seconds of those that succeeded of the newest `limit` tasks that ended since a time, or None."""
        return await self._database.look(lambda connection: mean_of_newest(connection, since_ms, limit=limit))

    async def lately(self, *, responses_since_ms: int, spent_since_ms: Sequence[int]) -> tuple[str, float | None, list[float]]:
        """Return the last entry that is recorded, the mean response as `mean_response_s` does, and the dollars since each time.

        In one look, for who looks often.
        """

        def asked(connection: sa.Connection) -> tuple[str, float | None, list[float]]:
            position = entry_id(int(connection.execute(POSITION).scalar_one()))
            mean_s = mean_of_newest(connection, responses_since_ms, limit=PAGE_MAX)
            return position, mean_s, [usd_of(connection, Span(since_ms=since_ms)) for since_ms in spent_since_ms]

        return await self._again(("lately", responses_since_ms, *spent_since_ms), asked)

    async def cost(self, *, task_id: str = "", workflow_id: str = "") -> Cost:
        """Return what a task or a workflow has cost so far."""
        return await self._database.look(lambda connection: total(connection, Span(task_id=task_id, workflow_id=workflow_id)))

    async def usd_since(self, since_ms: int) -> float:
        """Return the dollars that were spent since a time."""
        return await self._database.look(lambda connection: usd_of(connection, Span(since_ms=since_ms)))

    async def model_calls(self, task_id: str) -> list[ModelCallRecord]:
        """Return a task's requests to models, first to last, a thousand at most."""
        return await self._database.look(lambda connection: calls_of(connection, task_id))

    async def costs(
        self, by: CostsBy, span: Span, *, limit: int = PAGE, after: str | None = None
    ) -> tuple[Cost, list[CostGroup]]:
        """Return what all in `span` cost, and the groups after the one named `after`: newest or in the order of their names."""

        def asked(connection: sa.Connection) -> tuple[Cost, list[CostGroup]]:
            return total(connection, span), groups(connection, by, span, limit=_bounded(limit), after=after)

        return await self._again(("costs", by, span, limit, after), asked, rows=limit)

    async def summed_from_ms(self) -> int:
        """Return since when the sums hold all that there is: 0 from the beginning on, as soon as nothing older is left to add."""
        return await self._database.look(lambda connection: int(connection.execute(SUMMED_FROM).scalar_one()))

    async def work_in(self, slots: Slots) -> Work:
        """Return what the tasks did that ended in a window, or are open, added up."""
        return await self._database.look(lambda connection: work_in(connection, slots))

    async def open_ids(self, *, limit: int = OPEN_MAX) -> list[str]:
        """Return the ids of open tasks, the oldest first."""
        return await self._database.look(lambda connection: open_ids(connection, limit=limit))

    async def _whole_entries(self, rows: Sequence[Any], workflow_id: str, limit: int) -> list[EventRecord]:
        """A page that ended within an entry takes the rest of it along, since the next page begins after that entry."""
        if rows and not workflow_id and len(rows) == _bounded(limit):
            last = rows[-1]
            rest = sa.select(events).where(events.c.entry == last.entry, events.c.workflow_id > last.workflow_id)
            rows = [*rows, *await self._rows(rest.order_by(events.c.workflow_id))]
        return [_event(row) for row in rows]

    async def _rows(self, query: sa.Select[Any]) -> Sequence[Any]:
        return await self._database.look(lambda connection: connection.execute(query).all())

    async def _again(self, question: tuple[Hashable, ...], asked: Callable[[sa.Connection], T], *, rows: int = 0) -> T:
        """Return what a function finds; of long lists nothing is kept, which nobody asks for again and again."""
        return await (self._database.look_again(question, asked) if rows <= PAGE else self._database.look(asked))


def _workflows(connection: sa.Connection, query: sa.Select[Any]) -> list[WorkflowRecord]:
    rows = connection.execute(query).all()
    counted = (
        sa.select(tasks.c.workflow_id, tasks.c.state, sa.func.count(), sa.func.sum(tasks.c.progress))
        .where(tasks.c.workflow_id.in_([row.id for row in rows]))
        .group_by(tasks.c.workflow_id, tasks.c.state)
    )
    counts = connection.execute(counted).all() if rows else []
    return [_workflow(row, [count for count in counts if count[0] == row.id]) for row in rows]


def _listed(connection: sa.Connection, query: sa.Select[Any]) -> list[TaskView]:
    """Return tasks; in the thread that looks, since a thousand take longer than others who use the event loop want to wait."""
    return [_task(row) for row in connection.execute(query)]


def _bounded(limit: int) -> int:
    return max(1, min(limit, PAGE_MAX))


def _page(query: sa.Select[Any], column: sa.Column[Any], limit: int, cursor: str) -> sa.Select[Any]:
    query = query.order_by(column.desc()).limit(_bounded(limit))
    return query.where(column < cursor) if cursor else query


def _in_state(query: sa.Select[Any], state: TaskState) -> sa.Select[Any]:
    query = query.where(tasks.c.state == state.value)
    if state is TaskState.SUCCEEDED:
        return query
    return query.where(AMISS if state.terminal else OPEN)


def _workflow(row: Any, counts: Iterable[Any]) -> WorkflowRecord:
    states: dict[TaskState, int] = {}
    done = 0.0
    for _, name, count, progress in counts:
        state = TaskState(name)
        states[state] = count
        done += count if state.terminal else (progress or 0.0) if state is TaskState.RUNNING else 0.0
    finished = row.state == WorkflowState.SUCCEEDED.value
    return WorkflowRecord(
        id=row.id,
        state=WorkflowState(row.state),
        goal=_goal.decode(row.goal) if row.goal else None,
        opening=_any.decode(row.opening) if row.opening else None,
        root_id=row.root_id or "",
        tasks=states,
        progress=1.0 if finished else done / max(1, sum(states.values())),
        created_ms=row.created_ms,
        finished_ms=row.finished_ms or 0,
    )


def _task(row: Any) -> TaskView:
    state, result = TaskState(row.state), getattr(row, "result", None)  # lists are without
    spec = _spec.decode(row.spec) if hasattr(row, "spec") else None
    return TaskView(
        id=row.id,
        state=state,
        capability=row.capability,
        key=row.key or "",
        title=row.title or "",
        layer=row.layer or "",
        tenant=row.tenant or "",
        workflow_id=row.workflow_id or "",
        parent_id=row.parent_id or "",
        needs=_needs.decode(row.needs) if row.needs else (),
        attempt=row.attempt,
        failures=row.failures,
        agent_id=row.agent_id or "",
        host_id=row.host_id or "",
        priority=row.priority,
        progress=1.0 if state is TaskState.SUCCEEDED else row.progress or 0.0,
        note=row.note or "",
        created_ms=row.created_ms,
        started_ms=row.started_ms or 0,
        finished_ms=row.finished_ms or 0,
        traceparent=spec.traceparent if spec else "",
        input=spec.input if spec else None,
        result=_any.decode(result) if result else None,
        failure=_failure.decode(row.failure) if row.failure else None,
    )


def _in_full_of(connection: sa.Connection, task_ids: Sequence[str]) -> list[TaskInFull]:
    rows = of_tasks(connection, _TASKS, task_ids)
    ids = [row.id for row in rows if row.tried]
    tried: dict[str, list[Any]] = {}
    for row in of_tasks(connection, _ATTEMPTS, ids) if ids else ():
        tried.setdefault(row.task_id, []).append(row)
    priced = [row.id for row in rows if row.priced]
    spent = costs_of_tasks(connection, priced) if priced else {}
    found = {row.id: _in_full(row, tried.get(row.id, ()), spent.get(row.id, Cost())) for row in rows}
    return [found.get(task_id, _NOTHING) for task_id in task_ids]


def _in_full(row: Any, kept: Sequence[Any], spent: Cost) -> TaskInFull:
    tried = _tried(row, kept)
    agent_ms = sum(each.finished_ms - each.started_ms for each in tried if each.finished_ms and each.started_ms)
    cost = msgspec.structs.replace(spent, agent_s=agent_ms / 1000)
    return TaskInFull(_task(row), [_attempt(each, row) for each in tried], cost)


def _tried(task: Any, rows: Sequence[Any]) -> list[Any]:
    """Return the rows of a task's attempts: its own row is that of a first one that ended as the task did, or still runs."""
    return list(rows) if rows or task.attempt != 1 else [task]


def _attempt(row: Any, task: Any) -> AttemptRecord:
    """Return an attempt from its row, or the first one from its task's."""
    return AttemptRecord(
        task_id=task.id,
        attempt=row.attempt,
        capability=task.capability,
        title=task.title or "",
        workflow_id=task.workflow_id or "",
        agent_id=row.agent_id,
        host_id=row.host_id,
        state=row.state,
        started_ms=row.started_ms,
        finished_ms=row.finished_ms or 0,
        failure=_failure.decode(row.failure) if row.failure else None,
    )


def _event(row: Any) -> EventRecord:
    return EventRecord(
        id=entry_id(row.entry),
        kind=row.kind,
        at_ms=row.at_ms,
        workflow_id=row.workflow_id,
        workflow_state=row.workflow_state or "",
        host_id=row.host_id or "",
        tasks=_changes(row.tasks),
    )


def _changes(stored: bytes) -> list[TaskEvent]:
    if stored.startswith(b"["):  # no msgpack of ours begins so
        return _old_task_events.decode(stored)
    return [TaskEvent(task_id, TaskState(state), *more) for task_id, state, *more in _task_events.decode(stored)]
