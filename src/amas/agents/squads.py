"""A squad: the agents of one pool on a host as long as the pool stays what it is.

An agent is an id and a free slot until it has something to do: then its object is made, and kept. Only those that have to be
there before their first task, to be asked how they are or to take mail, are made at once. Used by the host alone.
"""

import asyncio
from collections.abc import Iterable

import msgspec

from amas.agents.attempt import Seat
from amas.agents.base import AgentDefinition, BaseAgent, FunctionAgent, load_agent, make_agent, takes_mail
from amas.agents.child_memory import ChildMemory
from amas.agents.context import Context
from amas.agents.failures import AttemptFailed, failed
from amas.agents.health import has_check
from amas.agents.isolation import ProcessAgent
from amas.agents.nursery import Nursery
from amas.agents.slots import FreeSlots, PoolSlots
from amas.engine.hosts import PoolCard
from amas.errors import SecretUnreadable
from amas.model.fleet import PoolSpec
from amas.model.numbers import Numbers
from amas.model.task import Json
from amas.observe import events
from amas.observe.logging import Log
from amas.secrets import reveal, secrets_in, with_secrets


class Squad:
    """The agents of a pool, made from one definition."""

    __slots__ = ("_definition", "_given", "_nursery", "early", "memory", "numbers", "pool", "slots")

    def __init__(self, pool: PoolSpec, slots: FreeSlots, nursery: Nursery) -> None:
        """Import what the agents are made of; FleetError says why that can't be. `nursery`: where isolated ones' attempts run."""
        self.pool, self._nursery = pool, nursery
        named = next(secrets_in(pool.options), None)
        self._given = msgspec.structs.replace(pool, options=with_secrets(pool.options)) if named else pool
        """What its agents get: with secrets that can be revealed."""
        self._definition = found = None if pool.isolation == "process" else load_agent(pool.agent)
        kind = FunctionAgent if isinstance(found, AgentDefinition) else found
        self.early = found is not None and (takes_mail(found) or (kind is not None and has_check(kind)))
        """Whether its agents are made before they have a task."""
        blocking = isinstance(found, AgentDefinition) and found.blocking is not None
        vertical = pool.isolation == "process" and pool.scaling and pool.scaling.vertical
        self.memory = ChildMemory() if vertical else None
        """What its children take, where their limit follows that."""
        self.numbers: Numbers = ()
        self.slots: PoolSlots = slots.add_pool(pool.queues, (), each=pool.tasks_per_agent, blocking=blocking)

    def makes(self, pool: PoolSpec) -> bool:
        """Return whether agents of `pool` are as those of this squad; how many and which ones there are doesn't matter."""
        return msgspec.structs.replace(pool, replicas=self.pool.replicas, gone=self.pool.gone) == self.pool

    def ids(self, numbers: Numbers) -> list[str]:
        """Return the ids of agents of this pool."""
        name = self.pool.name
        return [f"{name}-{number}" for first, last in numbers for number in range(first, last + 1)]

    def seat(self, agent_id: str) -> Seat:
        """Return a new agent; one whose own code can't make it fails its task and is made again for the next."""
        if self._definition is None:
            return Seat(ProcessAgent(agent_id, self._given, self._nursery, self.memory), self._given)
        return Seat(make_agent(self._definition, agent_id, self._given), self._given)

    @property
    def card(self) -> PoolCard:
        """What the host says of these agents."""
        pool = self.pool
        return PoolCard(
            pool=pool.name,
            layer=pool.layer,
            lead=pool.lead,
            title=pool.title,
            version=pool.version,
            slots=pool.tasks_per_agent,
            numbers=self.numbers,
            capabilities=pool.capabilities,
            labels=pool.labels,
            skill=pool.skill,
        )


async def read_secrets(pools: Iterable[PoolSpec], log: Log) -> None:
    """Read what pools' options refer to, in threads, so that `reveal` doesn't hold up the loop; tell what can't be read."""
    named = {reference for pool in pools for reference in secrets_in(pool.options)}
    for found in await asyncio.gather(*(asyncio.to_thread(reveal, each) for each in named), return_exceptions=True):
        if isinstance(found, SecretUnreadable):  # whoever reveals it hears the same
            log.warning("a secret can't be read", event=events.REFERENCE_UNREADABLE, reference=found.reference, why=str(found))
        elif isinstance(found, BaseException):
            raise found


class Unmade(BaseAgent):
    """Stands for an agent whose own constructor failed, so that its task fails with the reason and the host goes on."""

    __slots__ = ("_why",)

    def __init__(self, agent_id: str, pool: PoolSpec, error: Exception) -> None:
        super().__init__(agent_id, pool)
        self._why = f"the agent can't be made: {type(error).__name__}: {error}"

    async def process_task(self, task: Context) -> Json:
        """Fail."""
        raise AttemptFailed(failed("agent_unmade", self._why))
