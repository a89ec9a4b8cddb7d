"""A fleet's agents started stage by stage, and stopped in reverse: what `amas up` and `amas down` do when processes run.

A stage begins when every agent of the one before sits on a live host and is well. How far it has come stands in the desired
state, so a start that fails, or is told to go to a stage and no further, leaves what runs running, and `amas up` goes on from
there. A stop takes no more goals and tasks over REST, then takes the stages away, the last first: agents finish what they run.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from amas.clock import monotonic_s, new_id
from amas.core.placement import growth_s, unseated
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostRegistry, HostView
from amas.engine.inbox import Inboxes, Letter
from amas.errors import AmasError, EngineError, StageIncomplete, StartFailed
from amas.model.desired import Desired
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.numbers import pool_named
from amas.platforms.local.control import engine_settings, fleet_state, run_fleet
from amas.platforms.local.home import FleetState
from amas.platforms.local.request import Event, Report, StartRequest
from amas.settings import HostSettings, MessageSettings

LOOK_S = 0.1
CHECK_LIFE_MS = 60_000
CLOSED = "the fleet is being stopped"
"""Said to who brings work meanwhile."""


class Lacking(NamedTuple):
    """What a stage still waits for."""

    missing: dict[str, int]
    """Agents that sit nowhere, by pool."""
    unwell: tuple[str, ...]
    """Agents whose health check says no."""
    whys: Mapping[str, str] = {}
    """Why, by pool, where no host may seat them."""

    def __str__(self) -> str:
        plain = {pool: f"{count} of {pool}'s agents have no host" for pool, count in self.missing.items()}
        parts = [self.whys.get(pool, sentence) for pool, sentence in plain.items()]
        return ", ".join([*parts, *(f"{agent_id} isn't well" for agent_id in self.unwell)])


def last_stage(fleet: FleetSpec, phase: str) -> int:
    """Return the stage that `phase` means: a number, or a pool's name; "" is the last. StartFailed for anything else."""
    stages = fleet.stages
    if not phase:
        return max(stages)
    by_name = {pool.name: number for number, pools in stages.items() for pool in pools}
    if phase in by_name:
        return by_name[phase]
    if phase.isdecimal() and int(phase) in stages:
        return int(phase)
    told = "; ".join(f"{number}: {', '.join(pool.name for pool in pools)}" for number, pools in stages.items())
    raise StartFailed(f"the fleet {fleet.name!r} has no stage {phase!r}: it starts in {told}")


class Opening:
    """Opens and closes the stages of one running fleet."""

    def __init__(self, engine: Engine, *, by: str, report: Report) -> None:
        self._engine, self._by, self._report = engine, by, report
        self._state, self._hosts = DesiredState(engine), HostRegistry(engine)

    async def wait(self, *, patience_s: float) -> None:
        """Return once every agent that is wanted sits on a live host; StageIncomplete names the pools that lack some.

        Beyond `patience_s` a fleet has the seconds that its agents take to come, as fast as it lets them.
        """
        patience_s += growth_s(await self._state.read())
        until_s, began = monotonic_s() + patience_s, monotonic_s()
        self._report(Event(what="starting", part="agents"))
        while lacking := lacks(await self._state.read(), await self._hosts.all(), None).missing:
            if monotonic_s() > until_s:
                mend = "`amas hosts` and `amas logs` say more, AMAS_STAGE_S waits longer"
                raise StageIncomplete(f"after {patience_s:.3g} s {Lacking(lacking, ())}; {mend}")
            await asyncio.sleep(LOOK_S)
        self._report(Event(what="ready", part="agents", seconds=monotonic_s() - began))

    async def open(self, upto: int, *, patience_s: float) -> None:
        """Start every stage up to `upto`, each within `patience_s` seconds; those that are open already are looked at again.

        StageIncomplete says which agents aren't there; after the last stage, that messages don't get through.
        """
        desired = await self._state.read()
        assert desired.fleet is not None
        stages = desired.fleet.stages
        for number, pools in stages.items():
            if number > upto:
                return
            began, name = monotonic_s(), _name(number, pools)
            self._report(Event(what="starting", part=name))
            if desired.stage is not None and desired.stage < number:
                await self._change(Wish("stage", number), f"stage {number} of {max(stages)} begins")
            await self._until_there(number, patience_s)
            self._report(Event(what="ready", part=name, seconds=monotonic_s() - began))
        await self._check_messages()
        await self._change(Wish("stage", None), "every stage is there")

    async def close(self, *, patience_s: float) -> list[str]:
        """Take no more work and stop the stages, the last first, in `patience_s` seconds in all; return who wasn't done by then.

        What those run is given back when their hosts end, and done after the next start.
        """
        desired = await self._state.read()
        await self._change(Wish("closed", CLOSED), CLOSED)
        if desired.fleet is None or len(desired.fleet.stages) == 1:  # its hosts, which stop together, do the rest
            return []
        until_s, late = monotonic_s() + patience_s, list[str]()
        numbers = list(desired.fleet.stages)
        for before, number in reversed(list(zip([0, *numbers], numbers, strict=False))):
            pools = desired.fleet.stages[number]
            began, name = monotonic_s(), _name(number, pools)
            self._report(Event(what="stopping", part=name))
            await self._change(Wish("stage", before), f"stage {number} of {numbers[-1]} stops")
            if still := await self._until_gone(pools, until_s):
                late += still
            else:
                self._report(Event(what="stopped", part=name, seconds=monotonic_s() - began))
        return late

    async def _change(self, wish: Wish, why: str) -> None:
        await self._state.change([wish], by=self._by, why=why)

    async def _until_there(self, number: int, patience_s: float) -> None:
        patience_s += growth_s(await self._state.read())
        until_s = monotonic_s() + patience_s
        while True:
            desired, hosts = await self._state.read(), await self._hosts.all()
            lacking = lacks(desired, hosts, number)
            if not (lacking.missing or lacking.unwell):
                return
            if monotonic_s() > until_s:
                raise StageIncomplete(
                    f"stage {number} isn't there after {patience_s:.3g} s: {lacking}; what runs stays; "
                    "`amas up` goes on from here; AMAS_STAGE_S gives stages more time"
                )
            await asyncio.sleep(LOOK_S)

    async def _until_gone(self, pools: Sequence[PoolSpec], until_s: float) -> list[str]:
        """Wait until no host has agents of these pools; return whose are still there when time is up."""
        names = {pool.name for pool in pools}
        while True:
            busy = sorted(names & _in_hosts(await self._hosts.all()))
            if not busy or monotonic_s() > until_s:
                return busy
            await asyncio.sleep(LOOK_S)

    async def _check_messages(self) -> None:
        """Send a message through the engine and take it out again."""
        inboxes, inbox, now = Inboxes(self._engine, MessageSettings.read()), f"start-check-{new_id()}", self._engine.now_ms()
        letter = Letter.of(inbox, b"", message_id=new_id(), sender="amas", priority=1, times_ms=(now, now + CHECK_LIFE_MS))
        await inboxes.send([letter])
        (got,) = await inboxes.receive(inbox, [(inbox, 1)])
        if not got:
            raise StageIncomplete("every agent is there, but a message that was sent doesn't arrive; `amas doctor` looks further")
        await inboxes.acknowledge(inbox, [(inbox, [got[0].id])])


