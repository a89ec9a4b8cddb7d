"""The operations of the API, part by part: each is declared once, for both clients.

What stands between the method and `answers` is the wire's own (`amas.server.*_shapes`); a test walks the OpenAPI document and
fails for an operation that is missing here, has another answer, or takes another body or query.
"""

from collections.abc import Sequence
from types import NoneType
from typing import Any, Generic, TypeVar

from amas.engine.limits import BudgetView, LimitsView
from amas.model.alerts import Silence
from amas.model.report import FleetReport
from amas.model.routing import RouteTable
from amas.model.runbook import Run
from amas.model.scaling import PoolScaling, ScalingBoard
from amas.model.schedule import ScheduleView
from amas.orchestration.rollouts import RolloutView
from amas.orchestration.routing import Why
from amas.records.views import Analytics
from amas.rest.calls import Part, about, about_two, matched, operation
from amas.server import (
    access_shapes,
    alert_shapes,
    backup_shapes,
    desired_shapes,
    diagnostic_shapes,
    healing_shapes,
    hook_shapes,
    input_shapes,
    message_shapes,
    policy_shapes,
    remote_shapes,
    rollout_shapes,
    shapes,
)
from amas.server.gate_shapes import WorkflowQuality
from amas.server.steps import TaskSteps
from amas.server.timeline import TaskLog, Timeline
from amas.server.usage_shapes import FleetUsage

C = TypeVar("C")


def nothing() -> None:
    """Make no body and no query."""


def page(*, limit: int | None = None, cursor: str = "") -> dict[str, Any]:
    """Make the query of a list that comes in pages."""
    return {"limit": limit, "cursor": cursor}


def newest(*, limit: int | None = None) -> dict[str, Any]:
    """Make the query of a list of which the newest are wanted."""
    return {"limit": limit}


def waiting(*, wait: float | None = None) -> dict[str, Any]:
    """Make the query of what may take a moment; `wait`: seconds."""
    return {"wait": wait}


def of_workflow(*, workflow_id: str = "", limit: int | None = None, cursor: str = "") -> dict[str, Any]:
    """Make the query of a list that may be of one workflow only."""
    return {"workflow_id": workflow_id, "limit": limit, "cursor": cursor}


def of_tasks(
    *, workflow_id: str = "", state: str = "", agent_id: str = "", limit: int | None = None, cursor: str = ""
) -> dict[str, Any]:
    """Make the query of a list of tasks."""
    return {"workflow_id": workflow_id, "state": state, "agent_id": agent_id, "limit": limit, "cursor": cursor}


def in_state(*, state: str = "", limit: int | None = None, cursor: str = "") -> dict[str, Any]:
    """Make the query of a list of what stands in one state."""
    return {"state": state, "limit": limit, "cursor": cursor}


def in_state_only(*, status: str = "") -> dict[str, Any]:
    """Make the query of a short list of what stands in one state."""
    return {"status": status}


def of_agents(*, status: str = "", pool: str = "", limit: int | None = None, cursor: str = "", **more: str) -> dict[str, Any]:
    """Make the query of a list of agents; `more`: `layer`, `capability`, `host`."""
    return {"status": status, "pool": pool, **more, "limit": limit, "cursor": cursor}


def of_remote(
    *, capability: str = "", layer: str = "", label: str = "", status: str = "", limit: int | None = None, cursor: str = ""
) -> dict[str, Any]:
    """Make the query of a list of agents of hosts and of sessions."""
    return {"capability": capability, "layer": layer, "label": label, "status": status, "limit": limit, "cursor": cursor}


def of_costs(
    *, by: str = "", since: int | None = None, until: int | None = None, limit: int | None = None, cursor: str = "", **more: str
) -> dict[str, Any]:
    """Make the query of costs; `since` and `until`: ms; `more`: `tenant`, `workflow_id`, `agent_id`."""
    return {"by": by, "since": since, "until": until, **more, "limit": limit, "cursor": cursor}


def of_audit(*, limit: int | None = None, before: int | None = None) -> dict[str, Any]:
    """Make the query of the audit."""
    return {"limit": limit, "before": before}


def each(tasks: Sequence[shapes.NewTask]) -> list[shapes.NewTask]:
    """Make the body of a batch."""
    return list(tasks)


def file(content: bytes) -> bytes:
    """Make the body that a file is."""
    return content


