"""Keeps a control plane's idea of its fleet that of the desired state: pools, scales, limits, who may write to whom."""

import asyncio
from contextlib import suppress

from amas.engine.bell import Bell, Waker
from amas.engine.desired import CHANNEL, FLEET, Wish
from amas.errors import DesiredChanged, EngineError
from amas.server.plane import ControlPlane

POLL_S = 2.0
"""Between looks when nothing rings."""
BY = "control-plane"


class Following:
    """Follows what is wanted, for one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane, self._revision = plane, -1
        self._waker = Waker()

    async def run(self) -> None:
        """Look whenever something changes, and now and then besides, until cancelled."""
        bell = Bell(self._plane.engine, {CHANNEL: self._waker.ring}, connected=self._waker.ring)
        async with asyncio.TaskGroup() as group:
            group.create_task(bell.run(), name="bell")
            while True:
                await self._waker.rest(POLL_S)
                with suppress(EngineError):  # asked again soon
                    await self.look()

    async def look(self) -> None:
        """Let the plane's fleet be what is wanted now; an engine that was told of no fleet is told of the plane's."""
        desired = self._plane.desired
        if await desired.revision() == self._revision:
            return
        found = await desired.read()
        if found.spec is None:
            with suppress(DesiredChanged):  # another control plane said it
                await desired.change(
                    [Wish(FLEET, self._plane.fleet)], by=BY, why="the engine knew no fleet", expect=found.revision
                )
            return
        self._plane.closed = found.closed
        if found.spec != self._plane.fleet:
            self._plane.follow(found.spec)
        self._revision = found.revision
