"""What the engine knows of pools' work, for the autoscaler: queues, what runs, hosts; and what the autoscaler wants remembered.

Reading costs two commands a queue and two a host, and nothing per waiting task; what runs comes with a few bytes a task.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.core.scaling_history import ScalingMemory
from amas.engine.connection import Engine
from amas.engine.hosts import HostFigures
from amas.model.scaling import PoolScaling

encode = msgspec.msgpack.encode
_memory = msgspec.msgpack.Decoder(ScalingMemory)
_view = msgspec.msgpack.Decoder(PoolScaling)
_figures = msgspec.msgpack.Decoder(HostFigures)

SCALING = "scaling"
HOSTS_MEMORY, HOSTS_VIEW = "hosts:memory", "hosts:view"
"""Fields for the hosts, beside `memory:POOL` and `view:POOL`."""


class QueueSeen(NamedTuple):
    """A queue: tasks that could be claimed now, those that wait for a resource left out, and how many ever came."""

    waiting: int
    arrived: int | None
    """None where nobody counts yet."""


class HostLoad(NamedTuple):
    """A live host and what it runs."""

    figures: HostFigures
    running: Counter[str]
    """Tasks by pool."""


class Kept(NamedTuple):
    """What was remembered, by pool."""

    memories: dict[str, ScalingMemory]
    views: dict[str, PoolScaling]


class ScalingState:
    """The autoscaler's view of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._engine.now_ms()

    async def queues(self, queues: Sequence[str]) -> dict[str, QueueSeen]:
        """Return these queues as they are."""
        sizes = [("ZCARD", self._engine.key("q", queue)) for queue in queues]
        *found, counts = await self._engine.read([*sizes, ("HMGET", self._engine.key("arrived"), "", *queues)])
        return {
            queue: QueueSeen(int(size), None if count is None else int(count))
            for queue, size, count in zip(queues, found, counts[1:], strict=True)
        }

    async def hosts(self, *, now_ms: int | None = None) -> dict[str, HostLoad]:
        """Return every host that holds a lease."""
        at = self.now_ms() if now_ms is None else now_ms
        (ids,) = await self._engine.read([("ZRANGEBYSCORE", self._engine.key("hosts"), str(at), "+inf")])
        names = [found.decode() for found in ids]
        figures = [("HGET", self._engine.key("h", name), "figures") for name in names]
        running = [("HVALS", self._engine.key("r", name)) for name in names]
        found = await self._engine.read([*figures, *running])
        return {
            name: HostLoad(_figures.decode(said) if said else HostFigures(), _by_pool(agents))
            for name, said, agents in zip(names, found, found[len(names) :], strict=False)
        }

    async def open_workflows(self) -> int:
        """Return how many workflows are open."""
        (count,) = await self._engine.read([("ZCARD", self._engine.key("open"))])
        return int(count)

    async def kept(self) -> Kept:
        """Return what was remembered."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key(SCALING))])
        kept = Kept({}, {})
        for name, value in found.items():
            kind, _, pool = name.decode().partition(":")
            if kind == "memory":
                kept.memories[pool] = _memory.decode(value)
            elif kind == "view":
                kept.views[pool] = _view.decode(value)
        return kept

    async def views(self) -> dict[str, PoolScaling]:
        """Return what is shown of each pool."""
        return (await self.kept()).views

    async def hosts_kept(self) -> tuple[ScalingMemory, PoolScaling | None]:
        """Return what was remembered, and what is shown, of the number of hosts."""
        (found,) = await self._engine.read([("HMGET", self._engine.key(SCALING), HOSTS_MEMORY, HOSTS_VIEW)])
        memory, view = found
        return _memory.decode(memory) if memory else ScalingMemory(), _view.decode(view) if view else None

    async def keep_hosts(self, memory: ScalingMemory, view: PoolScaling | None, *, now_ms: int = SERVER_CLOCK) -> None:
        """Remember this of the number of hosts; without a view, nothing any more."""
        held, shown = (encode(memory), encode(view)) if view else (b"", b"")
        await self._engine.call("scaling_keep", now_ms, encode(()), HOSTS_MEMORY, held, HOSTS_VIEW, shown)

    async def keep(
        self,
        memories: Mapping[str, ScalingMemory],
        views: Mapping[str, PoolScaling],
        *,
        count: Sequence[str] = (),
        forget: Iterable[str] = (),
        now_ms: int = SERVER_CLOCK,
    ) -> None:
        """Remember these pools and forget those, and count from now on what comes into these queues."""
        said: list[str | bytes] = []
        for pool, memory in memories.items():
            said += [f"memory:{pool}", encode(memory)]
        for pool, view in views.items():
            said += [f"view:{pool}", encode(view)]
        for pool in forget:
            said += [f"memory:{pool}", b"", f"view:{pool}", b""]
        await self._engine.call("scaling_keep", now_ms, encode(count), *said)


def _by_pool(agents: Iterable[bytes]) -> Counter[str]:
    """Return how many of these agents' names are of each pool."""
    return Counter({pool.decode(): count for pool, count in Counter(name.rpartition(b"-")[0] for name in agents).items()})
