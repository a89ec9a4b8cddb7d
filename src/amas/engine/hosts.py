"""Hosts and their leases, and who leads a duty.

A host says what agents it has by pool, as ranges of numbers: 30,000 of them are told in a few hundred bytes. What an agent does
now follows from the tasks that the engine has running on its host.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.engine.queue import RETENTION_S
from amas.model.latency import Latencies
from amas.model.numbers import Numbers, count, expand, named, within
from amas.model.remote import SESSION_PREFIX

encode = msgspec.msgpack.encode


class PoolCard(msgspec.Struct, frozen=True, array_like=True):
    """What a host says of its agents of one pool."""

    pool: str
    layer: str
    lead: str
    title: str
    version: str
    slots: int
    """Tasks that each agent takes at a time."""
    numbers: Numbers
    capabilities: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    skill: str = ""

    @property
    def count(self) -> int:
        """How many agents these are."""
        return count(self.numbers)

    @property
    def agent_ids(self) -> Iterator[str]:
        """Each agent's id, in order."""
        return (f"{self.pool}-{number}" for number in expand(self.numbers))


class HostAbout(msgspec.Struct, frozen=True):
    """What a host says of itself when it registers, and whenever that changes."""

    pid: int
    machine: str
    version: str
    pools: tuple[PoolCard, ...] = ()
    revision: int = 0
    """Of what is wanted of the fleet: this host has carried that out. 0 for one that doesn't follow it."""
    labels: dict[str, str] = {}
    """What it was started with, for pools that ask for hosts with labels."""

    @property
    def agents(self) -> int:
        """How many agents it has."""
        return sum(card.count for card in self.pools)

    def card_of(self, agent_id: str) -> PoolCard | None:
        """Return what is said of one agent, or None when it isn't here."""
        pool, number = named(agent_id)
        return next((card for card in self.pools if card.pool == pool and within(number, card.numbers)), None)


