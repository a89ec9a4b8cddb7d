"""`AgentHierarchyManager`: the hierarchy as it stands, from what the hosts say of themselves."""

import asyncio
from collections import Counter
from typing import Any

from amas.client import Fleet
from amas.engine.hosts import HostRegistry
from amas.engine.roster import Roster
from amas.model.fleet import FleetSpec
from amas.model.states import AgentStatus, Layer
from amas.model.task import Json
from amas.programs.link import Link, wanted_of
from amas.programs.specialists import Help, Pace, add_agents, help_with


class AgentHierarchyManager:
    """Shows layers, pools and agents of the running fleet, adds agents to it and asks them for help."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._pace = Pace()
        self._adding: tuple[Fleet, asyncio.Lock] | None = None
        """Of a connection: one call after the other adds agents, so that no two take the same numbers."""

    def get_hierarchy_status(self) -> dict[str, Any]:
        """Return the fleet's name, `total_agents`, `agents` by status, and `layers` from the executive one down.

        A layer has its `pools`, each with `title`, `lead` (a pool's name; empty at the top), `capabilities`, `declared` replicas
        and its `agents` by status: `idle`, `working`, `error`, and `healing` while their host is silent.
        """
        return self._link.ask_now(_status)

    async def create_specialist_agent(self, specialist: str, *, count: int = 1) -> list[str]:
        """Add agents to a declared pool, by its name or a capability, and return their ids once all of them work.

        They come as fast as the fleet may grow: `max_agent_spawn_rate` (ORCHESTRATION_MAX_AGENT_SPAWN_RATE) at once, then as many
        each second. They run in this program and leave with it; their work goes to others then. AgentUnknown when there is no
        such pool, FleetError when `max_agents_per_pool` or `max_total_agents` leaves no room for all of them, or when they can't
        all be made: then none of them stays.
        """

        async def add(fleet: Fleet, spec: FleetSpec) -> list[str]:
            if self._adding is None or self._adding[0] is not fleet:
                self._adding = fleet, asyncio.Lock()
            async with self._adding[1]:
                wanted = await wanted_of(fleet, spec)
                added = await add_agents(fleet, wanted, self._link.home, specialist, count, pace=self._pace)
                self._link.keep(added.leave)
                return added.ids

        return await self._link.ask(add)

    async def request_specialist_help(self, capability: str, request: Json = None, *, timeout_s: float = 300.0) -> Help:
        """Return what a specialist with `capability` makes of `request` as its input; a failure or silence goes up the hierarchy.

        Each of those who are asked has `timeout_s` seconds: specialist, its lead, that one's lead, a person. CapabilityUnknown
        when nobody can do it, TaskFailed with the code `unanswered` when nobody answered.
        """

        async def ask(fleet: Fleet, spec: FleetSpec) -> Help:
            return await help_with(fleet, await wanted_of(fleet, spec), capability, request, timeout_s)

        return await self._link.ask(ask)


async def _status(fleet: Fleet, spec: FleetSpec) -> dict[str, Any]:
    registry = HostRegistry(fleet.engine)
    spec = await wanted_of(fleet, spec)
    hosts = await registry.all()
    roster = Roster(hosts, now_ms=registry.now_ms())
    layers = {
        layer.value: {
            pool.name: {
                "title": pool.title,
                "lead": pool.lead,
                "capabilities": list(pool.capabilities),
                "declared": pool.replicas,
                "agents": _by_status(roster.count(pools=[pool.name])),
            }
            for pool in spec.pools
            if pool.layer is layer
        }
        for layer in Layer
    }
    everybody = roster.count()
    return {
        "fleet": spec.name,
        "hosts": len(hosts),
        "total_agents": everybody.total(),
        "agents": _by_status(everybody),
        "layers": {layer: {"pools": pools} for layer, pools in layers.items()},
    }


def _by_status(counted: Counter[AgentStatus]) -> dict[str, int]:
    return {status.value: counted[status] for status in AgentStatus}
