"""The router: learns from outcomes which pools do a capability well, and tells the engine how to share its tasks among them.

Only capabilities that more than one live pool carries have a route; a fleet that declares none costs a look now and then.
Outcomes are what the engine itself counts of routed tasks as they end (`engine/functions/07_routes.lua`), in sums that never begin
anew: what is new is the difference to what was seen, and both stand in one value that is written in one call. So a router that is
killed anywhere forgets nothing and counts nothing twice. The same sweep sends on what waits for a pool that lost its agents.
"""

import random
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

import msgspec

from amas.core.routing import FORGOTTEN_TRIALS, Belief, Candidate, alike, decayed, decide, of_versions, refreshed
from amas.engine.routes import MOVE_SLICE, HostSeen, Routes, branch
from amas.model.fleet import FleetSpec
from amas.model.routing import Route, RouteTable
from amas.observe import events
from amas.observe.logging import process_log

PAUSE_S = 1.0
"""A pool that loses its agents is known to within this, beyond its hosts' lease."""
REST_S = 10.0
"""Between sweeps of a fleet in which no two pools can do the same; another may be declared meanwhile."""
ANEW_MS = 10_000
"""A route of which nothing is new is decided again after this, since the old counts for less and less."""
ROUTED_POOLS = 2
"""With fewer there is no choice."""
MOVES_MAX = 20
"""Calls in one sweep that send tasks on from one queue: 10,000 tasks."""


class Memory(msgspec.Struct, array_like=True):
    """What is known, as of `at_ms`, and what the engine had counted by then."""

    at_ms: int = 0
    beliefs: dict[str, dict[str, Belief]] = msgspec.field(default_factory=dict)
    """By queue (capability and pool), then version."""
    seen: dict[str, dict[str, Belief]] = msgspec.field(default_factory=dict)


class LivePool(NamedTuple):
    """A pool's live agents."""

    slots: int
    versions: tuple[str, ...]


class _Known(NamedTuple):
    """What a sweep works with."""

    memory: Memory
    news: frozenset[str]
    """Queues of which tasks have ended since the last sweep."""
    forget: list[tuple[str, str]]
    """(queue, version) of which so little is known that it isn't kept."""


_memory = msgspec.msgpack.Decoder(Memory)