def lacks(desired: Desired, hosts: Collection[HostView], stage: int | None) -> Lacking:
    """Return what the stages up to `stage` still wait for; None: all of them."""
    wanted = {pool.name: pool.replicas for pool in desired.pools if stage is None or pool.stage <= stage}
    unwell: list[str] = []
    for host in hosts:
        for card in host.about.pools:
            if card.pool in wanted:
                wanted[card.pool] -= card.count
        unwell += [agent_id for agent_id in host.figures.troubled if pool_named(agent_id) in wanted]
    missing = {pool: count for pool, count in wanted.items() if count > 0}
    return Lacking(missing, tuple(sorted(unwell)), _whys(desired, hosts) if missing else {})


def _whys(desired: Desired, hosts: Collection[HostView]) -> dict[str, str]:
    """Return why agents have no host, by pool."""
    declared = desired.fleet.host_labels if desired.fleet else {}
    labels = {host.id: {**host.about.labels, **declared.get(host.id, {})} for host in hosts}
    return unseated(desired, labels.keys(), labels)


def _in_hosts(hosts: Sequence[HostView]) -> set[str]:
    """Return the pools of which some host has agents, or still runs a task."""
    seated = {card.pool for host in hosts for card in host.about.pools}
    return seated | {pool_named(agent_id) for host in hosts for agent_id in host.running.values()}


def _name(number: int, pools: Sequence[PoolSpec]) -> str:
    return f"stage {number}: {', '.join(pool.name for pool in pools)}"


# -- from outside the fleet


async def reached(fleet: FleetState) -> int | None:
    """Return the stage up to which a running fleet is wanted; None when all of it is."""
    async with Engine.of(engine_settings(fleet)) as engine:
        return (await DesiredState(engine).read()).stage


async def open_stages(fleet: FleetState, phase: str, report: Report | None) -> None:
    """Open a running fleet's stages up to `phase`, or wait for its agents where it has one; StageIncomplete says who lacks."""
    async with Engine.of(engine_settings(fleet)) as engine:
        opening, patience_s = Opening(engine, by="amas up", report=report or _silent), HostSettings.read().stage_s
        desired = await DesiredState(engine).read()
        upto = last_stage(desired.fleet, phase) if desired.fleet is not None else 0
        if desired.stage is not None and upto:
            await opening.open(upto, patience_s=patience_s)
        else:
            await opening.wait(patience_s=patience_s)


async def close_stages(fleet: FleetState, report: Report | None) -> list[str]:
    """Have a running fleet take no more work and stop its stages; return the pools that weren't done in time."""
    with suppress(EngineError):  # who can't be told is stopped all the same, and loses nothing
        async with Engine.of(engine_settings(fleet)) as engine:
            return await Opening(engine, by="amas down", report=report or _silent).close(patience_s=HostSettings.read().drain_s)
    return []


async def run_in_stages(request: StartRequest, phase: str, report: Report | None) -> None:
    """Run a fleet in this process as `run_fleet` does, and open its stages up to `phase` as soon as it is up."""
    up = asyncio.Event()

    def heard(event: Event) -> None:
        if report:
            report(event)
        if event.what == "up":
            up.set()

    async def then_open() -> None:
        await up.wait()
        try:
            await open_stages(fleet_state(Path(request.home)), phase, report)
        except AmasError as error:
            heard(Event(what="failed", code=error.code, message=str(error)))

    opening = asyncio.create_task(then_open(), name="stages")
    try:
        await run_fleet(request, on_event=heard)
    finally:
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening


def _silent(_: Event) -> None:
    """Tell nobody."""
