"""What goes over the wire, as msgspec structs: the contract that OpenAPI shows is the one that is decoded and encoded.

Times are milliseconds since the epoch, 0 for "not yet"; durations are seconds. A list's `next` is the `cursor` of
the page after it.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from amas.engine.limits import BudgetView
from amas.engine.signals import Approval
from amas.model.flow import Flow
from amas.model.limits import AMOUNT_MAX, CONCURRENCY_MAX, RATE_MAX, Amounts
from amas.model.schedule import Missed, Overlap, ScheduleView
from amas.model.states import AgentStatus, TaskState, WorkflowState
from amas.model.task import Json, OnFailure
from amas.records.views import Cost, CostGroup
from amas.server.page_shapes import Paged

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Line = Annotated[str, Meta(max_length=200)]
Path = Annotated[str, Meta(max_length=4096)]
Seconds = Annotated[float, Meta(ge=0, le=31_536_000)]
Rank = Annotated[int, Meta(ge=0, le=3, description="0 low, 1 normal, 2 high, 3 critical")]


class Given(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body: a field that the contract doesn't name is a mistake, told rather than ignored."""


class NewRetry(Given, frozen=True):
    """How often and how soon a failed task is tried again."""

    retries: Annotated[int, Meta(ge=0, le=100)] = 3
    backoff_s: Seconds = 1.0
    """Before the second attempt; doubled before each further one."""
    backoff_max_s: Seconds = 60.0
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.5


class NewTask(Given, frozen=True):
    """A task to be done."""

    capability: Name
    """What its agent must be able to do, such as `development.code_review`."""
    input: Json = None
    needs: Annotated[list[Name], Meta(max_length=1000)] = []
    """Ids of tasks that must succeed first; in a batch also keys of tasks before it."""
    key: Line = ""
    title: Line = ""
    priority: Rank = 1
    delay_s: Seconds = 0.0
    timeout_s: Seconds = 0.0
    """For one attempt; 0 takes the pool's."""
    retry: NewRetry = NewRetry()
    on_failure: OnFailure = "fail"
    pool: Line = ""
    """Only this pool's agents may take it."""
    concurrency: dict[Name, Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)]] = {}
    """Keys, each with how many tasks that name it may run at once, such as `{"customer-42": 3}`. The last said number holds."""
    provider: Line = ""
    """Whose requests and tokens a minute it takes; empty takes the pool's."""
    estimate: Amounts | None = None
    """What one attempt takes; what isn't said is learned."""
    budget: Amounts | None = None
    """What it and its sub-tasks may spend; then it fails with `budget_exhausted`."""
    tenant: Line = ""
    """Whose work it is: tenants share every queue by weight."""
    cost_s: Seconds = 0.0
    """What it takes of an agent's time, for its fair share; 0: what such tasks took before."""
    deadline_s: Seconds = 0.0
    """From now, waiting included: it fails when it hasn't ended by then; 0 for none."""
    when: Annotated[str, Meta(max_length=4096)] = ""
    """A JMESPath condition over `input` and `needs`; when it is false the task succeeds with null and nothing runs."""


class NewWorkflow(Given, frozen=True):
    """A flow to be started, and how it is to run."""

    flow: Flow
    tenant: Line = ""
    priority: Rank = 1
    deadline_s: Seconds = 0.0
    """From now; 0 takes the fleet's workflow time-out."""


class NewSignal(Given, frozen=True):
    """A value for a signal task of a workflow, or for one of the workflow's approvals."""

    key: Name
    value: Json = None


class TaskSignal(Given, frozen=True):
    """A value for an agent that waits for a signal, or will."""

    name: Name
    value: Json = None


class NewRerun(Given, frozen=True):
    """From where a workflow is done again."""

    task: Name
    """A task's key in the flow, or its id."""


class NewAnswer(Given, frozen=True):
    """A person's word on an approval."""

    approved: bool
    by: Line = ""
    comment: Annotated[str, Meta(max_length=4096)] = ""
    score: Annotated[float, Meta(ge=0, le=1)] | None = None
    """What it is worth, where a gate asks."""


