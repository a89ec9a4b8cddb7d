"""Who is there and can do what: the agents of the fleet's hosts and those that run elsewhere, found by the same words.

Remote agents come from the engine's index. A fleet's own are numbers of declared pools: which pools fit is known from the fleet
file, so of what hosts say only those are looked at.
"""

from collections.abc import Iterator, Mapping

from amas.engine.hosts import HostRegistry, HostView
from amas.engine.registry import AgentRegistry, Enrolled
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.remote import RegisteredAgent, is_remote
from amas.model.states import AgentStatus, Layer


class Discovery:
    """Looks for agents of one fleet."""

    def __init__(self, hosts: HostRegistry, registry: AgentRegistry, fleet: FleetSpec) -> None:
        self._hosts, self._registry, self._fleet = hosts, registry, fleet

    async def discover(
        self,
        *,
        capability: str = "",
        layer: Layer | str = "",
        labels: Mapping[str, str] | None = None,
        status: AgentStatus | None = None,
        limit: int = 1000,
    ) -> list[RegisteredAgent]:
        """Return up to `limit` agents to which all that is said applies, by id.

        A fleet's own have the labels `pool` and `host`.
        """
        facets = [f"label:{name}={value}" for name, value in (labels or {}).items()]
        facets += [f"capability:{capability}"] if capability else []
        facets += [f"layer:{Layer(layer).value}"] if layer else []
        at_ms = self._hosts.now_ms()
        found = [_elsewhere(one, at_ms) for one in await self._registry.find(facets, limit=limit if status is None else None)]
        pools = {
            pool.name: pool
            for pool in self._fleet.pools
            if (not capability or capability in pool.capabilities) and (not layer or pool.layer == layer)
        }
        if pools and set(labels or ()) <= {"pool", "host"}:
            found += [
                agent
                for host in await self._hosts.all()
                for agent in own_agents(host, pools, at_ms)
                if all(agent.labels[name] == value for name, value in (labels or {}).items())
            ]
        fitting = [agent for agent in found if status is None or agent.status is status]
        return sorted(fitting, key=lambda agent: agent.id)[:limit]

    async def get(self, agent_id: str) -> RegisteredAgent | None:
        """Return one agent; None where no live host or session has it."""
        at_ms = self._hosts.now_ms()
        if is_remote(agent_id):
            return next((_elsewhere(one, at_ms) for one in await self._registry.look([agent_id])), None)
        pool = agent_id.rpartition("-")[0]
        pools = {each.name: each for each in self._fleet.pools if each.name == pool}
        agents = (agent for host in await self._hosts.all() for agent in own_agents(host, pools, at_ms))
        return next((agent for agent in agents if agent.id == agent_id), None)


def own_agents(host: HostView, pools: Mapping[str, PoolSpec], at_ms: int) -> Iterator[RegisteredAgent]:
    """Yield a host's agents of these pools, as it says and as the engine knows what they run."""
    busy: dict[str, list[str]] = {}
    for task_id, agent_id in host.running.items():
        busy.setdefault(agent_id, []).append(task_id)
    troubled = frozenset(host.figures.troubled)
    for card in host.about.agents:
        pool = pools.get(card.pool)
        if pool is not None:
            tasks = tuple(sorted(busy.get(card.id, ())))
            yield RegisteredAgent(
                id=card.id,
                host_id=host.id,
                capabilities=pool.capabilities,
                version=card.version,
                layer=card.layer,
                title=card.title,
                slots=card.slots,
                labels={"pool": card.pool, "host": host.id},
                status=_status(host.lease_until_ms, at_ms, tasks, troubled=card.id in troubled),
                tasks=tasks,
            )


def _elsewhere(one: Enrolled, at_ms: int) -> RegisteredAgent:
    agent = one.agent
    return RegisteredAgent(
        id=agent.id,
        host_id=one.session_id,
        capabilities=agent.capabilities,
        version=agent.version,
        layer=agent.layer.value,
        title=agent.title,
        slots=agent.slots,
        labels=agent.labels,
        status=_status(one.lease_until_ms, at_ms, one.tasks, troubled=False),
        tasks=one.tasks,
        remote=True,
    )


def _status(lease_until_ms: int, at_ms: int, tasks: tuple[str, ...], *, troubled: bool) -> AgentStatus:
    """Return an agent's status: `healing` while its lease is over and nobody has swept yet."""
    if lease_until_ms < at_ms:
        return AgentStatus.HEALING
    if troubled:
        return AgentStatus.ERROR
    return AgentStatus.WORKING if tasks else AgentStatus.IDLE
