"""The declarer: when another fleet is declared, sets anew what the engine keeps of it, and tells the duties that go by it.

That is tenants' weights, providers' rates, budgets, what pools need, and queues' bounds. Each is one idempotent call, so a
declarer that is killed between two of them leaves nothing that the next one doesn't set. What a fleet no longer names (a
provider, a budget) is left as it is, since people may have set it.
"""

from collections.abc import Sequence
from typing import Protocol

from amas.engine.bounds import QueueBounds
from amas.engine.desired import CHANNEL, DesiredState
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.model.fleet import FleetSpec
from amas.observe import events
from amas.observe.logging import process_log

PAUSE_S = 5.0
"""Between looks when nothing rings."""


class Follower(Protocol):
    """What goes by the declared fleet."""

    def follow(self, fleet: FleetSpec) -> None:
        """Go by this one from now on."""
        ...


async def declare(fleet: FleetSpec, queue: TaskQueue, limits: Limits, bounds: QueueBounds) -> None:
    """Set what the engine keeps of a fleet."""
    await queue.weigh({name: tenant.weight for name, tenant in fleet.tenants.items()})
    await limits.declare(fleet)
    await bounds.set(fleet.queue_bounds)


class Declarer:
    """Keeps the engine's settings those of the declared fleet."""

    name = "declarer"
    woken_by = CHANNEL

    def __init__(
        self, state: DesiredState, queue: TaskQueue, limits: Limits, bounds: QueueBounds, followers: Sequence[Follower]
    ) -> None:
        self._state, self._followers = state, followers
        self._queue, self._limits, self._bounds = queue, limits, bounds
        self._revision = 0
        self._fleet: FleetSpec | None = None

    async def run_once(self) -> float:
        """Set what has changed and return the seconds until the next look."""
        if await self._state.revision() == self._revision:
            return PAUSE_S
        desired = await self._state.read()
        if desired.fleet is not None and desired.fleet != self._fleet:
            await declare(desired.fleet, self._queue, self._limits, self._bounds)
            for follower in self._followers:
                follower.follow(desired.fleet)
            self._fleet = desired.fleet
            process_log().info("declared the fleet", event=events.FLEET_DECLARED, fleet=desired.fleet.name, of=desired.revision)
        self._revision = desired.revision
        return PAUSE_S
