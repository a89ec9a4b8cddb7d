"""What the history answers with. A task is a `TaskView` (model/task.py), as from the engine.

Times are milliseconds since the epoch, 0 for "not yet". Lists come newest first unless they say otherwise; the `cursor` of the
next page is the id of the last item of this one.
"""

from typing import Literal

import msgspec

from amas.model.goal import Goal
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Failure, Json

AttemptState = Literal["running", "succeeded", "failed", "cancelled", "suspended", "given_back", "lost"]
"""How an attempt ended: `suspended` waits for its sub-tasks, `given_back` left with its host, `lost` died with it."""


class WorkflowRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow and how far it is."""

    id: str
    state: WorkflowState
    goal: Goal | None
    """None where something else than a goal opened it; `opening` has that."""
    opening: Json = None
    root_id: str = ""
    """The task whose result is the workflow's; empty when there is no such one."""
    tasks: dict[TaskState, int]
    """How many tasks stand where; states without a task are left out."""
    progress: float
    """0 to 1: tasks that ended, and the shares that running ones report, of all tasks known so far. It drops when a lead
    splits its work, since more is known then."""
    created_ms: int
    finished_ms: int = 0

    @property
    def tenant(self) -> str:
        """Whose it is; empty for nobody's."""
        return tenant_of(self.goal if self.goal is not None else self.opening)


def tenant_of(opened: object) -> str:
    """Return the tenant of the workflow that this opened: a goal, or what a flow says of itself; "" for none."""
    said = msgspec.to_builtins(opened)
    return str(said.get("tenant", "")) if isinstance(said, dict) else ""


class AttemptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a task."""

    task_id: str
    attempt: int
    capability: str
    title: str
    workflow_id: str
    agent_id: str
    host_id: str
    state: AttemptState
    started_ms: int
    finished_ms: int = 0
    failure: Failure | None = None


class ValuesInUse(msgspec.Struct, frozen=True):
    """What a task brought and what came of it, as bytes, for whoever looks for references in them."""

    id: str
    is_open: bool
    values: bytes
    """Its input and its result, each at most 64 KiB of msgpack."""


class TaskEvent(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One task's change within an event."""

    id: str
    state: TaskState
    attempt: int = 0
    agent_id: str = ""
    capability: str = ""
    """With its submission only, as are `key`, `title`, `layer` and `parent_id`."""
    key: str = ""
    title: str = ""
    layer: str = ""
    parent_id: str = ""
    progress: float | None = None
    """0 to 1, with a note on its progress only."""
    note: str = ""
    error: str = ""
    """The failure's message."""


class EventRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What one entry of the journal changed in one workflow, or among the tasks outside any."""

    id: str
    """The journal entry's: `<ms>-<n>`, ordered."""
    kind: str
    at_ms: int
    workflow_id: str = ""
    workflow_state: str = ""
    """The workflow's new state, where it began or ended."""
    host_id: str = ""
    tasks: list[TaskEvent]
    """In the order in which they happened."""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the tasks with one capability, layer or pool that ended."""

    name: str
    succeeded: int
    failed: int
    cancelled: int
    success_rate: float | None
    """Of those that succeeded or failed; None when none did."""
    mean_s: float | None
    """Of those that succeeded: seconds from the start of the first attempt to the end; None when none did. So are the others."""
    p50_s: float | None
    """To within a sixty-fourth of itself, as is the next; exact below 64 ms."""
    p99_s: float | None


class Analytics(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of all that ended since a time, and of what is open now."""

    since_ms: int
    open: dict[TaskState, int]
    total: Group
    capabilities: list[Group]
    layers: list[Group]
    pools: list[Group]


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What something cost so far, failed attempts included."""

    usd: float = 0.0
    tokens: int = 0
    """Input, output and what agents told without saying which."""
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    """Of the input, those that the provider read from its cache."""
    calls: int = 0
    """Requests to providers."""
    model_s: float = 0.0
    """Seconds that the requests took."""
    agent_s: float = 0.0
    """Seconds of attempts that ended, models' time included; 0 by model, since an attempt may use several."""

    def plus(self, other: "Cost") -> "Cost":
        """Return the sum."""
        return Cost(**{name: getattr(self, name) + getattr(other, name) for name in Cost.__struct_fields__})


class CostGroup(Cost, frozen=True, kw_only=True):
    """What one tenant, workflow, pool, agent, model, day or task cost."""

    name: str
    """Empty for what belongs to none: no tenant, no workflow, a model that nobody named."""
    provider: str = ""
    """By model only."""


class ModelCallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a model."""

    attempt: int
    step: str
    model: str
    provider: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    usd: float
    seconds: float
    at_ms: int


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """What came of applying entries of the journal."""

    position: str
    """The last entry that the records hold."""
    entries: int
    """How many of those given were new."""
    decompositions_ms: list[int]
    """How long coordinators took to plan: from the start of the attempt that journaled the step `plan` to that step."""
    assignments_ms: list[int]
    spent: Cost = Cost()
    """Without agents' time."""
    """How long the hierarchy's tasks waited for an agent: for each with a layer, from when it could first be claimed (its
    needs met, its delay over) to its first claim."""
