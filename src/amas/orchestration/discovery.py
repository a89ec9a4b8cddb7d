"""Who is there and can do what: the agents of the fleet's hosts and those that run elsewhere, found by the same words.

Remote agents come from the engine's index. A fleet's own stand in ranges of pools, so a pool is looked at as a whole, and its
agents only as far as they are shown.
"""

from collections.abc import Iterator, Mapping
from itertools import islice

from amas.engine.hosts import HostRegistry
from amas.engine.registry import AgentRegistry, Enrolled
from amas.engine.roster import Roster, Seen, Span
from amas.model.labels import Selector
from amas.model.remote import RegisteredAgent, is_remote
from amas.model.states import AgentStatus, Layer


class Discovery:
    """Looks for agents of one cell."""

    def __init__(self, hosts: HostRegistry, registry: AgentRegistry) -> None:
        self._hosts, self._registry = hosts, registry

    async def discover(
        self,
        *,
        capability: str = "",
        layer: Layer | str = "",
        labels: Mapping[str, str] | Selector | None = None,
        status: AgentStatus | None = None,
        limit: int = 1000,
        after: str = "",
    ) -> list[RegisteredAgent]:
        """Return up to `limit` agents to which all that is said applies and that come after `after`, remote ones first, by id.

        A fleet's own follow by pool and number; they have their pool's labels, and the labels `pool` and `host` besides.
        """
        wanted = labels if isinstance(labels, Selector) else Selector.of(labels or {})
        facets = facets_of(capability=capability, layer=Layer(layer).value if layer else "", labels=wanted)
        most, at_ms = limit if status is None and wanted.is_exact else None, self._registry.now_ms()
        told = await self._registry.find(facets, limit=most, after=after) if not after or is_remote(after) else []
        afar = [elsewhere(one, at_ms) for one in told]
        found = [agent for agent in afar if status in {None, agent.status} and wanted.allows(agent.labels)]
        if len(found) < limit:
            roster = Roster(await self._hosts.all(), now_ms=self._hosts.now_ms())
            own = _own(roster, capability, str(layer), wanted, status, "" if is_remote(after) else after)
            found += islice(own, limit - len(found))
        return found[:limit]

    async def get(self, agent_id: str) -> RegisteredAgent | None:
        """Return one agent; None where no live host or session has it."""
        if is_remote(agent_id):
            at_ms = self._registry.now_ms()
            return next((elsewhere(one, at_ms) for one in await self._registry.look([agent_id])), None)
        seen = Roster(await self._hosts.all(), now_ms=self._hosts.now_ms()).find(agent_id)
        return _here(seen) if seen else None


def facets_of(*, capability: str, layer: str, labels: Selector) -> list[str]:
    """Return what the engine's index knows of what is wanted of remote agents: all but what labels ask for beyond one value."""
    named = {f"capability:{capability}": capability, f"layer:{layer}": layer}
    return [*(facet for facet, said in named.items() if said), *(f"label:{name}={value}" for name, value in labels.exact.items())]


def _own(
    roster: Roster, capability: str, layer: str, labels: Selector, status: AgentStatus | None, after: str
) -> Iterator[RegisteredAgent]:
    """Yield a fleet's own agents to which all that is said applies, those behind the agent `after`."""
    for pool, spans in roster.spans.items():
        hosts = {span.host.id for span in spans if _fits(span, capability, layer, labels)}
        if hosts:
            yield from (
                _here(seen) for seen in roster.agents(pools=(pool,), status=status, after=after) if seen.span.host.id in hosts
            )


def _fits(span: Span, capability: str, layer: str, labels: Selector) -> bool:
    card = span.card
    if (capability and capability not in card.capabilities) or (layer and card.layer != layer):
        return False
    return labels.allows(_labels(span))


def _labels(span: Span) -> dict[str, str]:
    return {**span.card.labels, "pool": span.card.pool, "host": span.host.id}


def _here(seen: Seen) -> RegisteredAgent:
    card = seen.span.card
    return RegisteredAgent(
        id=seen.agent_id,
        host_id=seen.span.host.id,
        capabilities=card.capabilities,
        version=card.version,
        layer=card.layer,
        title=card.title,
        slots=card.slots,
        labels=_labels(seen.span),
        status=seen.status,
        tasks=seen.tasks,
    )


def elsewhere(one: Enrolled, at_ms: int) -> RegisteredAgent:
    """Return a remote agent as it is shown at a time of the engine's."""
    agent = one.agent
    status = AgentStatus.WORKING if one.tasks else AgentStatus.IDLE
    return RegisteredAgent(
        id=agent.id,
        host_id=one.session_id,
        capabilities=agent.capabilities,
        version=agent.version,
        layer=agent.layer.value,
        title=agent.title,
        slots=agent.slots,
        labels=agent.labels,
        status=AgentStatus.HEALING if one.lease_until_ms < at_ms else status,  # its lease is over, and nobody has swept yet
        tasks=one.tasks,
        remote=True,
    )
