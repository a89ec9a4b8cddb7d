"""A flow on its way in: checked, opened as a workflow, stored in batches in an order in which every need comes first.

A flow of more than one batch holds a signal task, `amas/all-in`, which keeps its workflow open: tasks run from the first batch
on, but nothing is judged finished before the last is in and the signal is sent. Ids follow from the workflow's id and the keys,
so a submitter that died half-way is repeated under its idempotency key and goes on where it was; one that never comes back fails
its workflow after an hour. Called by the Python client and the REST API.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec

from amas.artifacts.values import LargeValues
from amas.clock import child_id, new_id
from amas.core.flow import sub_tasks
from amas.engine.graph import Owner
from amas.engine.queue import Idempotency, TaskQueue
from amas.engine.workflows import Workflows
from amas.model.blob import to_blob
from amas.model.flow import RESERVED_PREFIX, SIGNAL_CAPABILITY, Flow
from amas.model.goal import SubTask
from amas.model.journal import WorkflowOpening
from amas.model.states import Priority, TaskState
from amas.model.task import Submission
from amas.observe.tracing import current

BATCH = 1000
"""Tasks in one call of the engine, which serves nobody else meanwhile: about ten milliseconds."""
ALL_IN_KEY = f"{RESERVED_PREFIX}all-in"
ALL_IN_EXPIRES_S = 3600.0


class StartOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a flow is to run."""

    tenant: str = ""
    priority: int = int(Priority.NORMAL)
    deadline_s: float = 0.0
    """From now; 0 takes the fleet's workflow time-out."""


class FlowOpening(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow keeps of the flow that it came from; `text` and `deadline_s` as goals have them."""

    text: str
    output: str
    tasks: int
    deadline_s: float
    tenant: str = ""


class Store(Protocol):
    """Stores a batch as `TaskQueue.submit` does, or says it again until the engine answers."""

    async def __call__(
        self,
        batch: Sequence[Submission],
        *,
        workflow: WorkflowOpening | None = None,
        idempotency: Idempotency | None = None,
        resend: bool = False,
    ) -> bytes | None:
        """Return None, or the first answer when the idempotency key was used before."""


class Starter(NamedTuple):
    """What it takes to start flows."""

    store: Store
    queue: TaskQueue
    workflows: Workflows
    values: LargeValues


def flow_digest(flow: Flow, options: StartOptions) -> str:
    """Return what tells two flows apart under one idempotency key."""
    return sha256(msgspec.msgpack.encode((flow, options), order="deterministic")).hexdigest()


async def start_flow(starter: Starter, flow: Flow, options: StartOptions, *, key: str = "") -> str:
    """Store a checked flow and return its workflow's id; under the same idempotency `key` the first one's, gone on with."""
    workflow_id = new_id()
    opening = FlowOpening(
        text=flow.name, output=flow.output, tasks=len(flow.tasks), deadline_s=options.deadline_s, tenant=options.tenant
    )
    tasks = sub_tasks(flow, priority=options.priority)
    large = len(tasks) > BATCH
    if large:
        tasks.insert(0, SubTask(key=ALL_IN_KEY, capability=SIGNAL_CAPABILITY, kind="signal", expires_s=ALL_IN_EXPIRES_S))
    idempotency = Idempotency(key, flow_digest(flow, options), workflow_id.encode()) if key else None
    batches = _batches(tasks)
    first = await starter.store(
        await _submissions(starter, next(batches), workflow_id, options),
        workflow=WorkflowOpening(workflow_id, to_blob(opening)),
        idempotency=idempotency,
    )
    if first is not None:
        workflow_id = first.decode()
    if large and not (first is not None and await _is_in(starter, workflow_id)):
        for batch in batches:
            # Under a key somebody else may be at the same flow, so what is there is left as it is.
            await starter.store(await _submissions(starter, batch, workflow_id, options), resend=bool(key))
        await starter.workflows.signal(child_id(workflow_id, ALL_IN_KEY))
    return workflow_id


async def _is_in(starter: Starter, workflow_id: str) -> bool:
    """Return whether all of a workflow was stored before, or it takes no more."""
    sealed = child_id(workflow_id, ALL_IN_KEY)
    found = await starter.queue.outcomes([sealed])
    return sealed not in found or found[sealed].state is not TaskState.WAITING


def _batches(tasks: Sequence[SubTask]) -> Iterator[list[SubTask]]:
    """Yield tasks in batches; a task and the one that undoes it go in together."""
    batch: list[SubTask] = []
    for task in tasks:
        if len(batch) >= BATCH and not task.undoes:
            yield batch
            batch = []
        batch.append(task)
    yield batch


async def _submissions(starter: Starter, tasks: Sequence[SubTask], workflow_id: str, options: StartOptions) -> list[Submission]:
    deadline_ms = starter.queue.now_ms() + round(options.deadline_s * 1000) if options.deadline_s else 0
    owner = Owner(
        id=workflow_id,
        workflow_id=workflow_id,
        tenant=options.tenant,
        deadline_ms=deadline_ms,
        traceparent=current(),
    )
    return await starter.values.sub_tasks(tasks, owner)
