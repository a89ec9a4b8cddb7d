"""Makes a host's agents equal to what is wanted of it, now and whenever that changes.

It listens for changes, and looks now and then besides, since a message may be lost with its connection. What it reads is one
document at one revision, and what it does with it is `Host.reseat`, so doing it twice or skipping a revision does no harm; the
host tells the engine which revision it has carried out. It never writes what is wanted.
"""

import asyncio
from collections.abc import Callable, Sequence

from amas.agents.host import Host
from amas.core.gates import fleet_gate
from amas.core.retry import Draw, pause_s
from amas.engine.bell import Bell, Waker
from amas.engine.connection import Engine
from amas.engine.desired import CHANNEL, DesiredState
from amas.errors import EngineError
from amas.model.desired import Desired, Seats
from amas.model.fleet import FleetSpec

POLL_S = 5.0
"""Seconds between looks without a bell, up to twice that: reading one number, so thousands of hosts may."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.1, 5.0


class Seating:
    """One host's."""

    def __init__(
        self,
        engine: Engine,
        host: Host,
        *,
        prepare: Callable[[FleetSpec], FleetSpec],
        draw: Draw,
        seats: Callable[[Desired], Sequence[Seats]] | None = None,
    ) -> None:
        """`prepare` returns a fleet with what this host's agents must know besides; called for each that is wanted.

        `seats`: whom a host runs that the placer deals nothing to; by default what is dealt to it.
        """
        self._seats = seats or (lambda desired: desired.seats.get(host.host_id, ()))
        self._engine, self._host, self._prepare, self._draw = engine, host, prepare, draw
        self._state = DesiredState(engine)
        self._waker = Waker()
        self._carried_out = 0

    async def run(self) -> None:
        """Follow until cancelled; the host works already."""
        bell = Bell(self._engine, {CHANNEL: self._waker.ring}, connected=self._waker.ring)
        async with asyncio.TaskGroup() as group:
            group.create_task(bell.run(), name="seating-bell")
            group.create_task(self._follow(), name="seating")

    async def _follow(self) -> None:
        tries = 0
        while True:
            try:
                await self.run_once()
            except EngineError:  # the host's own calls say so
                tries += 1
                await asyncio.sleep(pause_s(tries, least_s=PAUSE_MIN_S, most_s=PAUSE_MAX_S, draw=self._draw))
                continue
            tries = 0
            await self._waker.rest(POLL_S * (1 + self._draw()))

    async def again(self) -> None:
        """Carry out what is wanted although its revision is known: `seats` says otherwise than before."""
        self._carried_out = 0
        await self.run_once()

    async def run_once(self) -> bool:
        """Carry out what is wanted; return whether that has changed since the last time."""
        if await self._state.revision() == self._carried_out:
            return False
        desired = await self._state.read()
        pools, gate, tools = desired.pools, None, None
        if desired.spec is not None:
            spec = self._prepare(desired.spec)
            pools, gate, tools = spec.pools, fleet_gate(spec.limits), spec.tools
        await self._host.reseat(
            pools,
            self._seats(desired),
            gate=gate,
            tools=tools,
            revision=desired.revision,
            restarts=desired.restarts,
            policies=desired.fleet.policies if desired.fleet else (),
            quarantines=desired.quarantines,
        )
        self._carried_out = desired.revision
        return True
