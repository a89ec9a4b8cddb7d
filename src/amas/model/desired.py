"""What is wanted of a fleet: the declared fleet, what operators and controllers want besides, and which host has which agents.

One document with a revision, kept by the engine (`engine/desired.py`). People and controllers write wishes into it; the placer
alone writes seats; hosts and the local platform read it and make what runs equal to it. So whoever dies, nothing that was wanted
is forgotten, and what is wanted can be looked at in one place.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from amas.model.fleet import FleetSpec, PoolSpec, ProcessLimits
from amas.model.healing import Quarantine
from amas.model.numbers import Numbers, count
from amas.model.rollout import Rollout

FLEET_KILLED = "*"
"""In an agent's or a pool's place: the whole fleet."""


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How many agents a pool is to have, in place of what the fleet file says."""

    replicas: int
    by: str
    """A person, or the controller that decided."""
    why: str = ""
    at_ms: int = 0


class MemoryLimit(msgspec.Struct, frozen=True, kw_only=True):
    """What a pool's isolated attempts may take, in place of what the fleet file says; MiB."""

    memory_mb: int
    declared_mb: int
    """In whose place: it holds as long as the file says this."""
    by: str
    why: str = ""
    at_ms: int = 0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator wants of one host."""

    cordoned: bool = False
    """It keeps its agents and gets no more."""
    drained: bool = False
    """Its agents go to other hosts, each once it has done what it runs."""
    restarts: int = 0
    """Counts the restarts that were asked for; the platform starts it anew when the number grows."""


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """Agents that must do nothing: what they ran was taken from them, and they get nothing until it is lifted."""

    by: str
    why: str
    at_ms: int


class Seats(msgspec.Struct, frozen=True, array_like=True):
    """The agents of one pool that one host runs."""

    pool: str
    numbers: Numbers

    @property
    def count(self) -> int:
        """How many agents these are."""
        return count(self.numbers)


class Desired(msgspec.Struct, frozen=True, kw_only=True):
    """The whole document as it stood at one revision."""

    revision: int = 0
    """0: nothing was ever wanted."""
    fleet: FleetSpec | None = None
    """As declared."""
    scales: dict[str, Scale] = {}
    """By pool."""
    limits: dict[str, MemoryLimit] = {}
    """By pool."""
    host_scale: Scale | None = None
    """How many hosts there are to be, where their number follows load."""
    orders: dict[str, Order] = {}
    """By host."""
    seats: dict[str, tuple[Seats, ...]] = {}
    """By host."""
    quarantines: dict[str, Quarantine] = {}
    """By agent."""
    kills: dict[str, Kill] = {}
    """By agent, by pool, or under `FLEET_KILLED` for all."""
    stage: int | None = None
    """How far a start or a stop in stages has come: pools of later stages have no agents. None: all are wanted."""
    closed: str = ""
    """Why no goals and tasks are taken over REST; "": they are. What programs give the engine themselves is kept and waits."""
    rollouts: dict[str, Rollout] = {}
    """By pool."""
    anew: dict[str, int] = {}
    """By pool: how often its agents were asked to be made anew."""
    gone: dict[str, Numbers] = {}
    """By pool: the numbers of agents that were taken out of it, below its highest."""
    restarts: dict[str, int] = {}
    """By agent: when it was last asked to be restarted, by the engine's clock (ms)."""

    @property
    def pools(self) -> tuple[PoolSpec, ...]:
        """The pools as they are to run: declared, with the replicas that are wanted now, and new versions that are rolled out."""
        if self.fleet is None:
            return ()
        declared = tuple(self._as_wanted(pool) for pool in self.fleet.pools)
        under_way = {name: each for name, each in self.rollouts.items() if not each.phase.over}
        return (*declared, *(under_way[pool.name].variant_pool(pool) for pool in declared if pool.name in under_way))

    def _as_wanted(self, pool: PoolSpec) -> PoolSpec:
        changes: dict[str, int | Numbers | ProcessLimits] = {}
        if self.stage is not None and pool.stage > self.stage:
            changes["replicas"] = 0
        elif scale := self.scales.get(pool.name):
            changes["replicas"] = scale.replicas
        if life := self.anew.get(pool.name):
            changes["life"] = life
        if gone := self.gone.get(pool.name):
            changes["gone"] = gone
        if memory_mb := self._memory_mb(pool):
            changes["limits"] = msgspec.structs.replace(pool.limits, memory_mb=memory_mb)
        return msgspec.structs.replace(pool, **changes) if changes else pool

    def _memory_mb(self, pool: PoolSpec) -> int:
        """Return the memory limit that holds in the place of a pool's own; 0 where that holds."""
        rule, limit = pool.scaling and pool.scaling.vertical, self.limits.get(pool.name)
        if not rule or limit is None or limit.declared_mb != pool.limits.memory_mb:
            return 0
        return max(pool.limits.memory_mb, min(limit.memory_mb, rule.max_mb))

    @property
    def hosts(self) -> int:
        """How many hosts the local platform is to run."""
        if self.fleet is None:
            return 0
        follows, scale = self.fleet.host_scaling, self.host_scale
        if follows is None or scale is None:
            return self.fleet.hosts
        return min(max(scale.replicas, follows.scaling.min), follows.scaling.max)

    @property
    def spec(self) -> FleetSpec | None:
        """The fleet as it is to run now: as declared, with `pools` and `hosts`."""
        return None if self.fleet is None else msgspec.structs.replace(self.fleet, pools=self.pools, hosts=self.hosts)


class DesiredChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change of the document as its log tells it."""

    revision: int
    at_ms: int
    by: str
    why: str
    fields: tuple[str, ...]
    """What was changed: `fleet`, `scale:NAME`, `order:HOST`, ..."""


SECTIONS: Mapping[str, tuple[str, Any]] = {
    "scale": ("scales", Scale),
    "limit": ("limits", MemoryLimit),
    "order": ("orders", Order),
    "seats": ("seats", tuple[Seats, ...]),
    "rollout": ("rollouts", Rollout),
    "quarantine": ("quarantines", Quarantine),
    "anew": ("anew", int),
    "gone": ("gone", Numbers),
    "restart": ("restarts", int),
    "kill": ("kills", Kill),
}
"""Kind of a field -> the mapping of `Desired` that it fills, by the name after the colon, and its values' type."""
