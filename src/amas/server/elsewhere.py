"""Agents that run elsewhere as people see them, beside the fleet's own: in lists they come after those, by id.

They are read from the engine's registry as they are now. A list without a filter by status, or by labels beyond `name=value`,
costs the ids of those that the other filters let through, and what is said of those on its page.
"""

from amas.engine.registry import AgentRegistry
from amas.model.labels import Selector
from amas.model.remote import REMOTE_POOL, SESSION_PREFIX, RegisteredAgent
from amas.model.states import AgentStatus, Layer
from amas.orchestration.discovery import elsewhere, facets_of
from amas.server.shapes import AgentShape


class Wanted:
    """Which of them are wanted; what isn't said doesn't matter."""

    __slots__ = ("facets", "host", "labels", "none", "status")

    def __init__(
        self, *, pool: str, layer: Layer | None, capability: str, host: str, status: AgentStatus | None, labels: Selector
    ) -> None:
        self.host, self.status, self.labels = host, status, labels
        self.facets = facets_of(capability=capability, layer=layer.value if layer else "", labels=labels)
        self.none = (pool not in {"", REMOTE_POOL}) or (host != "" and not host.startswith(SESSION_PREFIX))
        """Whether none of them can be among what is wanted."""


async def page(registry: AgentRegistry, wanted: Wanted, *, after: str, limit: int) -> tuple[list[AgentShape], int]:
    """Return up to `limit` of those that come after the agent `after`, and how many there are in all."""
    if wanted.none:
        return [], 0
    ids = await registry.names(wanted.facets)
    if wanted.host:
        held = await registry.agents_of(wanted.host)
        ids = [agent_id for agent_id in ids if agent_id in held]
    at_ms = registry.now_ms()
    if wanted.status is None and wanted.labels.is_exact:
        shown = await registry.look([agent_id for agent_id in ids if agent_id > after][:limit])
        return [_shape(elsewhere(one, at_ms)) for one in shown], len(ids)
    looked = (elsewhere(one, at_ms) for one in await registry.look(ids))
    found = [agent for agent in looked if wanted.status in {None, agent.status} and wanted.labels.allows(agent.labels)]
    return [_shape(agent) for agent in found if agent.id > after][:limit], len(found)


async def find(registry: AgentRegistry, agent_id: str) -> AgentShape | None:
    """Return one of them, None when no session has it."""
    at_ms = registry.now_ms()
    return next((_shape(elsewhere(one, at_ms)) for one in await registry.look([agent_id])), None)


def _shape(agent: RegisteredAgent) -> AgentShape:
    return AgentShape(
        agent_id=agent.id,
        agent_type=REMOTE_POOL,
        title=agent.title,
        layer=agent.layer,
        lead="",
        capabilities=agent.capabilities,
        labels=agent.labels,
        skill="",
        status=agent.status,
        current_tasks=agent.tasks,
        slots=agent.slots,
        host_id=agent.host_id,
        version=agent.version,
    )
