"""Who may use which route: the one table, and finding a request's rule in it. Pure.

A route that isn't listed here is a system administrator's alone, and no tenant's; a test walks all routes and fails for one
without a line. A rule is found by the path as it was asked, segment by segment, before any route of the application is.
"""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

from amas.model.access import Role

Right = Literal["open", "greet", "session", "join", "look", "work", "operate", "administer"]

MAY: dict[Right, frozenset[Role]] = {
    "open": frozenset(Role),  # anybody, asked for nothing
    "greet": frozenset(Role),  # anybody, but who it is matters
    "session": frozenset(Role),  # the route itself asks for the token of an agents' session
    "join": frozenset({Role.SYSTEM_ADMIN, Role.AGENT}),
    "look": frozenset({Role.SYSTEM_ADMIN, Role.OPERATOR, Role.VIEWER}),
    "work": frozenset({Role.SYSTEM_ADMIN, Role.OPERATOR}),
    "operate": frozenset({Role.SYSTEM_ADMIN, Role.OPERATOR}),
    "administer": frozenset({Role.SYSTEM_ADMIN}),
}
"""Which roles have a right."""


class Rule(NamedTuple):
    """What one route asks of its caller."""

    method: str
    path: str
    """As the route has it; a last segment of `*` stands for all below."""
    right: Right
    tenants: bool = False
    """Whether callers may use it that are bound to a tenant: it shows and changes nothing but theirs."""
    audited: bool = False

    @property
    def area(self) -> str:
        """The part of the API that it belongs to, as keys' scopes name it."""
        return self.path.removeprefix("/api/").strip("/").partition("/")[0]


# method, path, right; `own`: for callers with a tenant, too; `quiet`: a change that isn't noted in the audit, being the
# fleet's daily work (tasks by the thousand, agents' own calls) or none at all; `noted`: what is in the audit though it is read
TABLE = """
GET    /health                                          open
GET    /ready                                           open
GET    /health/orchestration                            open
GET    /ready/orchestration                             open
GET    /api/health                                      open
GET    /api/session                                     greet own
POST   /api/session                                     greet own
DELETE /api/session                                     greet own
GET    /.well-known/jwks.json                           open own
GET    /auth/login                                      open own
GET    /auth/callback                                   open own noted
GET    /auth/commands                                   open own
POST   /auth/commands                                   open own
GET    /openapi.json                                    look own
GET    /metrics                                         look
GET    /api/metrics                                     look
GET    /api/live                                        look
GET    /api/analytics                                   look
GET    /api/usage                                       look

GET    /                                                open own
GET    /icon.svg                                        open own
GET    /assets/{name}                                   open own
GET    /fleet                                           open own
GET    /fleet/*                                         open own
GET    /agents                                          open own
GET    /agents/*                                        open own
GET    /goals                                           open own
GET    /goals/*                                         open own
GET    /tasks                                           open own
GET    /tasks/*                                         open own
GET    /policies                                        open own
GET    /policies/*                                      open own
GET    /queues                                          open own
GET    /queues/*                                        open own
GET    /costs                                           open own
GET    /costs/*                                         open own
GET    /rollouts                                        open own
GET    /rollouts/*                                      open own
GET    /alerts                                          open own
GET    /alerts/*                                        open own
GET    /audit                                           open own
GET    /audit/*                                         open own

POST   /api/tasks                                       work own quiet
POST   /api/tasks/batch                                 work own quiet
POST   /api/tasks/outcomes                              look own quiet
GET    /api/tasks                                       look own
GET    /api/tasks/{task_id}                             look own
GET    /api/tasks/{task_id}/result                      look own
GET    /api/tasks/{task_id}/why                         look
GET    /api/tasks/{task_id}/timeline                    look own
GET    /api/tasks/{task_id}/logs                        look own
GET    /api/tasks/{task_id}/steps                       look own
POST   /api/tasks/{task_id}/cancel                      work own
POST   /api/tasks/{task_id}/signal                      work own
POST   /api/goals                                       work own quiet
GET    /api/inputs                                      look own
POST   /api/inputs                                      work own quiet
PUT    /api/inputs/*                                    work own quiet
POST   /api/workflows                                   work own quiet
GET    /api/workflows                                   look own
GET    /api/workflows/{workflow_id}                     look own
GET    /api/workflows/{workflow_id}/events              look own
GET    /api/workflows/{workflow_id}/quality             look own
GET    /api/workflows/{workflow_id}/deliverable/*       look own
POST   /api/workflows/{workflow_id}/cancel              work own
POST   /api/workflows/{workflow_id}/pause               work own
POST   /api/workflows/{workflow_id}/resume              work own
POST   /api/workflows/{workflow_id}/rerun               work own
POST   /api/workflows/{workflow_id}/signal              work own
GET    /api/approvals                                   look own
POST   /api/approvals/{task_id}                         work own
GET    /api/dead-letters                                look own
POST   /api/dead-letters/{task_id}/retry                work own
POST   /api/dead-letters/{task_id}/discard              work own
GET    /api/schedules                                   look own
GET    /api/schedules/{name}                            look own
PUT    /api/schedules/{name}                            work own
DELETE /api/schedules/{name}                            work own
POST   /api/schedules/{name}/pause                      work own
POST   /api/schedules/{name}/resume                     work own
POST   /api/schedules/{name}/run                        work own
GET    /api/webhooks                                    look own
POST   /api/webhooks                                    work own
GET    /api/webhooks/{webhook_id}                       look own
DELETE /api/webhooks/{webhook_id}                       work own
GET    /api/webhooks/{webhook_id}/events                look own
POST   /api/webhooks/{webhook_id}/test                  work own
POST   /api/webhooks/{webhook_id}/resend                work own
POST   /api/webhooks/{webhook_id}/enable                work own
GET    /api/costs                                       look own
GET    /api/report                                      look
GET    /api/events                                      look

GET    /api/agents                                      look
POST   /api/agents                                      operate
GET    /api/agents/{agent_id}                           look
DELETE /api/agents/{agent_id}                           operate
POST   /api/agents/{agent_id}/restart                   operate
GET    /api/agents/{agent_id}/logs                      look
GET    /api/agents/{agent_id}/logs/stream               look
GET    /api/diagnostics                                 look
POST   /api/diagnostics/profile                         operate
GET    /api/pools                                       look
POST   /api/pools/{name}/scale                          operate
POST   /api/pools/{name}/restart                        operate
GET    /api/hosts                                       look
POST   /api/hosts/{host_id}/{action}                    operate
GET    /api/fleet/desired                               look
GET    /api/fleet/history                               look
GET    /api/fleet/map                                   look
POST   /api/fleet/apply                                 administer
GET    /api/policies                                    look
PUT    /api/policies                                    administer
POST   /api/policies/test                               look quiet
GET    /api/policies/refusals                           look
GET    /api/scaling                                     look
GET    /api/scaling/{pool}                              look
GET    /api/routes                                      look
GET    /api/rollouts                                    look
GET    /api/rollouts/{pool}                             look
POST   /api/rollouts/{pool}                             administer
POST   /api/rollouts/{pool}/approve                     operate
POST   /api/rollouts/{pool}/promote                     operate
POST   /api/rollouts/{pool}/abort                       operate
GET    /api/limits                                      look
PUT    /api/limits/{kind}/{about}                       operate
GET    /api/budgets                                     look
PUT    /api/budgets/{scope}/{about}                     operate
GET    /api/quarantine                                  look
PUT    /api/quarantine/{agent_id}                       operate
DELETE /api/quarantine/{agent_id}                       operate
GET    /api/kill                                        look
POST   /api/kill                                        operate
GET    /api/recoveries                                  look
GET    /api/breakers                                    look
POST   /api/breakers/reset                              operate
GET    /api/alerts                                      look
POST   /api/alerts/test                                 operate
GET    /api/silences                                    look
POST   /api/silences                                    operate
DELETE /api/silences/{silence_id}                       operate
GET    /api/runbooks                                    look
POST   /api/runbooks/{name}/runs                        operate
GET    /api/runbook-runs                                look
GET    /api/runbook-runs/{run_id}                       look
GET    /api/runbook-audit                               look
POST   /api/runbook-runs/{run_id}/answer                operate
POST   /api/runbook-runs/{run_id}/end                   operate
GET    /api/messages                                    look
POST   /api/messages                                    operate
POST   /api/messages/ask                                operate
GET    /api/messages/inboxes/{agent_id}                 look
GET    /api/messages/refused                            look
GET    /api/messages/dead                               look
GET    /api/backups                                     look
POST   /api/backups                                     administer

GET    /api/audit                                       administer
GET    /api/keys                                        administer
POST   /api/keys                                        administer
DELETE /api/keys/{prefix}                               administer
POST   /api/signing-keys/rotate                         administer
DELETE /api/tokens/{name}                               operate

POST   /api/remote/sessions                             join quiet
GET    /api/remote/agents                               look
POST   /api/remote/sessions/*                           session quiet
GET    /api/remote/sessions/*                           session
DELETE /api/remote/sessions/*                           session quiet
"""


