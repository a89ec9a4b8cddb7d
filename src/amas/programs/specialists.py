"""Specialists on demand: further agents of a declared pool, and help from whoever can give it.

Further agents run in this program, on a host of their own that joins the running fleet like any other: they claim from the same
queues, go by its policies, tools, quarantines and kills, and when the program ends or dies their tasks go to others. They come
as fast as the fleet may grow (`max_agent_spawn_rate`). Help is a task with a time limit for those who have the capability;
without an answer it goes up as a question to their lead, that one's lead, and at last to a person (`amas approvals`).
"""

import asyncio
import random
import sys
from collections.abc import Iterable
from typing import NamedTuple

from amas.agents.host import Host
from amas.agents.seating import Seating
from amas.client import Fleet, TaskHandle
from amas.clock import monotonic_s, new_id
from amas.core.authority import Hierarchy
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostRegistry
from amas.errors import AgentUnknown, CapabilityUnknown, FleetError, TaskFailed
from amas.messages.fleet_bus import FollowingBus
from amas.model.desired import Seats
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.flow import ESCALATION_CAPABILITY
from amas.model.numbers import expand, ranges
from amas.model.states import TaskState
from amas.model.task import Json
from amas.orchestration.workflow import Workflow
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import Home
from amas.platforms.local.host import fleet_facts, host_home
from amas.platforms.local.secret import message_settings
from amas.sealing import read_seal
from amas.settings import HostSettings

PERSON = "a person"
STEP_S = 0.5
"""Between agents that may not all come at once; as the placer's."""


class Help(NamedTuple):
    """What came of a request for help."""

    answer: Json
    by: str
    """The agent or pool that answered, or the person's name."""
    asked: tuple[str, ...]
    """Who was asked before without an answer, in order: the capability, then pools."""


class Pace:
    """How fast this program's agents may come: a second's worth at once, and then as many a second as the fleet allows.

    Kept over calls, so that a hundred calls for one agent come no faster than one call for a hundred.
    """

    def __init__(self) -> None:
        self._left: float | None = None
        self._at_s = 0.0

    def take(self, wanted: int, *, rate: float, now_s: float) -> int:
        """Return how many of the agents that are wanted may come now; they count as come."""
        most = max(rate, 1.0)
        self._left = most if self._left is None else min(self._left + rate * (now_s - self._at_s), most)
        self._at_s = now_s
        come = min(wanted, int(self._left))
        self._left -= come
        return come


class AddedAgents:
    """Agents of one pool that joined the fleet, on a host in this program."""

    def __init__(self, fleet: Fleet, home: Home, pool: PoolSpec) -> None:
        self._fleet, self._home, self._pool = fleet, home, pool
        self.numbers: list[int] = []
        """Those who work."""
        self._host: Host | None = None
        self._running: list[asyncio.Task[None]] = []
        """The host, and what has it go by what is wanted of the fleet."""

    @property
    def ids(self) -> list[str]:
        """Those who work."""
        return [f"{self._pool.name}-{number}" for number in self.numbers]

    async def join(self, spec: FleetSpec, numbers: list[int]) -> None:
        """Have these agents work besides those who do; FleetError when they can't be made or their host has ended."""
        self.numbers += numbers
        if self._host is None:
            self._host = host = self._made(spec)
            self._running = [asyncio.create_task(host.run(), name=host.host_id)]
            working = asyncio.create_task(host.working.wait(), name="until it works")
            await asyncio.wait((*self._running, working), return_when=asyncio.FIRST_COMPLETED)
            working.cancel()
            if not self._running[0].done():
                self._running.append(asyncio.create_task(self._seating.run(), name="seating"))
        await self._seating.again()
        if self._running[0].done():
            self.numbers.clear()
            self._running[0].result()
            raise FleetError("the host of the new agents has ended; its log is in the home's logs folder")

    async def leave(self) -> None:
        """Have them finish what they do, and leave."""
        if self._host is None:
            return
        self._host.drain()
        await asyncio.wait(self._running[:1])
        for following in self._running[1:]:
            following.cancel()
            await asyncio.wait((following,))

    def _made(self, spec: FleetSpec) -> Host:
        """Return the host with the first agents; FleetError where their code can't be imported."""
        home, state, payloads = self._home, fleet_state(self._home.folder), read_seal()
        messages = message_settings(home)
        bus = FollowingBus(FleetSpec(name=state.cell, pools=()), messages, payloads)

        def prepare(wanted: FleetSpec) -> FleetSpec:
            if wanted.folder and wanted.folder not in sys.path:
                sys.path.append(wanted.folder)  # agents' modules may stand beside its file
            bus.follow(wanted)
            return fleet_facts(wanted, home)

        facts = prepare(spec)
        host_id = f"guest-{new_id()}"
        host = Host(
            host_id,
            facts.pools,
            engine=engine_settings(state),
            settings=HostSettings.read(),
            home=host_home(home, host_id, artifacts_url=state.artifacts_url, payloads=payloads)._replace(secret=messages.secret),
            rng=random.Random(),  # noqa: S311  jitter, no secret
            numbers={self._pool.name: self.numbers},
            bus=bus if messages.secret else None,
            tools=facts.tools,
        )
        self._seating = Seating(
            self._fleet.engine,
            host,
            prepare=prepare,
            draw=random.random,
            seats=lambda _: (Seats(self._pool.name, tuple(ranges(self.numbers))),),
        )
        return host


