"""The hosts of a local fleet, as many as are wanted: what the supervisor does when the desired state changes while it runs.

More hosts are started and kept running; of those that are too many the last ones are told to the placer as drained, so that their
agents sit elsewhere at once, and end when they run nothing any more; one that takes too long gives back what it runs. A host
whose order asks for one more restart is stopped in good order and started again, one host at a time. An engine that can't be
reached changes nothing: what runs goes on, and it is asked again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec

from amas.errors import AmasError, EngineError
from amas.model.desired import Desired, Order
from amas.observe import events
from amas.observe.logging import process_log
from amas.platforms.local.children import host_name
from amas.platforms.local.control import engine_settings
from amas.platforms.local.home import FleetState
from amas.platforms.local.keeper import Keeper

POLL_S = 5.0
"""Between looks when nothing rings."""
EMPTY_S = 600.0
"""As long as an attempt may take by default: a host that is too many has this long to do what it runs."""
LOOK_S = 1.0
"""Between looks whether it has."""
BY = "supervisor"


class Crew:
    """Keeps the hosts of one fleet."""

    def __init__(
        self,
        state: FleetState,
        keepers: list[Keeper],
        make: Callable[[str], Keeper],
        group: asyncio.TaskGroup,
        changed: Callable[[], None],
    ) -> None:
        """`keepers`: of the hosts that run, by number; hosts come and go in it. `group`: where their keeping runs."""
        self._state, self._keepers, self._make, self._group, self._changed = state, keepers, make, group, changed
        self._restarts: dict[str, int] = {}
        self._leaving: dict[str, tuple[asyncio.Task[None], asyncio.Event]] = {}
        """By host that is too many: its end, and what hurries it."""
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Take the restarts that were asked for up to now as done: the hosts have just been started."""
        from amas.engine.connection import Engine
        from amas.engine.desired import DesiredState

        with suppress(EngineError):
            async with Engine.of(engine_settings(self._state)) as engine:
                self._restarts = _restarts(await DesiredState(engine).read())

    def hurry(self) -> None:
        """Let hosts that are too many end now and give back what they run: the fleet stops."""
        for _, hurry in self._leaving.values():
            hurry.set()

    async def follow(self) -> None:
        """Do what is wanted of the hosts until cancelled."""
        from amas.engine.bell import Bell
        from amas.engine.connection import Engine
        from amas.engine.desired import CHANNEL, DesiredState
        from amas.engine.hosts import HostRegistry

        rung = asyncio.Event()
        async with Engine.of(engine_settings(self._state)) as engine, asyncio.TaskGroup() as group:
            bell = Bell(engine, {CHANNEL: lambda _: rung.set()}, connected=rung.set)
            group.create_task(bell.run(), name="bell")
            self._desired, self._hosts = DesiredState(engine), HostRegistry(engine)
            revision = -1
            while True:
                with suppress(EngineError):
                    if await self._desired.revision() != revision:
                        found = await self._desired.read()
                        await self._make_so(found)
                        revision = found.revision
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        await rung.wait()
                rung.clear()

    async def _make_so(self, desired: Desired) -> None:
        if desired.fleet is None:
            return
        before, wanted = len(self._keepers), desired.hosts
        for number in range(before, wanted):
            await self._add(host_name(number + 1), desired)
        for keeper in self._keepers[wanted:]:
            await self._remove(keeper, desired)
        if wanted != before:
            self._state.hosts = wanted
            self._changed()
            process_log().info("another number of hosts is wanted", event=events.HOSTS_WANTED, before=before, after=wanted)
        asked = _restarts(desired)
        for keeper in self._keepers[:before]:
            if asked.get(keeper.child.name, 0) > self._restarts.get(keeper.child.name, 0):
                self._group.create_task(self._renew(keeper), name=f"restart {keeper.child.name}")
        self._restarts = asked

    async def _add(self, name: str, desired: Desired) -> None:
        if (order := desired.orders.get(name)) and order.drained:  # as the last one of this name was left
            await self._order(name, msgspec.structs.replace(order, drained=False), "it is started")
        keeper = self._make(name)
        self._keepers.append(keeper)
        self._group.create_task(self._start_and_keep(keeper), name=name)

    async def _remove(self, keeper: Keeper, desired: Desired) -> None:
        name = keeper.child.name
        order = desired.orders.get(name, Order())
        await self._order(name, msgspec.structs.replace(order, drained=True), f"{len(self._keepers)} hosts are too many")
        self._keepers.remove(keeper)
        hurry = asyncio.Event()
        self._leaving[name] = self._group.create_task(self._stop_and_forget(keeper, order, hurry), name=f"stop {name}"), hurry

    async def _stop_and_forget(self, keeper: Keeper, order: Order, hurry: asyncio.Event) -> None:
        """Stop a host that runs nothing any more, and take back what moved its agents away: the next of this name is another."""
        with suppress(TimeoutError):
            async with asyncio.timeout(EMPTY_S):
                while not hurry.is_set() and await self._busy(keeper.child.name):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(hurry.wait(), LOOK_S)
        await keeper.stop()
        with suppress(EngineError):  # what is left behind is mended when a host of this name is added
            await self._order(keeper.child.name, order, "it has ended")

    async def _busy(self, name: str) -> bool:
        """Return whether a host has agents or runs something; who can't be asked is taken for busy."""
        try:
            return bool((await self._desired.read()).seats.get(name) or await self._hosts.running(name))
        except EngineError:
            return True

    async def _order(self, name: str, order: Order, why: str) -> None:
        from amas.engine.desired import Wish

        await self._desired.change([Wish(f"order:{name}", None if order == Order() else order)], by=BY, why=why)

    async def _start_and_keep(self, keeper: Keeper) -> None:
        if leaving := self._leaving.pop(keeper.child.name, None):
            ending, hurry = leaving
            hurry.set()  # its name is wanted
            await ending
        with suppress(AmasError):  # it is tried again, and its state says why
            await keeper.start()
        await keeper.keep()

    async def _renew(self, keeper: Keeper) -> None:
        async with self._one_at_a_time:
            await keeper.renew()


def _restarts(desired: Desired) -> dict[str, int]:
    return {host: order.restarts for host, order in desired.orders.items()}