class Tasks(Part[C]):
    """Single tasks."""

    submit = operation("POST", "/api/tasks", shapes.Submitted, shapes.NewTask)
    submit_batch = operation("POST", "/api/tasks/batch", shapes.SubmittedBatch, each)
    list = operation("GET", "/api/tasks", shapes.TaskPage, of_tasks)
    get = about("GET", "/api/tasks/{task_id}", shapes.TaskDetail, nothing)
    result = about("GET", "/api/tasks/{task_id}/result", shapes.TaskResult, waiting)
    why = about("GET", "/api/tasks/{task_id}/why", Why, nothing)
    timeline = about("GET", "/api/tasks/{task_id}/timeline", Timeline, nothing)
    logs = about("GET", "/api/tasks/{task_id}/logs", TaskLog, newest)
    steps = about("GET", "/api/tasks/{task_id}/steps", TaskSteps, nothing)
    cancel = about("POST", "/api/tasks/{task_id}/cancel", shapes.Cancelled, nothing)
    signal = about("POST", "/api/tasks/{task_id}/signal", shapes.Changed, shapes.TaskSignal)
    outcomes = operation("POST", "/api/tasks/outcomes", shapes.Outcomes, shapes.TaskIds)


class Workflows(Part[C]):
    """Goals and flows, and what waits for a person in them."""

    submit_goal = operation("POST", "/api/goals", shapes.SubmittedGoal, shapes.NewGoal)
    start = operation("POST", "/api/workflows", shapes.StartedWorkflow, shapes.NewWorkflow)
    list = operation("GET", "/api/workflows", shapes.WorkflowPage, in_state)
    get = about("GET", "/api/workflows/{workflow_id}", shapes.WorkflowDetail, nothing)
    deliverable = about_two("GET", "/api/workflows/{workflow_id}/deliverable/{file}", bytes, nothing)
    quality = about("GET", "/api/workflows/{workflow_id}/quality", WorkflowQuality, nothing)
    cancel = about("POST", "/api/workflows/{workflow_id}/cancel", shapes.Cancelled, nothing)
    pause = about("POST", "/api/workflows/{workflow_id}/pause", shapes.Changed, nothing)
    resume = about("POST", "/api/workflows/{workflow_id}/resume", shapes.Changed, nothing)
    rerun = about("POST", "/api/workflows/{workflow_id}/rerun", shapes.Rerun, shapes.NewRerun)
    signal = about("POST", "/api/workflows/{workflow_id}/signal", shapes.Changed, shapes.NewSignal)
    approvals = operation("GET", "/api/approvals", shapes.ApprovalPage, of_workflow)
    answer = about("POST", "/api/approvals/{task_id}", shapes.Changed, shapes.NewAnswer)
    dead_letters = operation("GET", "/api/dead-letters", shapes.DeadLetterPage, of_workflow)
    retry = about("POST", "/api/dead-letters/{task_id}/retry", shapes.Changed, nothing)
    discard = about("POST", "/api/dead-letters/{task_id}/discard", shapes.Changed, nothing)


class Inputs(Part[C]):
    """Folders that goals are about, sent from elsewhere."""

    bounds = operation("GET", "/api/inputs", input_shapes.InputBounds, nothing)
    add = operation("POST", "/api/inputs", input_shapes.NewInput, nothing)
    put = about_two("PUT", "/api/inputs/{input_id}/{file}", NoneType, file)


class Schedules(Part[C]):
    """What is submitted again and again."""

    list = operation("GET", "/api/schedules", shapes.SchedulePage, page)
    get = about("GET", "/api/schedules/{name}", ScheduleView, nothing)
    put = matched(about("PUT", "/api/schedules/{name}", ScheduleView, shapes.NewSchedule))
    drop = matched(about("DELETE", "/api/schedules/{name}", shapes.Dropped, nothing))
    pause = about("POST", "/api/schedules/{name}/pause", ScheduleView, nothing)
    resume = about("POST", "/api/schedules/{name}/resume", ScheduleView, nothing)
    run = about("POST", "/api/schedules/{name}/run", ScheduleView, nothing)


def resent(*, event_id: str = "") -> dict[str, Any]:
    """Make the query of what is to be sent again."""
    return {"event_id": event_id}


class Webhooks(Part[C]):
    """Who is told of ends and approvals."""

    add = operation("POST", "/api/webhooks", hook_shapes.MadeWebhook, hook_shapes.NewWebhook)
    list = operation("GET", "/api/webhooks", hook_shapes.WebhookPage, page)
    get = about("GET", "/api/webhooks/{webhook_id}", hook_shapes.WebhookShape, nothing)
    remove = about("DELETE", "/api/webhooks/{webhook_id}", hook_shapes.WebhookShape, nothing)
    events = about("GET", "/api/webhooks/{webhook_id}/events", hook_shapes.HookEventPage, in_state)
    test = about("POST", "/api/webhooks/{webhook_id}/test", hook_shapes.TestedWebhook, waiting)
    resend = about("POST", "/api/webhooks/{webhook_id}/resend", hook_shapes.Resent, resent)
    enable = about("POST", "/api/webhooks/{webhook_id}/enable", hook_shapes.WebhookShape, nothing)


