"""Routes as the engine holds them: the table that it draws from, what it counted of outcomes, and why a task went where.

`functions/07_routes.lua` says what each call keeps true. Written by `controllers/router.py` alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.core.routing import Belief
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout
from amas.engine.queue import RETENTION_S
from amas.model.routing import Route, RoutedTask, RouteTable

encode = msgspec.msgpack.encode
_routes = msgspec.msgpack.Decoder(tuple[Route, ...])
_belief = msgspec.msgpack.Decoder(Belief)

PAST_KEPT = 50
"""Tables whose figures can be told after they were replaced."""
MOVE_SLICE = 500
"""What one call moves at most: `MOVE` in 07_routes.lua."""


def branch(capability: str, pool: str) -> str:
    """Return the queue of a pool's branch of a capability."""
    return f"{capability}@{pool}"


class Outcomes(NamedTuple):
    """What the engine has counted since ever of a pool's branch of a capability, by one version of its agents."""

    queue: str
    version: str
    sums: Belief


class HostSeen(msgspec.Struct, frozen=True):
    """A live host: since when (ms), how often it has said anew what it has, and what it says of itself."""

    since_ms: int
    about: HostAbout
    said: int = 0


class Routes:
    """The routes of one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S) -> None:
        self._engine, self._retention_ms = engine, round(retention_s * 1000)

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._engine.now_ms()

    async def publish(
        self,
        routes: Sequence[Route],
        versions: Mapping[str, Mapping[str, str]],
        *,
        memory: bytes,
        forget: Iterable[tuple[str, str]] = (),
        now_ms: int = SERVER_CLOCK,
    ) -> int:
        """Have the engine draw from these routes, and from none where they are empty; return the table's version.

        `versions`: host -> pool -> the version of its agents; outcomes of other hosts aren't counted. `forget`: (queue, version)
        whose outcomes nobody asks for any more. `memory` is kept for `memory()`.
        """
        table = [[[route.capability, _drawn_from(route)] for route in routes], [list(item) for item in versions.items()]]
        fields = [f"{queue}\n{version}" for queue, version in forget]
        said = encode(table) if routes else b""
        return int(await self._engine.call("routes_set", now_ms, said, encode(routes), memory, PAST_KEPT, encode(fields)))

    async def keep(self, routes: Sequence[Route], *, memory: bytes, now_ms: int = SERVER_CLOCK) -> None:
        """Keep `memory`, and the figures of these routes, which send tasks as the published ones do."""
        await self._engine.call("routes_keep", now_ms, encode(routes), memory)

    async def memory(self) -> bytes:
        """Return what was kept last; empty where nothing was."""
        (found,) = await self._engine.read([("HGET", self._engine.key("routes"), "memory")])
        return bytes(found or b"")

    async def outcomes(self) -> list[Outcomes]:
        """Return what was counted, by queue and version."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("outcomes"))])
        counted = []
        for name, sums in sorted(found.items()):
            queue, _, version = name.decode().partition("\n")
            counted.append(Outcomes(queue, version, _belief.decode(sums)))
        return counted

    async def move(self, queue: str, *, now_ms: int = SERVER_CLOCK) -> int:
        """Send up to 500 tasks that wait in a pool's branch of a capability elsewhere; return how many."""
        return int(await self._engine.call("routes_move", now_ms, self._retention_ms, queue))

    async def waiting(self, queues: Sequence[str]) -> dict[str, int]:
        """Return how many tasks wait in each of these queues, parked ones included."""
        sizes = await self._engine.read([("ZCARD", self._engine.key("q", queue)) for queue in queues])
        (parked,) = await self._engine.read([("HMGET", self._engine.key("parked"), *queues)]) if queues else ([],)
        return {queue: int(size) + int(held or 0) for queue, size, held in zip(queues, sizes, parked, strict=True)}

    async def branches(self) -> list[str]:
        """Return every queue that ever was a pool's branch of a capability."""
        (names,) = await self._engine.read([("SMEMBERS", self._engine.key("queues"))])
        return sorted(name for name in (found.decode() for found in names) if "@" in name[1:])

    async def hosts(self, known: Mapping[str, HostSeen]) -> dict[str, HostSeen]:
        """Return every host that holds a lease; what those in `known` say of themselves isn't read again."""
        (ids,) = await self._engine.read([("ZRANGEBYSCORE", self._engine.key("hosts"), str(self.now_ms()), "+inf")])
        names = [found.decode() for found in ids]
        since = await self._engine.read([("HMGET", self._engine.key("h", name), "since", "said") for name in names])
        seen = {name: (int(at or 0), int(said or 0)) for name, (at, said) in zip(names, since, strict=True)}
        new = [name for name, when in seen.items() if name not in known or (known[name].since_ms, known[name].said) != when]
        told = await self._engine.read([("HGET", self._engine.key("h", name), "about") for name in new])
        fresh = {
            name: HostSeen(seen[name][0], msgspec.msgpack.decode(about, type=HostAbout), seen[name][1])
            for name, about in zip(new, told, strict=True)
            if about
        }
        return {name: fresh.get(name) or known[name] for name in names if name in fresh or name in known}

    async def table(self) -> RouteTable:
        """Return the routes that the engine draws from now; version 0 where there are none."""
        (found,) = await self._engine.read([("HMGET", self._engine.key("routes"), "v", "figures")])
        return (
            RouteTable(version=int(found[0]), at_ms=int(found[0]), routes=_routes.decode(found[1])) if found[0] else RouteTable()
        )

    async def past(self, version: int) -> RouteTable | None:
        """Return the table of a version; None when it is forgotten."""
        (held,) = await self._engine.read([("LRANGE", self._engine.key("routes:past"), 0, -1)])
        for item in held:
            number, _, figures = item.partition(b"\n")
            if int(number) == version:
                return RouteTable(version=version, at_ms=version, routes=_routes.decode(figures))
        return None

    async def of_task(self, task_id: str) -> tuple[str, RoutedTask | None]:
        """Return a task's queue, "" when the engine doesn't know it, and what was noted when a pool was chosen for it."""
        (found,) = await self._engine.read([("HMGET", self._engine.key("t", task_id), "q", "route")])
        queue, route = ((value or b"").decode() for value in found)
        if not route:
            return queue, None
        how, pool, share, version, *_ = route.split("\n")
        return queue, RoutedTask(how=how, pool=pool, share=float(share), version=int(version), queue=queue)


def _drawn_from(route: Route) -> list[list[Any]]:
    """Return a route's choices as the engine reads them."""
    reached, choices = 0.0, []
    for choice in route.choices:
        if not choice.excluded:
            reached += choice.share
            choices.append([choice.pool, reached, choice.allowance, choice.pulls, choice.explored, choice.share])
    return choices
