"""Administrative acts in words: the audit keeps method, route and path of each, and people read what was done and to whom. Pure.

    POST /api/pools/{name}/scale   /api/pools/coder/scale   ->   "scaled a pool", "coder"

`WORDS` has every act that the audit notes; a test holds it to the table of routes (`server/access.py`), below which this is.
Asked by the control plane for whoever lists the audit.
"""

import re
from urllib.parse import unquote

from amas.model.desired import FLEET_KILLED

WORDS = {
    "GET /auth/callback": "signed in with a browser",
    "POST /auth/commands": "signed in for commands",
    "POST /api/session": "opened the web page with a key",
    "DELETE /api/session": "left the web page",
    "POST /api/tasks/{task_id}/cancel": "cancelled a task",
    "POST /api/tasks/{task_id}/signal": "sent a task a signal",
    "POST /api/workflows/{workflow_id}/cancel": "cancelled a workflow",
    "POST /api/workflows/{workflow_id}/pause": "paused a workflow",
    "POST /api/workflows/{workflow_id}/resume": "resumed a workflow",
    "POST /api/workflows/{workflow_id}/rerun": "had a part of a workflow done again",
    "POST /api/workflows/{workflow_id}/signal": "sent a workflow a signal",
    "POST /api/approvals/{task_id}": "answered an approval",
    "POST /api/dead-letters/{task_id}/retry": "queued a dead letter again",
    "POST /api/dead-letters/{task_id}/discard": "discarded a dead letter",
    "PUT /api/schedules/{name}": "set a schedule",
    "DELETE /api/schedules/{name}": "dropped a schedule",
    "POST /api/schedules/{name}/pause": "paused a schedule",
    "POST /api/schedules/{name}/resume": "resumed a schedule",
    "POST /api/schedules/{name}/run": "ran a schedule at once",
    "POST /api/webhooks": "made a webhook",
    "DELETE /api/webhooks/{webhook_id}": "removed a webhook",
    "POST /api/webhooks/{webhook_id}/test": "tried a webhook",
    "POST /api/webhooks/{webhook_id}/resend": "sent a webhook's events again",
    "POST /api/webhooks/{webhook_id}/enable": "switched a webhook on again",
    "POST /api/agents": "added an agent",
    "DELETE /api/agents/{agent_id}": "took an agent out",
    "POST /api/agents/{agent_id}/restart": "restarted an agent",
    "POST /api/diagnostics/profile": "profiled a process",
    "POST /api/pools/{name}/scale": "scaled a pool",
    "POST /api/pools/{name}/restart": "restarted a pool",
    "POST /api/hosts/{host_id}/{action}": "told a host to {action}",
    "POST /api/fleet/apply": "applied a fleet",
    "PUT /api/policies": "changed the policies",
    "POST /api/rollouts/{pool}": "started a roll-out",
    "POST /api/rollouts/{pool}/approve": "approved a roll-out",
    "POST /api/rollouts/{pool}/promote": "promoted a roll-out",
    "POST /api/rollouts/{pool}/abort": "took a roll-out back",
    "PUT /api/limits/{kind}/{about}": "changed a limit",
    "PUT /api/budgets/{scope}/{about}": "changed a budget",
    "PUT /api/quarantine/{agent_id}": "quarantined an agent",
    "DELETE /api/quarantine/{agent_id}": "lifted a quarantine",
    "POST /api/kill": "killed, or lifted a kill",  # as audits before `KILLED` and `LIFTED` have it
    "POST /api/breakers/reset": "reset a breaker",
    "POST /api/alerts/test": "tried the receivers of alerts",
    "POST /api/silences": "silenced alerts",
    "DELETE /api/silences/{silence_id}": "ended a silence",
    "POST /api/runbooks/{name}/runs": "ran a run-book",
    "POST /api/runbook-runs/{run_id}/answer": "answered a run-book",
    "POST /api/runbook-runs/{run_id}/end": "ended a run of a run-book",
    "POST /api/messages": "wrote to agents",
    "POST /api/messages/ask": "asked an agent",
    "POST /api/backups": "backed the fleet up",
    "POST /api/keys": "made an API key",
    "DELETE /api/keys/{prefix}": "revoked an API key",
    "POST /api/signing-keys/rotate": "replaced the signing keys",
    "DELETE /api/tokens/{name}": "revoked the tokens of an agent or pool",
}
"""What somebody did, by the audit's `act`; what stands in braces comes from the path."""

KILLED, LIFTED = "killed", "lifted"
"""What the audit says behind the name of whom a kill was about."""
_NAMED = re.compile(r"\{(\w+)\}")


def in_words(act: str, on: str) -> tuple[str, str]:
    """Return what was done, and to whom: names from the path, whom the body named, or what was made; "" for nobody.

    An act without words, such as a request that no route answers, is returned as it stands.
    """
    words = WORDS.get(act)
    if words is None:
        return act, "" if act.endswith(f" {on}") else on
    path, _, named = on.partition(" ")
    if named.endswith((f" {KILLED}", f" {LIFTED}")):
        named, _, which = named.rpartition(" ")
        return ("killed" if which == KILLED else "lifted a kill"), "the whole fleet" if named == FLEET_KILLED else named
    template = act.partition(" ")[2]
    found = _parts(template, path)
    for name in _NAMED.findall(words):
        words = words.replace(f"{{{name}}}", found.pop(name, "?"))
    about = [*found.values(), named] if found or path == template else [path.removeprefix(f"{template}/"), named]
    return words, " ".join(filter(None, about))


def _parts(template: str, path: str) -> dict[str, str]:
    """Return what stands in a path at the places that the template names; {} for a path of another kind, as of what was made."""
    asked, said = template.split("/"), path.split("/")
    if len(asked) != len(said):
        return {}
    return {name[1]: unquote(part) for place, part in zip(asked, said, strict=True) if (name := _NAMED.fullmatch(place))}
