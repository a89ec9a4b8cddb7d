"""Tasks as they are submitted, claimed and finished; the wire forms are msgpack arrays, so fields are only ever added at the end.

Inputs and results are plain JSON values (`Json`), which can't refer back to their task: hence `gc=False`, since collections would
walk the thousands of a batch again and again. The engine keeps a `TaskSpec` as opaque bytes and knows only what stands beside it
in a `Submission`: id, queue, priority, and the options that its transitions need.
"""

from typing import Any, Literal

import msgspec

from amas.model.blob import Blob
from amas.model.cost import ModelCall
from amas.model.healing import Crash
from amas.model.limits import Reserve, Usage
from amas.model.states import Priority, TaskState

Json = Any
"""None, bool, int, float, str, list of Json, or dict of str to Json: what JSON can say."""

OnFailure = Literal["fail", "skip"]
"""What a task's failure means to those that need it: `fail` fails them too; `skip` lets them run without its result."""

TaskKind = Literal["work", "timer", "signal"]
"""`work` is for an agent. A `timer` succeeds when its delay is over, a `signal` with what somebody sends; neither is claimed."""


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How often and how soon a failed task is tried again."""

    retries: int = 3
    """Further attempts after the first; the environment's ORCHESTRATION_RETRY_ATTEMPTS by default."""
    backoff_s: float = 1.0
    """Seconds before the second attempt; doubled before each further one."""
    backoff_max_s: float = 60.0
    jitter: float = 0.5
    """The share of the wait that is drawn by chance, 0 to 1, so that many failures don't come back at once."""


DEFAULT_RETRY = RetryPolicy()


class TaskSpec(msgspec.Struct, frozen=True, array_like=True, kw_only=True, gc=False):
    """What a task is: all that its agent and the history need to know, none of which the engine reads."""

    capability: str
    """Dotted: `development.code_review`."""
    input: Json = None
    """Where it is too large for the engine: a reference to the artifact store (`model/artifact.py`)."""
    key: str = ""
    """Its name within its workflow or parent, such as `review/src-core`."""
    title: str = ""
    """For people: one line."""
    layer: str = ""
    timeout_s: float = 0.0
    """Seconds for one attempt; 0 takes the pool's."""
    retry: RetryPolicy = DEFAULT_RETRY
    needs: tuple[str, ...] = ()
    """Ids of the tasks whose results it gets, in this order."""
    need_keys: tuple[str, ...] = ()
    """The names under which it gets them; as long as `needs`, or empty."""
    workflow_id: str = ""
    parent_id: str = ""
    deadline_ms: int = 0
    """Milliseconds since the epoch; 0 for none."""
    traceparent: str = ""
    """W3C trace context of the submitter; sub-tasks have it unchanged (`model/trace.py`)."""
    tenant: str = ""
    when: str = ""
    """A JMESPath condition over `input` and `needs`; an attempt for which it is false ends at once, with null."""
    submitted_ms: int = 0
    """When it was made, for its span; 0 where it has no `traceparent`."""


class Choice(msgspec.Struct, frozen=True, array_like=True):
    """Agents that a task would rather have, or rather not, for a while; then it goes to whoever is free."""

    wait_ms: int
    """From when it is first offered to agents that it doesn't want."""
    wanted: bool
    agents: tuple[str, ...]