class Agents(Part[C]):
    """Agents and their pools."""

    list = operation("GET", "/api/agents", shapes.AgentPage, of_agents)
    get = about("GET", "/api/agents/{agent_id}", shapes.AgentShape, nothing)
    logs = about("GET", "/api/agents/{agent_id}/logs", shapes.LogPage, newest)
    add = operation("POST", "/api/agents", desired_shapes.Scaled, desired_shapes.NewAgent)
    restart = about("POST", "/api/agents/{agent_id}/restart", desired_shapes.AgentRestarted, desired_shapes.Wished)
    pools = operation("GET", "/api/pools", shapes.PoolList, nothing)
    scale = about("POST", "/api/pools/{name}/scale", desired_shapes.Scaled, desired_shapes.NewScale)
    restart_pool = about("POST", "/api/pools/{name}/restart", desired_shapes.Scaled, desired_shapes.Wished)
    remote = operation("GET", "/api/remote/agents", remote_shapes.RegisteredAgents, of_remote)


def hours(*, hours: float | None = None) -> dict[str, Any]:
    """Make the query of figures of so many hours."""
    return {"hours": hours}


def since(*, since_s: float | None = None) -> dict[str, Any]:
    """Make the query of a report on so many seconds."""
    return {"since_s": since_s}


class Fleet(Part[C]):
    """The whole fleet: figures, what is wanted of it, policies, sizes, routes, roll-outs, limits, costs, back-ups."""

    figures = operation("GET", "/api/metrics", shapes.FleetFigures, nothing)
    analytics = operation("GET", "/api/analytics", Analytics, hours)
    usage = operation("GET", "/api/usage", FleetUsage, nothing)
    report = operation("GET", "/api/report", FleetReport, since)
    health = operation("GET", "/api/health", shapes.Ready, nothing)
    diagnostics = operation("GET", "/api/diagnostics", diagnostic_shapes.Diagnostics, nothing)
    hosts = operation("GET", "/api/hosts", desired_shapes.HostPage, nothing)
    order = about_two("POST", "/api/hosts/{host_id}/{action}", desired_shapes.Ordered, desired_shapes.Wished)
    desired = operation("GET", "/api/fleet/desired", desired_shapes.DesiredShape, nothing)
    history = operation("GET", "/api/fleet/history", desired_shapes.HistoryPage, newest)
    apply = matched(operation("POST", "/api/fleet/apply", desired_shapes.FleetApplied, desired_shapes.NewFleet))
    policies = operation("GET", "/api/policies", policy_shapes.PolicyPage, nothing)
    apply_policies = matched(operation("PUT", "/api/policies", desired_shapes.FleetApplied, policy_shapes.NewPolicies))
    test_policies = operation("POST", "/api/policies/test", policy_shapes.PolicyTestPage, policy_shapes.NewPolicyTest)
    policy_refusals = operation("GET", "/api/policies/refusals", policy_shapes.RefusalPage, newest)
    scaling = operation("GET", "/api/scaling", ScalingBoard, nothing)
    scaling_of = about("GET", "/api/scaling/{pool}", PoolScaling, nothing)
    routes = operation("GET", "/api/routes", RouteTable, nothing)
    rollouts = operation("GET", "/api/rollouts", rollout_shapes.RolloutPage, nothing)
    rollout = about("GET", "/api/rollouts/{pool}", RolloutView, nothing)
    begin_rollout = about("POST", "/api/rollouts/{pool}", RolloutView, rollout_shapes.NewRollout)
    approve_rollout = about("POST", "/api/rollouts/{pool}/approve", RolloutView, desired_shapes.Word)
    promote_rollout = about("POST", "/api/rollouts/{pool}/promote", RolloutView, desired_shapes.Word)
    abort_rollout = about("POST", "/api/rollouts/{pool}/abort", RolloutView, desired_shapes.Word)
    limits = operation("GET", "/api/limits", LimitsView, nothing)
    set_limit = about_two("PUT", "/api/limits/{kind}/{about}", LimitsView, shapes.NewLimit)
    budgets = operation("GET", "/api/budgets", shapes.BudgetPage, page)
    set_budget = about_two("PUT", "/api/budgets/{scope}/{about}", BudgetView, shapes.NewBudget)
    costs = operation("GET", "/api/costs", shapes.CostPage, of_costs)
    backups = operation("GET", "/api/backups", backup_shapes.BackupPage, nothing)
    back_up = operation("POST", "/api/backups", backup_shapes.BackupPage, backup_shapes.NewBackup)


