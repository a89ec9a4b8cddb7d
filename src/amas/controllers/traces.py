"""Workflows as spans: told by the recorder when it has recorded their end, where tracing is on.

A workflow's times and the trace that it belongs to stand in the records, so that whoever leads can tell of it.
"""

from collections.abc import Iterable
from contextlib import suppress

from amas.errors import RecordsError
from amas.model.journal import JournalEntry
from amas.model.states import WorkflowState
from amas.model.trace import span_of
from amas.observe.tracing import OUTCOME, TENANT, WORKFLOW_ID, Span, Tracing, known
from amas.records.store import Records

WORKFLOWS_MAX = 100
"""In one sweep of the recorder, which mustn't fall behind for want of spans."""


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
    task_id = found.root_id or next((task.id for task in await records.tasks(workflow_id=workflow_id, limit=1)), "")
    task = await records.task(task_id)
    place = known(task.traceparent) if task else None
    if task is None or place is None:
        return None
    name = " ".join(found.goal.text.split())[:120] if found.goal else "of a flow"
    about = {WORKFLOW_ID: workflow_id, OUTCOME: state.value, TENANT: task.tenant}
    error = "" if state is WorkflowState.SUCCEEDED else state.value
    started_ns, ended_ns = found.created_ms * 1_000_000, found.finished_ms * 1_000_000
    return Span(f"workflow {name}", place, span_of(workflow_id), started_ns, ended_ns, about, error=error)