class NewGoal(Given, frozen=True):
    """A goal in plain words."""

    text: Annotated[str, Meta(min_length=1, max_length=20_000)]
    """What is wanted."""
    input_dir: Path = ""
    """An absolute path, on the fleet's machine, to the folder that the goal is about."""
    output_dir: Path = ""
    """An absolute path where the deliverable goes; empty takes the fleet's own folder for them."""
    preferences: dict[str, Json] = {}
    priority: Rank = 1
    deadline_s: Seconds = 0.0
    """From now; 0 takes the fleet's workflow time-out."""
    tenant: Line = ""
    """Whose goal it is: tenants share every queue by weight."""
    budget: Amounts | None = None
    """What all its tasks may spend; then its workflow ends as failed, with what it has by then."""


class NewScheduledTask(Given, frozen=True):
    """A task that a schedule submits."""

    capability: Name
    input: Json = None
    title: Line = ""
    pool: Line = ""
    """Only this pool's agents may take it."""
    tenant: Line = ""
    priority: Rank = 1
    timeout_s: Seconds = 0.0
    """For one attempt; 0 takes the pool's."""
    retry: NewRetry = NewRetry()
    cost_s: Seconds = 0.0


class NewSchedule(Given, frozen=True):
    """A task or a goal, and when it is to be submitted."""

    cron: Name
    """Five fields as in crontab(5), or six with seconds before them."""
    timezone: Name = "UTC"
    """A name of the IANA database, such as `Europe/Berlin`."""
    task: NewScheduledTask | None = None
    goal: NewGoal | None = None
    missed: Missed = "once"
    """What times mean that passed while nothing could be submitted: one submission for all, one each, or none."""
    overlap: Overlap = "allow"
    """`skip` passes a time over while what the last one submitted is still open."""
    paused: bool = False


class SchedulePage(Paged, frozen=True, kw_only=True):
    """All schedules, by name."""

    items: list[ScheduleView]


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that is no more."""

    name: str


class NewLimit(Given, frozen=True):
    """What a concurrency key or a provider allows; what isn't said is not limited."""

    limit: Annotated[int, Meta(ge=1, le=CONCURRENCY_MAX)] | None = None
    """For a key: how many tasks that name it may run at once."""
    requests_per_min: Annotated[int, Meta(ge=1, le=RATE_MAX)] | None = None
    tokens_per_min: Annotated[int, Meta(ge=1, le=RATE_MAX)] | None = None


class NewBudget(Given, frozen=True):
    """What may be spent in all; what isn't said is not limited."""

    usd: Annotated[float, Meta(ge=0, le=AMOUNT_MAX)] | None = None
    tokens: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    calls: Annotated[int, Meta(ge=0, le=1_000_000_000)] | None = None
    agent_s: Annotated[float, Meta(ge=0, le=AMOUNT_MAX)] | None = None
    """Seconds of agents' time."""


class BudgetPage(Paged, frozen=True, kw_only=True):
    """All budgets, by what they are of."""

    items: list[BudgetView]


class CostPage(Paged, frozen=True, kw_only=True):
    """What was spent."""

    by: str
    total: Cost
    """Of all pages."""
    items: list[CostGroup]


class CostFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet spends."""

    usd_last_hour: float
    usd_last_day: float
    usd_month_projected: float
    """Of thirty days such as the last one."""


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A task that is on disk."""

    id: str