class Healing(Part[C]):
    """Quarantines, the kill switch, recoveries, breakers."""

    quarantine = operation("GET", "/api/quarantine", healing_shapes.QuarantinePage, nothing)
    set_quarantine = about("PUT", "/api/quarantine/{agent_id}", healing_shapes.QuarantinePage, healing_shapes.NewQuarantine)
    killed = operation("GET", "/api/kill", healing_shapes.KillPage, nothing)
    kill = operation("POST", "/api/kill", healing_shapes.KillPage, healing_shapes.NewKill)
    recoveries = operation("GET", "/api/recoveries", healing_shapes.RecoveryPage, newest)
    breakers = operation("GET", "/api/breakers", healing_shapes.BreakerPage, nothing)
    reset_breaker = operation("POST", "/api/breakers/reset", healing_shapes.BreakerPage, healing_shapes.BreakerName)


class Alerts(Part[C]):
    """Alerts, silences, run-books."""

    list = operation("GET", "/api/alerts", alert_shapes.AlertPage, in_state_only)
    test = operation("POST", "/api/alerts/test", alert_shapes.TestedReceivers, desired_shapes.Word)
    silences = operation("GET", "/api/silences", alert_shapes.SilencePage, page)
    silence = operation("POST", "/api/silences", Silence, alert_shapes.NewSilence)
    end_silence = about("DELETE", "/api/silences/{silence_id}", alert_shapes.EndedSilence, nothing)
    runbooks = operation("GET", "/api/runbooks", alert_shapes.RunBookPage, nothing)
    run = about("POST", "/api/runbooks/{name}/runs", Run, alert_shapes.NewRun)
    runs = operation("GET", "/api/runbook-runs", alert_shapes.RunPage, newest)
    get_run = about("GET", "/api/runbook-runs/{run_id}", Run, nothing)
    answer = about("POST", "/api/runbook-runs/{run_id}/answer", Run, alert_shapes.RunAnswer)
    end = about("POST", "/api/runbook-runs/{run_id}/end", Run, alert_shapes.RunAnswer)
    audit = operation("GET", "/api/runbook-audit", alert_shapes.AuditPage, newest)


class Messages(Part[C]):
    """What agents write, and writing to them."""

    figures = operation("GET", "/api/messages", message_shapes.CommunicationFigures, nothing)
    send = operation("POST", "/api/messages", message_shapes.SentMessage, message_shapes.NewMessage)
    ask = operation("POST", "/api/messages/ask", message_shapes.MessageShape, message_shapes.NewQuestion)
    inbox = about("GET", "/api/messages/inboxes/{agent_id}", message_shapes.InboxShape, nothing)
    refused = operation("GET", "/api/messages/refused", message_shapes.RefusedPage, newest)
    dead = operation("GET", "/api/messages/dead", message_shapes.DeadMessagePage, newest)


class Access(Part[C]):
    """Keys, tokens and the audit."""

    keys = operation("GET", "/api/keys", access_shapes.KeyPage, page)
    make_key = operation("POST", "/api/keys", access_shapes.MadeKey, access_shapes.NewKey)
    revoke_key = about("DELETE", "/api/keys/{prefix}", access_shapes.KeyShape, nothing)
    key_set = operation("GET", "/.well-known/jwks.json", access_shapes.KeySetShape, nothing)
    rotate_signing_keys = operation("POST", "/api/signing-keys/rotate", access_shapes.KeySetShape, access_shapes.NewRotation)
    revoke_tokens = about("DELETE", "/api/tokens/{name}", access_shapes.RevokedTokens, nothing)
    audit = operation("GET", "/api/audit", access_shapes.AuditRecordPage, of_audit)
    whoami = operation("GET", "/api/session", access_shapes.SessionShape, nothing)


class Parts(Generic[C]):
    """All operations, part by part, as a client has them."""

    def __init__(self, client: C) -> None:
        self.tasks, self.workflows, self.inputs = Tasks(client), Workflows(client), Inputs(client)
        self.schedules, self.webhooks, self.agents = Schedules(client), Webhooks(client), Agents(client)
        self.fleet, self.healing, self.alerts = Fleet(client), Healing(client), Alerts(client)
        self.messages, self.access = Messages(client), Access(client)