class Router:
    """Learns and publishes routes."""

    name = "router"

    def __init__(self, routes: Routes, fleet: FleetSpec) -> None:
        self._routes = routes
        self.follow(fleet)
        self._hosts: dict[str, HostSeen] = {}
        self._decided: dict[str, tuple[object, int]] = {}
        self._versions: dict[str, dict[str, str]] | None = None

    def follow(self, fleet: FleetSpec) -> None:
        """Route among the pools of this fleet from now on."""
        self._spec = fleet.routing
        self._shared = shared_capabilities(fleet) if fleet.routing.enabled else {}
        self._carriers = frozenset(pool for pools in self._shared.values() for pool in pools)
        self._cleared = False

    async def run_once(self) -> float:
        """Learn what is new, publish what changes, send on what is stranded; return the seconds until the next sweep."""
        table = await self._routes.table()
        if not self._shared:
            if table.version and not self._cleared:
                await self._routes.publish((), {}, memory=await self._routes.memory())
            self._cleared = True
            return PAUSE_S if await self._send_on(frozenset()) else REST_S
        self._hosts = await self._routes.hosts(self._hosts)
        live = live_pools(self._hosts, self._carriers)
        known = await self._learn(live)
        queues = [queue for capability, pools in self._shared.items() for queue in (capability, *_branches(capability, pools))]
        waiting = await self._routes.waiting(queues)
        routes = self._decide(live, known, waiting, table)
        await self._publish(routes, known, table)
        await self._send_on({branch(route.capability, one.pool) for route in routes for one in route.choices if not one.excluded})
        return PAUSE_S

    async def _learn(self, live: Mapping[str, LivePool]) -> _Known:
        now_ms, held = self._routes.now_ms(), await self._routes.memory()
        memory = _memory.decode(held) if held else Memory(now_ms)
        elapsed_s, news, forget = (now_ms - memory.at_ms) / 1000, set(), []
        beliefs = {
            queue: {version: decayed(belief, elapsed_s, self._spec.half_life_s) for version, belief in of.items()}
            for queue, of in memory.beliefs.items()
        }
        for capability, pools in self._shared.items():
            for pool in live.keys() & pools:
                of = beliefs.setdefault(branch(capability, pool), {})
                of.update(of_versions(of, live[pool].versions))
        seen: dict[str, dict[str, Belief]] = {}
        for queue, version, sums in await self._routes.outcomes():
            new = sums.minus(memory.seen.get(queue, {}).get(version, Belief()))
            of = beliefs.setdefault(queue, {})
            of[version] = of.get(version, Belief()).plus(new)
            if new.trials > 0:
                news.add(queue)
            elif of[version].trials < FORGOTTEN_TRIALS:
                forget.append((queue, version))
                del of[version]
                continue
            seen.setdefault(queue, {})[version] = sums
        kept = {queue: of for queue, of in beliefs.items() if of}
        return _Known(Memory(now_ms, kept, seen), frozenset(news), forget)

    def _decide(self, live: Mapping[str, LivePool], known: _Known, waiting: Mapping[str, int], table: RouteTable) -> list[Route]:
        """Return the routes of all capabilities that more than one live pool carries; one of which nothing changed stays."""
        before, now_ms, routes = {route.capability: route for route in table.routes}, known.memory.at_ms, []
        for capability, pools in self._shared.items():
            if len(live.keys() & pools) < ROUTED_POOLS:
                continue
            candidates = [_candidate(capability, pool, live.get(pool), known.memory, waiting) for pool in pools]
            state = waiting[capability], [(one.slots, one.waiting, one.versions) for one in candidates]
            old, (decided, at_ms) = before.get(capability), self._decided.get(capability, (None, 0))
            news = not known.news.isdisjoint(_branches(capability, pools))
            if old is None or news or decided != state or now_ms - at_ms > ANEW_MS:
                self._decided[capability] = state, now_ms
                chance = random.Random(capability)  # noqa: S311  the same chance each time: a share moves with what is known only
                new = decide(capability, candidates, self._spec, chance, waiting=waiting[capability])
                old = refreshed(old, new) if old and alike(old, new) else new
            routes.append(old)
        return routes

    async def _publish(self, routes: Sequence[Route], known: _Known, table: RouteTable) -> None:
        before = {route.capability: route for route in table.routes}
        after = {route.capability: route for route in routes}
        versions, memory = _versions(self._hosts, self._carriers), msgspec.msgpack.encode(known.memory)
        same = before.keys() == after.keys() and all(alike(before[name], route, within=0.0) for name, route in after.items())
        if same and versions == self._versions and not known.forget:
            if known.news:
                await self._routes.keep(routes, memory=memory)
            return
        version = await self._routes.publish(routes, versions, memory=memory, forget=known.forget)
        self._versions = versions
        if before.keys() != after.keys():
            process_log().info("routes changed", event=events.ROUTES_CHANGED, routed=list(after), version=version)

    async def _send_on(self, routed: Set[str]) -> bool:
        """Send on what waits in queues of pools that have no share; return whether anything is left, such as parked tasks."""
        stranded = [queue for queue in await self._routes.branches() if queue not in routed]
        left = False
        for queue, count in (await self._routes.waiting(stranded)).items():
            if count:
                moved = 0
                for _ in range(MOVES_MAX):
                    moved += (last := await self._routes.move(queue))
                    if last < MOVE_SLICE:
                        break
                left = left or moved < count
                if moved:
                    process_log().info("sent tasks on", event=events.TASKS_SENT_ON, queue=queue, tasks=moved)
        return left


def shared_capabilities(fleet: FleetSpec) -> dict[str, tuple[str, ...]]:
    """Return the capabilities that more than one pool of a fleet declares, with these pools."""
    carriers: dict[str, list[str]] = {}
    for pool in fleet.pools:
        for capability in pool.capabilities:
            carriers.setdefault(capability, []).append(pool.name)
    return {capability: tuple(pools) for capability, pools in carriers.items() if len(pools) >= ROUTED_POOLS}


def live_pools(hosts: Mapping[str, HostSeen], pools: Set[str]) -> dict[str, LivePool]:
    """Return those of `pools` that have agents on live hosts."""
    slots: dict[str, int] = {}
    versions: dict[str, set[str]] = {}
    for host in hosts.values():
        for card in host.about.pools:
            if card.pool in pools:
                slots[card.pool] = slots.get(card.pool, 0) + card.slots * card.count
                versions.setdefault(card.pool, set()).add(card.version)
    return {pool: LivePool(count, tuple(sorted(versions[pool]))) for pool, count in slots.items() if count > 0}


def _versions(hosts: Mapping[str, HostSeen], pools: Set[str]) -> dict[str, dict[str, str]]:
    found = {
        host_id: {card.pool: card.version for card in host.about.pools if card.pool in pools} for host_id, host in hosts.items()
    }
    return {host_id: of for host_id, of in found.items() if of}


def _branches(capability: str, pools: Iterable[str]) -> list[str]:
    return [branch(capability, pool) for pool in pools]


def _candidate(capability: str, pool: str, live: LivePool | None, memory: Memory, waiting: Mapping[str, int]) -> Candidate:
    queue = branch(capability, pool)
    known = memory.beliefs.get(queue, {})
    versions = live.versions if live else ()
    belief = Belief()
    for version in versions:
        belief = belief.plus(known[version])
    return Candidate(pool=pool, belief=belief, slots=live.slots if live else 0, waiting=waiting.get(queue, 0), versions=versions)