class SubmittedBatch(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks that are on disk, in the order in which they came."""

    ids: list[str]


class SubmittedGoal(msgspec.Struct, frozen=True, kw_only=True):
    """A goal whose workflow is open."""

    workflow_id: str
    root_id: str
    """The task whose result will be the deliverable."""


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of cancelling."""

    id: str
    cancelled: bool
    """False when it had ended before."""


class FailureShape(msgspec.Struct, frozen=True, kw_only=True):
    """Why a task failed."""

    code: str
    message: str


class OutcomeShape(msgspec.Struct, frozen=True, kw_only=True):
    """How one task ended."""

    id: str
    state: TaskState
    result: Json = None
    failure: FailureShape | None = None


class TaskIds(Given, frozen=True):
    """Tasks that somebody asks for."""

    ids: Annotated[list[Name], Meta(min_length=1, max_length=1000)]


class Outcomes(msgspec.Struct, frozen=True, kw_only=True):
    """How tasks ended, of those that have."""

    ended: list[OutcomeShape]
    open: list[str]
    """Ids of the others: they haven't ended, or the engine doesn't know them (any more)."""


class StartedWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A flow whose tasks are on disk."""

    workflow_id: str


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """What came of asking for a change."""

    id: str
    changed: bool
    """False when it was so before, or it had ended."""


class Rerun(msgspec.Struct, frozen=True, kw_only=True):
    """What is done again."""

    workflow_id: str
    task_id: str
    tasks: int
    """How many were reset, those that came of it included."""


class ApprovalPage(Paged, frozen=True, kw_only=True):
    """What people are asked just now, oldest workflow first."""

    items: list[Approval]


class DeadLetterShape(msgspec.Struct, frozen=True, kw_only=True):
    """A task that failed for good."""

    task_id: str
    at_ms: int
    capability: str
    key: str
    title: str
    workflow_id: str
    attempt: int
    failures: int
    failure: FailureShape | None


class DeadLetterPage(Paged, frozen=True, kw_only=True):
    """Dead letters, newest first."""

    items: list[DeadLetterShape]


class TaskShape(msgspec.Struct, frozen=True, kw_only=True):
    """A task."""

    id: str
    state: TaskState
    capability: str
    key: str
    title: str
    layer: str
    workflow_id: str
    parent_id: str
    needs: tuple[str, ...]
    attempt: int
    failures: int
    agent_id: str
    host_id: str
    priority: int
    progress: float
    """0 to 1, as its agent last said; 1 when it succeeded."""
    note: str
    created_ms: int
    started_ms: int
    """Of its last attempt."""
    finished_ms: int
    seconds: float
    """Its last attempt took, or has taken so far."""
    failure: FailureShape | None


class TaskPage(Paged, frozen=True, kw_only=True):
    """Tasks, newest first."""

    items: list[TaskShape]


class AttemptShape(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a task."""

    attempt: int
    agent_id: str
    host_id: str
    outcome: str
    """`running`, `succeeded`, `failed`, `cancelled`, `suspended` for its sub-tasks, `given_back` by or `lost` with its host."""
    started_ms: int
    finished_ms: int
    failure: FailureShape | None


class TaskDetail(TaskShape, frozen=True, kw_only=True):
    """A task with what it was given, what came of it, and every try at it."""

    input: Json
    result: Json
    attempts: list[AttemptShape]
    """First to last, from the records, which may be a moment behind."""
    cost: Cost
    """So far, from the records."""
    waits_for: list[str]
    """What it waits for though it is queued: `slots:customer-42`, `rate:openai`, `budget:...`; empty for all others."""
    trace_id: str
    """Of the W3C trace that it belongs to; empty for none."""


class TaskResult(msgspec.Struct, frozen=True, kw_only=True):
    """How a task stands, and its result once it succeeded."""

    id: str
    state: TaskState
    result: Json = None


class WorkflowShape(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow."""

    id: str
    state: WorkflowState
    goal: Json
    """The goal as it was given; else what opened the workflow."""
    root_id: str
    counts: dict[str, int]
    """Tasks by state; `open` in the place of the open states while only the engine knows it."""
    progress: float
    created_ms: int
    finished_ms: int
    seconds: float


class WorkflowDetail(WorkflowShape, frozen=True, kw_only=True):
    """A workflow with its tasks: the tree by `parent_id`, the graph by `needs`."""

    result: Json
    """The deliverable, once it succeeded."""
    failure: FailureShape | None
    tasks: list[TaskShape]
    """In the order of their submission."""
    cost: Cost
    """Of all its tasks so far, from the records."""
    tasks_left_out: int
    """Beyond the bound of one answer; the workflow's counts have them."""
    last_event_id: str
    """What this shows includes every event up to here: go on with the event stream from it."""


class WorkflowPage(Paged, frozen=True, kw_only=True):
    """Workflows, newest first."""

    items: list[WorkflowShape]


class AgentShape(msgspec.Struct, frozen=True, kw_only=True):
    """An agent on a live host, or one that runs elsewhere."""

    agent_id: str
    agent_type: str
    """Its pool; `amas/remote` for one that runs elsewhere."""
    title: str
    layer: str
    lead: str
    capabilities: tuple[str, ...]
    labels: dict[str, str]
    """As its pool is declared."""
    skill: str
    """The name of its code; `none` for an agent that only holds the place of a skill to come."""
    status: AgentStatus
    current_tasks: tuple[str, ...]
    """Ids of what it works on."""
    slots: int
    """Tasks that it takes at a time."""
    host_id: str
    version: str
    tasks_succeeded: int | None = None
    """As the records know it, which may be a moment behind; null in a list, and where the records don't answer."""
    tasks_failed: int | None = None
    """Attempts that failed, as the records know it."""


class AgentPage(Paged, frozen=True, kw_only=True):
    """Agents by name."""

    items: list[AgentShape]
    total: int
    """That the filters let through."""


class PoolShape(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that has agents on live hosts."""

    pool: str
    title: str
    layer: str
    lead: str
    capabilities: tuple[str, ...]
    labels: dict[str, str]
    skill: str
    """The name of its agents' code; `none` where they only hold the place of a skill to come."""
    versions: list[str]
    """Of its agents; several while new ones take the places of old ones."""
    hosts: list[str]
    agents: "AgentFigures"
    slots: int
    """Tasks that all its agents take at a time."""
    tasks_succeeded: int
    """Since its hosts started."""
    tasks_failed: int
    metrics: dict[str, float]
    """What its agents tell of themselves by `report_metrics`, added up."""


class PoolList(msgspec.Struct, frozen=True, kw_only=True):
    """Pools by name, and all their agents together."""

    items: list[PoolShape]
    agents: "AgentFigures"


class LogPage(msgspec.Struct, frozen=True, kw_only=True):
    """The newest lines of an agent's log, oldest of them first."""

    agent_id: str
    lines: list[dict[str, Any]]
    truncated: bool
    """Whether older lines may have been left out."""


class AgentFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How many agents are doing what."""

    total: int
    idle: int
    working: int
    error: int
    healing: int


class TaskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Tasks since the engine began, and now."""

    succeeded: int
    failed: int
    cancelled: int
    retried: int
    running: int
    delayed: int
    dead_letters: int
    queued: dict[str, int]
    """By queue: a capability, or `@pool`."""
    bounds: dict[str, int]
    """The most that may be queued, by queue; `delayed` stands for the delayed tasks of all queues. Others have no bound."""


class HostFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One host."""

    id: str
    agents: int
    running: int
    cpu_s: float
    rss_bytes: int
    loop_lag_s: float


class FleetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet in figures. What can't be known yet is null, never a guess."""

    agents: AgentFigures
    tasks: TaskFigures
    hosts: list[HostFigure]
    workflows_open: int
    tasks_per_second: float | None
    """That ended, over the last minute that this server has seen; null on the first look."""
    average_response_s: float | None
    """From the start of a task to its end, over the newest thousand that ended in the last five minutes and succeeded."""
    success_rate: float | None
    """Of the tasks that succeeded or failed since the engine began."""
    utilisation: float | None
    """Working share of the agents' slots."""
    recorder_lag_s: float | None
    """How far the history is behind the engine."""
    cost: CostFigures | None
    quarantined: int = 0
    """Agents that get no tasks."""
    pools_down: list[str] = msgspec.field(default_factory=list)
    """Pools all of whose agents are quarantined."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must be well."""

    name: str
    ok: bool
    detail: str


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """This process answers."""

    version: str


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The control plane can do its work."""

    ready: bool
    version: str
    checks: list[Check]