class LongAttempt(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that has run for some time."""

    task_id: str
    agent_id: str
    for_s: float
    at: str
    """Where its code is: function, file and line."""


class HostFigures(msgspec.Struct, frozen=True):
    """What a host says with every beat."""

    cpu_s: float = 0.0
    """Seconds of CPU since it started."""
    rss_bytes: int = 0
    loop_lag_s: float = 0.0
    """How late its event loop last answered."""
    succeeded: dict[str, int] = msgspec.field(default_factory=dict)
    """By pool, since the host started."""
    failed: dict[str, int] = msgspec.field(default_factory=dict)
    troubled: tuple[str, ...] = ()
    """The ids of agents whose health check says no."""
    messages: Latencies | None = None
    """How long messages took to its agents, since the host started; None on one without messaging."""
    busy_s: dict[str, float] = msgspec.field(default_factory=dict)
    """Seconds of attempts that have ended, by pool."""
    healing: tuple[str, ...] = ()
    """The ids of agents that crashed and are being made anew."""
    memory_mb: dict[str, int] = msgspec.field(default_factory=dict)
    """The most that a child process has, or had of late, by pool whose limit follows that."""
    longest: tuple[LongAttempt, ...] = ()
    """Of the attempts that run, those that have done so for longest, if for long."""
    own: Mapping[str, dict[str, float]] = msgspec.field(default_factory=dict)
    """What agents that define `report_metrics` say of themselves, added up by pool."""


class HostView(msgspec.Struct, frozen=True, kw_only=True):
    """A live host as the engine knows it."""

    id: str
    lease_until_ms: int
    since_ms: int
    about: HostAbout
    figures: HostFigures
    running: dict[str, str]
    """Task id -> agent id."""


_about = msgspec.msgpack.Decoder(HostAbout)
_figures = msgspec.msgpack.Decoder(HostFigures)


class LostHost(msgspec.Struct, frozen=True):
    """A host whose lease ran out, and what was given back."""

    id: str
    tasks: int
    late_ms: int
    """How long before the sweep its lease had ended."""


class HostRegistry:
    """The hosts of one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S) -> None:
        self._engine = engine
        self._retention_ms = round(retention_s * 1000)
        self._seen: tuple[str, ...] = ()
        """The hosts that `all` found last: they are asked about in the round trip that asks who there is."""

    def now_ms(self) -> int:
        """Return the engine's time, by which leases count, whatever this machine's clock says."""
        return self._engine.now_ms()

    async def register(self, host_id: str, about: HostAbout, *, lease_s: float, now_ms: int = SERVER_CLOCK) -> int:
        """Make a host known; until its lease ends it may claim. Return how many tasks an earlier life of it left running.

        Those are given back in the same call, since the process that ran them is gone.
        """
        lease_ms = round(lease_s * 1000)
        return int(await self._engine.call("register", now_ms, self._retention_ms, host_id, lease_ms, encode(about)))

    async def announce(self, host_id: str, about: HostAbout, *, now_ms: int = SERVER_CLOCK) -> bool:
        """Say anew what a live host has, which its tasks don't notice; False when its lease is gone, so that it must register."""
        return bool(await self._engine.call("announce", now_ms, host_id, encode(about)))

    async def renew(self, host_id: str, figures: HostFigures, *, lease_s: float, now_ms: int = SERVER_CLOCK) -> bool:
        """Prolong the lease; False when it had run out, so that the host must stop its tasks and register anew."""
        return bool(await self._engine.call("renew", now_ms, host_id, round(lease_s * 1000), encode(figures)))

    async def leave(self, host_id: str, *, now_ms: int = SERVER_CLOCK) -> int:
        """End the lease in good order; return how many tasks were given back."""
        return int(await self._engine.call("leave", now_ms, self._retention_ms, host_id))

    async def reap(self, *, now_ms: int = SERVER_CLOCK) -> LostHost | None:
        """Give back the tasks of one host whose lease has run out; None when every lease holds."""
        answer = await self._engine.call("reap", now_ms, self._retention_ms)
        return LostHost(answer[0].decode(), int(answer[1]), int(answer[2])) if answer else None

    async def running(self, host_id: str) -> list[str]:
        """Return the ids of the tasks that the engine believes a host to run."""
        (ids,) = await self._engine.read([("HKEYS", self._engine.key("r", host_id))])
        return [task_id.decode() for task_id in ids]

    async def all(self) -> list[HostView]:
        """Return every host of the fleet that holds a lease, by id: no remote sessions, which `engine/registry.py` shows."""
        known = self._seen
        held, *told = await self._engine.read(
            [("ZRANGE", self._engine.key("hosts"), 0, -1, "WITHSCORES"), *self._asked_of(known)]
        )
        leases = {held[i].decode(): int(float(held[i + 1])) for i in range(0, len(held), 2)}
        leases = {host_id: until for host_id, until in leases.items() if not host_id.startswith(SESSION_PREFIX)}
        new = [host_id for host_id in leases if host_id not in known]
        told += await self._engine.read(self._asked_of(new))
        answers = dict(zip((*known, *new), zip(told[::2], told[1::2], strict=True), strict=True))
        self._seen = tuple(leases)
        return [_view(host_id, leases[host_id], *answers[host_id]) for host_id in sorted(leases) if answers[host_id][0][0]]

    def _asked_of(self, host_ids: Iterable[str]) -> list[Sequence[str]]:
        commands: list[Sequence[str]] = []
        for host_id in host_ids:
            commands.append(("HMGET", self._engine.key("h", host_id), "about", "since", "figures"))
            commands.append(("HGETALL", self._engine.key("r", host_id)))
        return commands


def _view(host_id: str, until_ms: int, said: Sequence[bytes], running: Mapping[bytes, bytes]) -> HostView:
    about, since, figures = said
    return HostView(
        id=host_id,
        lease_until_ms=until_ms,
        since_ms=int(since),
        about=_about.decode(about),
        figures=_figures.decode(figures) if figures else HostFigures(),
        running={task.decode(): agent.decode() for task, agent in running.items()},
    )


class Leadership:
    """One leader at a time for each duty, by a fenced lease."""

    def __init__(self, engine: Engine, holder: str) -> None:
        self._engine, self._holder = engine, holder

    async def acquire(self, duty: str, *, lease_s: float, now_ms: int = SERVER_CLOCK) -> int:
        """Become or stay the leader: return the epoch, or 0 when another leads."""
        return int(await self._engine.call("lead", now_ms, duty, self._holder, round(lease_s * 1000)))

    async def resign(self, duty: str, *, now_ms: int = SERVER_CLOCK) -> None:
        """Let another lead at once."""
        await self._engine.call("resign", now_ms, duty, self._holder)

    async def depose(self, duty: str, *, lease_s: float, now_ms: int = SERVER_CLOCK) -> bool:
        """Let another lead at once in place of this holder, which is dead for sure; return whether it led.

        Only who saw the holder's process end may say so. `lease_s`: as it had it, so that its last sign of life is known.
        """
        return bool(await self._engine.call("depose", now_ms, duty, self._holder, round(lease_s * 1000)))
