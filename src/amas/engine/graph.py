"""Sub-tasks made ready for the engine: ids from keys, needs from keys, and what they have from their owner.

The owner is the workflow or the task that they belong to. A key within an owner is always the same id, so whoever says a graph
again (a later attempt, a submitter that died half-way) finds what is there already. Called by hosts for what agents spawn and
by whoever starts a flow.
"""

from collections.abc import Sequence
from typing import NamedTuple

from amas.clock import child_id, now_ms
from amas.engine.payload import encode_spec
from amas.errors import SubmissionError
from amas.model.fleet import own_queue
from amas.model.goal import SubTask
from amas.model.limits import Reserve, reserves_of
from amas.model.task import Choice, Submission, SubmitOptions, TaskSpec

SECONDS_MAX = 3_153_600_000
"""A hundred years, which the engine's numbers hold exactly in milliseconds."""


class Owner(NamedTuple):
    """What the tasks of one graph share."""

    id: str
    """A workflow's id, or a parent task's."""
    workflow_id: str = ""
    parent_id: str = ""
    """Empty for the first tasks of a workflow."""
    tenant: str = ""
    deadline_ms: int = 0
    traceparent: str = ""
    inherited: tuple[tuple[str, str], ...] = ()
    """(id, key) of what the parent needs, which has ended."""
    generation: int = 0
    """How often a parent was reset to start anew; what it spawns then are other tasks."""

    @classmethod
    def task(cls, task_id: str, spec: TaskSpec, *, generation: int) -> "Owner":
        """Return a task as the owner of what it spawns."""
        return cls(
            id=task_id,
            workflow_id=spec.workflow_id,
            parent_id=task_id,
            tenant=spec.tenant,
            deadline_ms=spec.deadline_ms,
            traceparent=spec.traceparent,
            inherited=tuple(zip(spec.needs, spec.need_keys or spec.needs, strict=True)),
            generation=generation,
        )

    def child_id(self, key: str) -> str:
        """Return the id of the task `key`."""
        return child_id(self.id, key, self.generation)


def submission_of(task: SubTask, owner: Owner) -> Submission:
    """Return a sub-task ready for `TaskQueue.submit` and `.suspend`."""
    _check(task, owner)
    needs = [owner.child_id(key) for key in task.needs]
    seen = list(zip(needs, task.needs, strict=True))
    if task.inherits_needs:
        seen += owner.inherited
    if task.undoes:
        seen.append((owner.child_id(task.undoes), task.undoes))
    deadline_ms = owner.deadline_ms
    if task.deadline_s:
        own_ms = now_ms() + round(task.deadline_s * 1000)
        deadline_ms = min(own_ms, deadline_ms) if deadline_ms else own_ms
    spec = TaskSpec(
        capability=task.capability,
        input=task.input,
        key=task.key,
        title=task.title,
        layer=task.layer or "",
        timeout_s=task.timeout_s,
        retry=task.retry,
        needs=tuple(task_id for task_id, _ in seen),
        need_keys=tuple(key for _, key in seen),
        workflow_id=owner.workflow_id,
        parent_id=owner.parent_id,
        deadline_ms=deadline_ms,
        traceparent=owner.traceparent,
        tenant=owner.tenant,
        when=task.when,
        submitted_ms=now_ms() if owner.traceparent else 0,
    )
    options = SubmitOptions(
        needs=[*needs, *(owner.child_id(key) for key in task.runs_after)] or None,
        delay_ms=round(task.delay_s * 1000),
        workflow_id=owner.workflow_id,
        parent_id=owner.parent_id,
        retries=task.retry.retries,
        on_failure=task.on_failure,
        tenant=owner.tenant,
        reserves=list(_reserves(task)) or None,
        quorum=task.quorum,
        kind=task.kind,
        expires_ms=round((task.expires_s or task.deadline_s) * 1000),
        compensates=owner.child_id(task.undoes) if task.undoes else "",
        choice=_choice(task),
    )
    task_id = owner.child_id(task.key)
    queue = own_queue(task.pool) if task.pool else task.capability
    if task.kind == "signal":  # its queue is the name that it is answered under, unique in its workflow
        queue = task_id if owner.parent_id else task.key
    return Submission(
        task_id,
        queue,
        encode_spec(spec, f"task {task.key or task.capability}"),
        task.priority,
        None if options == _PLAIN else options,
    )


_PLAIN = SubmitOptions()


def _check(task: SubTask, owner: Owner) -> None:
    """Raise SubmissionError for what no engine could carry out."""
    if task.undoes and not owner.workflow_id:
        raise SubmissionError(f"task {task.key!r} undoes another, which only tasks of a workflow can")
    for name in ("delay_s", "deadline_s", "expires_s", "timeout_s", "choice_s"):
        if not abs(seconds := getattr(task, name)) <= SECONDS_MAX:  # NaN is neither more nor less
            raise SubmissionError(
                f"task {task.key!r}: {name} is {seconds:g}, and must be at most {SECONDS_MAX} s, a hundred years"
            )


def _choice(task: SubTask) -> Choice | None:
    if task.prefer and task.avoid:
        raise SubmissionError(f"sub-task {task.key!r} says both prefer and avoid: say one")
    agents = task.prefer or task.avoid
    return Choice(round(task.choice_s * 1000), bool(task.prefer), agents) if agents else None


def _reserves(task: SubTask) -> Sequence[Reserve]:
    try:
        return reserves_of(concurrency=task.concurrency, provider=task.provider, estimate=task.estimate)
    except ValueError as error:
        raise SubmissionError(f"sub-task {task.key!r}: {error}") from error