class SubmitOptions(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What the engine must know of a task besides its queue; one-letter names on the wire, left out where default."""

    needs: list[str] | None = msgspec.field(name="n", default=None)
    delay_ms: int = msgspec.field(name="d", default=0)
    workflow_id: str = msgspec.field(name="w", default="")
    parent_id: str = msgspec.field(name="u", default="")
    retries: int = msgspec.field(name="m", default=3)
    on_failure: OnFailure = msgspec.field(name="x", default="fail")
    tenant: str = msgspec.field(name="t", default="")
    """Whose work it is: tenants get their fair share of every queue."""
    cost_ms: int = msgspec.field(name="c", default=0)
    """What it will take of an agent's time, for its fair share; 0: what tasks of its queue took on average."""
    reserves: list[Reserve] | None = msgspec.field(name="r", default=None)
    """What an attempt holds while it runs; without one of them it is parked."""
    quorum: int = msgspec.field(name="q", default=0)
    """How many of `needs` must succeed before it runs; 0: all of them."""
    kind: TaskKind = msgspec.field(name="k", default="work")
    expires_ms: int = msgspec.field(name="e", default=0)
    """Milliseconds after which it fails unless it has ended: work and timers from submission, with `deadline_exceeded`; a signal
    from when its needs were satisfied, with `expired`. 0: never."""
    compensates: str = msgspec.field(name="o", default="")
    """The id of the task that this one undoes when their workflow fails or is cancelled; its own needs are ignored."""
    choice: Choice | None = msgspec.field(name="z", default=None)


class Submission(msgspec.Struct, frozen=True, array_like=True, gc=False, omit_defaults=True):
    """One task on its way into the engine."""

    id: str
    queue: str
    """Where it waits to be claimed: its capability, or `@pool` where one pool alone may take it."""
    spec: Blob
    """A `TaskSpec`."""
    priority: int = int(Priority.NORMAL)
    options: SubmitOptions | None = None


class Claimed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt, handed to a host."""

    id: str
    attempt: int
    """The fencing token: 1 for the first."""
    agent_id: str
    failures: int
    """How many earlier attempts failed."""
    resumed: bool
    """Whether an earlier attempt may have journaled steps."""
    spec: TaskSpec
    generation: int = 0
    """How often it was reset to start anew; the sub-tasks of each time are others."""
    again: bool = False
    """Whether it was reset, by a re-run or out of the dead letters."""

    def in_time(self) -> "Claimed":
        """Return it without the deadline of its first run if it runs again: its own time and its workflow's have begun anew."""
        late = self.again and self.spec.deadline_ms
        return msgspec.structs.replace(self, spec=msgspec.structs.replace(self.spec, deadline_ms=0)) if late else self


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt or a task failed."""

    code: str
    message: str
    detail: str = ""
    """For the log: a traceback or the last lines of a program's output."""


class Completion(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """An attempt that succeeded."""

    id: str
    attempt: int
    result: Blob
    usage: Usage | None = None
    """None: its agent said nothing."""


class FailedAttempt(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """An attempt that failed; `core.retry` decides the delay, the engine whether another attempt follows."""

    id: str
    attempt: int
    failure: Blob
    """A `Failure`."""
    retry_delay_ms: int
    final: bool = False
    """No further attempt can help."""
    usage: Usage | None = None
    provider: str | None = None
    """It was told to come back after `retry_delay_ms`, which is no failure: by this provider, or "" for the task's own."""
    later: bool = False
    """It is to come back after `retry_delay_ms`, which is no failure: something that it needs isn't there."""
    crash: Crash | None = None
    """It took its agent down."""


class JournaledStep(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """A named piece of an attempt that is done."""

    id: str
    attempt: int
    name: str
    result: Blob
    calls: tuple[ModelCall, ...] = ()
    """The requests to models that it took."""


class TaskOutcome(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How a task ended."""

    id: str
    state: TaskState
    result: Json = None
    failure: Failure | None = None


class TaskView(msgspec.Struct, frozen=True, kw_only=True):
    """A task as people and programs see it, from the engine or from the records."""

    id: str
    state: TaskState
    capability: str
    key: str = ""
    title: str = ""
    layer: str = ""
    workflow_id: str = ""
    parent_id: str = ""
    tenant: str = ""
    needs: tuple[str, ...] = ()
    attempt: int = 0
    failures: int = 0
    agent_id: str = ""
    host_id: str = ""
    priority: int = int(Priority.NORMAL)
    progress: float = 0.0
    """0 to 1, as its agent last said."""
    note: str = ""
    """The agent's last word on its progress."""
    created_ms: int = 0
    started_ms: int = 0
    """When its first attempt began."""
    finished_ms: int = 0
    traceparent: str = ""
    """Of the submitter; empty in lists from the records."""
    input: Json = None
    result: Json = None
    failure: Failure | None = None