def _rules() -> Iterator[Rule]:
    for line in TABLE.split("\n"):
        if line:
            method, path, right, *words = line.split()
            assert right in get_args(Right), line
            assert set(words) <= {"own", "quiet", "noted"}, line
            audited = "noted" in words or (method != "GET" and "quiet" not in words)
            yield Rule(method, path, right, "own" in words, audited)  # type: ignore[arg-type]


RULES = tuple(_rules())
AREAS = frozenset(rule.area for rule in RULES if rule.path.startswith("/api/"))
"""What keys' scopes may name."""
UNLISTED = Rule("", "", "administer", audited=True)

_ANY, _REST, _LEAF = object(), object(), object()
"""Beside the segments' own names: any one segment, all that is left, and the rule of a path that ends here."""
_KINDS = {"{": _ANY, "*": _REST}


def _tree() -> dict[Any, Any]:
    tree: dict[Any, Any] = {}
    for rule in RULES:
        node = tree.setdefault(rule.method, {})
        for part in rule.path.split("/")[1:]:
            node = node.setdefault(_KINDS.get(part[:1], part), {})
        node[_LEAF] = rule
    return tree


_TREE = _tree()


def rule_for(method: str, path: str) -> Rule:
    """Return the rule of a request; `UNLISTED` for what no route answers, and for one that nobody has listed."""
    method = "GET" if method == "HEAD" else method
    found = _find(_TREE.get(method, {}), path.split("/")[1:])
    return UNLISTED._replace(method=method, path=path, audited=method != "GET") if found is None else found


def _find(node: dict[Any, Any], parts: list[str]) -> Rule | None:
    for part in parts:
        following = node.get(part)
        if following is None and _REST in node:
            node = node[_REST]
            break
        if following is None and part:
            following = node.get(_ANY)
        if following is None:
            return None
        node = following
    found: Rule | None = node.get(_LEAF)
    return found