async def add_agents(fleet: Fleet, spec: FleetSpec, home: Home, name: str, count: int, *, pace: Pace) -> AddedAgents:
    """Add `count` agents to the pool called `name`, or to the first that has it as a capability; return once all of them work.

    AgentUnknown names the pools when there is none; FleetError when a limit of the fleet leaves no room, or when not all of them
    could be made: then none stays.
    """
    pool = _pool(spec, name)
    numbers = await _free_numbers(fleet, spec, pool, count)
    rate = spec.limits.max_agent_spawn_rate
    added = AddedAgents(fleet, home, pool)
    try:
        while numbers:
            if come := pace.take(len(numbers), rate=rate, now_s=monotonic_s()):
                now, numbers = numbers[:come], numbers[come:]
                await added.join(spec, now)
            if numbers:
                await asyncio.sleep(max(STEP_S, 1 / rate))
    except BaseException:
        await added.leave()
        raise
    return added


def _pool(spec: FleetSpec, name: str) -> PoolSpec:
    found = next((pool for pool in spec.pools if name == pool.name or name in pool.capabilities), None)
    if found is None:
        raise AgentUnknown(f"no pool is called {name!r} or can do it; there are {', '.join(pool.name for pool in spec.pools)}")
    return found


async def _free_numbers(fleet: Fleet, spec: FleetSpec, pool: PoolSpec, count: int) -> list[int]:
    cards = [card for host in await HostRegistry(fleet.engine).all() for card in host.about.pools]
    seen = {number for card in cards if card.pool == pool.name for number in expand(card.numbers)}
    desired = await DesiredState(fleet.engine).read()
    wanted = next((each for each in desired.pools if each.name == pool.name), pool)
    taken = seen.union(expand(wanted.numbers))  # hosts may be about to have those that none has yet
    total = sum(card.count for card in cards)
    most = max(spec.limits.max_agents_per_pool, pool.replicas)
    if count < 1 or len(taken) + count > most:
        raise FleetError(
            f"the pool {pool.name!r} has {len(taken)} agents, its limit (max_agents_per_pool) is {most}: {count} don't fit"
        )
    if total + count > spec.limits.max_total_agents:
        raise FleetError(f"the fleet has {total} agents; its limit (max_total_agents) is {spec.limits.max_total_agents}")
    first = max((*taken, *expand(wanted.gone)), default=0) + 1
    return list(range(first, first + count))


async def help_with(fleet: Fleet, spec: FleetSpec, capability: str, request: Json, timeout_s: float) -> Help:
    """Return the answer of a specialist, else of those above it, each within `timeout_s` seconds; TaskFailed without any."""
    able = [pool.member for pool in spec.pools if capability in pool.capabilities]
    if not able:
        raise CapabilityUnknown(f"nobody in this fleet can do {capability!r}")
    task = await fleet.submit(capability, request, deadline_s=timeout_s)
    answer, why = await _answer(task)
    if not why:
        view = await fleet.queue.task(task.id)
        return Help(answer, view.agent_id if view else able[0].pool, ())
    asked = [capability]
    told = f"{capability} gave no help: {why}"
    question: dict[str, Json] = {"question": told, "about": request, "from": able[0].pool, "task_id": task.id}
    for lead in _leads(spec, (member.pool for member in able)):
        up = await fleet.submit(ESCALATION_CAPABILITY, question, pool=lead, deadline_s=timeout_s)
        answer, no = await _answer(up)
        if not no and answer is not None:
            return Help(answer, lead, tuple(asked))
        asked.append(lead)
    flow = Workflow("help", output="person")
    flow.approval("person", told, expires_s=timeout_s)
    started = await fleet.start(flow)
    try:
        said = await started.result()
    except TaskFailed as error:
        raise TaskFailed(task.id, "unanswered", f"nobody helped with {capability!r}: {why}; asked: {', '.join(asked)}") from error
    return Help(said, str(said.get("by") or PERSON) if isinstance(said, dict) else PERSON, tuple(asked))


def _leads(spec: FleetSpec, pools: Iterable[str]) -> list[str]:
    """Return those above any of the pools, nearest first, each once."""
    hierarchy = Hierarchy.of(spec.members)
    return list(dict.fromkeys(lead.pool for pool in pools for lead in hierarchy.leads(hierarchy.members[pool])))


async def _answer(task: TaskHandle) -> tuple[Json, str]:
    """Return a task's result, and why it has none."""
    outcome = await task.outcome()
    if outcome.state is TaskState.SUCCEEDED:
        return outcome.result, ""
    return None, outcome.failure.message if outcome.failure else f"it was {outcome.state}"
