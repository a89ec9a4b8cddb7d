"""What webhooks may hear of: the ends of tasks, workflows and goals in the history, and approvals that wait in the engine.

The history is the journal as the recorder wrote it, entry by entry, so a place in it is a place in the journal, and it still has
what the engine has trimmed. Called by `webhooks.py`; nothing here writes.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from amas.core.hooks import asks_for
from amas.engine.connection import Engine
from amas.engine.queue import TaskQueue
from amas.engine.signals import open_approvals
from amas.model.hooks import Occurrence
from amas.model.states import TERMINAL
from amas.model.task import Failure, TaskView
from amas.records.history import History
from amas.records.views import EventRecord, TaskEvent, WorkflowRecord

ENTRIES_MAX = 100
"""Of the journal, at a time: each may end a thousand tasks."""
ENDS_MAX = 2000
"""At a time, once an entry is whole."""
APPROVALS_MAX = 1000
"""That are told of at a time: more questions than people answer."""


class Read(NamedTuple):
    """A piece of the history."""

    position: str
    """Up to which entry it goes; where nothing is new, the same as before."""
    found: list[Occurrence]
    more: bool
    """Whether there may be more at once."""


async def read(history: History, after: str, patterns: Collection[str]) -> Read:
    """Return what came after an entry of the journal and is among what is asked for."""
    entries = await history.events(after=after, limit=ENTRIES_MAX)
    page = _whole(entries)
    if not page:
        return Read(after, [], more=False)
    tasks = [(event, task) for event in page for task in _ends(event) if asks_for(patterns, f"task.{task.state}")]
    about = await history.tasks_by_id([task.id for _, task in tasks])
    found = [_of_task(event, task, about[task.id]) for event, task in tasks if task.id in about]
    wanted = any(asks_for(patterns, f"{what}.{event.workflow_state}") for what in ("workflow", "goal") for event in page)
    ended = [event for event in page if event.workflow_state in TERMINAL] if wanted else []
    about_workflows = [(event, await history.workflow(event.workflow_id)) for event in ended]
    found += [_of_workflow(event, workflow) for event, workflow in about_workflows if workflow is not None]
    return Read(page[-1].id, found, more=len(page) < len(entries) or len(entries) >= ENTRIES_MAX)


def _whole(entries: Sequence[EventRecord]) -> list[EventRecord]:
    """Return the first of the events, so many that they don't end too many tasks, and all of each entry."""
    page: list[EventRecord] = []
    ends = 0
    for event in entries:
        if ends >= ENDS_MAX and event.id != page[-1].id:
            break
        page.append(event)
        ends += len(event.tasks)
    return page


def _ends(event: EventRecord) -> Iterator[TaskEvent]:
    return (task for task in event.tasks if task.state in TERMINAL)


def _of_task(event: EventRecord, end: TaskEvent, task: TaskView) -> Occurrence:
    failure = task.failure if task.attempt == end.attempt or not end.attempt else None
    if end.error and failure is None:
        failure = Failure("failed", end.error)
    return Occurrence(
        id=f"{event.id}-{end.id}",
        kind=f"task.{end.state}",
        subject=end.id,
        at_ms=event.at_ms,
        tenant=task.tenant,
        workflow_id=task.workflow_id,
        capability=task.capability,
        data={
            "id": end.id,
            "state": end.state,
            "capability": task.capability,
            "key": task.key,
            "title": task.title,
            "tenant": task.tenant,
            "workflow_id": task.workflow_id,
            "parent_id": task.parent_id,
            "attempt": end.attempt or task.attempt,
            "agent_id": end.agent_id or task.agent_id,
            "failure": {"code": failure.code, "message": failure.message} if failure and end.state == "failed" else None,
        },
    )


def _of_workflow(event: EventRecord, workflow: WorkflowRecord) -> Occurrence:
    what = "workflow" if workflow.goal is None else "goal"
    return Occurrence(
        id=f"{event.id}-{workflow.id}",
        kind=f"{what}.{event.workflow_state}",
        subject=workflow.id,
        at_ms=event.at_ms,
        tenant=workflow.tenant,
        workflow_id=workflow.id,
        data={
            "id": workflow.id,
            "state": event.workflow_state,
            "tenant": workflow.tenant,
            "root_id": workflow.root_id,
            "tasks": {state.value: count for state, count in workflow.tasks.items()},
            "created_ms": workflow.created_ms,
        },
    )


async def asked(engine: Engine, queue: TaskQueue) -> list[Occurrence]:
    """Return the approvals that wait just now, those of the oldest workflows first."""
    waiting = (await open_approvals(engine))[:APPROVALS_MAX]
    tenants = await queue.tenants_of([approval.task_id for approval in waiting]) if waiting else {}
    at_ms = queue.now_ms()
    return [
        Occurrence(
            id=f"{at_ms}-{approval.task_id}",
            kind="approval.waiting",
            subject=approval.task_id,
            at_ms=at_ms,
            tenant=tenants.get(approval.task_id, ""),
            workflow_id=approval.workflow_id,
            data={
                "id": approval.task_id,
                "workflow_id": approval.workflow_id,
                "key": approval.key,
                "question": approval.question,
                "expires_ms": approval.expires_ms,
            },
        )
        for approval in waiting
    ]


def patterns_of(hooks: Iterable[Sequence[str]]) -> frozenset[str]:
    """Return all that some hooks ask for."""
    return frozenset(pattern for patterns in hooks for pattern in patterns)
