"""Workflows as spans, told by the recorder when it has recorded their end, where tracing is on; and the traces of what ended.

A workflow's times and the trace that it belongs to stand in the records, so that whoever leads can tell of it.
"""

from collections.abc import Iterable
from contextlib import suppress

from amas.errors import RecordsError
from amas.model.journal import JournalEntry
from amas.model.states import WorkflowState
from amas.model.task import TaskView
from amas.model.trace import span_of
from amas.observe import gen_ai
from amas.observe.tracing import GOAL, OUTCOME, TENANT, WORKFLOW_ID, Span, Tracing, known, process_tracing
from amas.records.history import History
from amas.records.store import Records
from amas.records.views import WorkflowRecord

WORKFLOWS_MAX = 100
"""In one sweep of the recorder, which mustn't fall behind for want of spans."""

GOAL_CHARS_MAX = 120
"""Beside the span's name, of which the conventions want few."""


async def tell_workflows(tracing: Tracing, records: Records, entries: Iterable[JournalEntry]) -> None:
    """Tell of the workflows that ended with these entries, which are recorded; what the records don't answer is left out."""
    ended = {change.workflow_id: change.state for entry in entries for change in entry.workflows if change.state.terminal}
    with suppress(RecordsError):
        for workflow_id, state in list(ended.items())[:WORKFLOWS_MAX]:
            if span := await _span(records, workflow_id, state):
                tracing.tell(span)


async def _span(records: Records, workflow_id: str, state: WorkflowState) -> Span | None:
    """Return a workflow's span; None where its trace isn't kept."""
    found = await records.workflow(workflow_id)
    if found is None:
        return None
    task = await _first_task(records, found)
    place = known(task.traceparent) if task else None
    if task is None or place is None:
        return None
    goal = " ".join(found.goal.text.split())[:GOAL_CHARS_MAX] if found.goal else ""
    error = "" if state is WorkflowState.SUCCEEDED else state.value
    about = {
        gen_ai.OPERATION: "invoke_workflow",
        gen_ai.ERROR_TYPE: error,
        GOAL: goal,
        WORKFLOW_ID: workflow_id,
        OUTCOME: state.value,
        TENANT: task.tenant,
    }
    started_ns, ended_ns = found.created_ms * 1_000_000, found.finished_ms * 1_000_000
    return Span("invoke_workflow", place, span_of(workflow_id), started_ns, ended_ns, about, error=error)


async def trace_of_end(history: History, subject: str) -> str:
    """Return the `traceparent` for who is told that a task or a workflow ended: the span that tells of it, "" without a trace.

    Where the trace isn't kept, or this fleet doesn't trace, that is what its submitter sent.
    """
    task = None
    with suppress(RecordsError):
        task = await history.task(subject)
        if task is None and (workflow := await history.workflow(subject)) is not None:
            task = await _first_task(history, workflow)
    if task is None:
        return ""
    place = known(task.traceparent) if process_tracing() is not None else None
    return str(place._replace(span_id=span_of(subject))) if place else task.traceparent


async def _first_task(history: History, workflow: WorkflowRecord) -> TaskView | None:
    """Return a task of a workflow with its trace, which all of them have."""
    task_id = workflow.root_id or next((task.id for task in await history.tasks(workflow_id=workflow.id, limit=1)), "")
    return await history.task(task_id)
