"""Specialists on demand: further agents of a declared pool, and help from whoever can give it.

Further agents run in this program, on a host of their own that joins the running fleet like any other: they claim from the same
queues, and when the program ends or dies their tasks go to others. Help is a task with a time limit for those who have the
capability; without an answer it goes up as a question to their lead, that one's lead, and at last to a person (`amas approvals`).
"""

import asyncio
import random
import sys
from collections.abc import Iterable
from typing import NamedTuple

from amas.agents.host import Host
from amas.client import Fleet, TaskHandle
from amas.clock import new_id
from amas.core.authority import Hierarchy
from amas.engine.desired import DesiredState
from amas.engine.hosts import HostRegistry
from amas.errors import AgentUnknown, CapabilityUnknown, FleetError, TaskFailed
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.flow import ESCALATION_CAPABILITY
from amas.model.numbers import expand
from amas.model.states import TaskState
from amas.model.task import Json
from amas.orchestration.workflow import Workflow
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import Home
from amas.platforms.local.host import fleet_facts, host_home
from amas.sealing import read_seal
from amas.settings import HostSettings

PERSON = "a person"


class Help(NamedTuple):
    """What came of a request for help."""

    answer: Json
    by: str
    """The agent or pool that answered, or the person's name."""
    asked: tuple[str, ...]
    """Who was asked before without an answer, in order: the capability, then pools."""


class AddedAgents(NamedTuple):
    """Agents that joined the fleet."""

    ids: tuple[str, ...]
    host: Host
    running: "asyncio.Task[None]"

    async def leave(self) -> None:
        """Have them finish what they do, and leave."""
        self.host.drain()
        await asyncio.wait((self.running,))


async def add_agents(fleet: Fleet, spec: FleetSpec, home: Home, name: str, count: int) -> AddedAgents:
    """Add `count` agents to the pool called `name`, or to the first that has it as a capability.

    AgentUnknown names the pools when there is none; FleetError when a limit of the fleet leaves no room.
    """
    pool = _pool(spec, name)
    numbers = await _free_numbers(fleet, spec, pool, count)
    state = fleet_state(home.folder)
    if spec.folder and spec.folder not in sys.path:
        sys.path.append(spec.folder)  # agents' modules may stand beside its file
    facts = fleet_facts(spec, home)
    host_id = f"guest-{new_id()}"
    host = Host(
        host_id,
        facts.pools,
        engine=engine_settings(state),
        settings=HostSettings.read(),
        home=host_home(home, host_id, artifacts_url=state.artifacts_url, payloads=read_seal()),
        rng=random.Random(),  # noqa: S311  jitter, no secret
        numbers={pool.name: numbers},
    )
    running = asyncio.create_task(host.run(), name=host_id)
    working = asyncio.create_task(host.working.wait(), name="until it works")
    await asyncio.wait((running, working), return_when=asyncio.FIRST_COMPLETED)
    working.cancel()
    if running.done():
        await running
        raise FleetError("the host of the new agents ended before it worked; its log is in the home's logs folder")
    return AddedAgents(tuple(f"{pool.name}-{number}" for number in numbers), host, running)


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
