"""`RedisAgentRegistry`: programs register agents of their own with the running fleet, and find everybody's.

    async with get_agent_registry() as registry:
        await registry.register("ocr-1", ["vision.ocr"], labels={"gpu": "a100"})
        for agent in await registry.discover(capability="vision.ocr"):
            print(agent.id, agent.status)

What one object registers is a session: one lease for all of it, which is renewed while the object is open. A program that ends
without a word is missed when the lease has run out; its agents are gone then.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec

from amas.client import Fleet
from amas.engine.hosts import HostRegistry
from amas.engine.registry import AgentRegistry, Session
from amas.errors import AgentTaken, EngineError, SessionLost, SubmissionError
from amas.model.fleet import FleetSpec
from amas.model.labels import Selector
from amas.model.remote import RegisteredAgent, RemoteAgent, agent_id_of
from amas.model.states import AgentStatus, Layer
from amas.orchestration.discovery import Discovery
from amas.programs.link import Link
from amas.settings import RemoteSettings

AGENTS_MAX = 2000
"""In one session: they leave together, in one call of the engine, which serves nobody else meanwhile."""


class RedisAgentRegistry:
    """The agents of the running fleet, and a session for this program's own."""

    def __init__(self, link: Link | None = None, *, lease_s: float | None = None) -> None:
        """`link`: by default the fleet in AMAS_HOME. `lease_s`: what a silent program's agents are kept, AMAS_REMOTE_LEASE_S."""
        self._link = link or Link()
        self._lease_s = lease_s or RemoteSettings.read().lease_s
        self._agents: dict[str, RemoteAgent] = {}
        self._session: Session | None = None
        self._beating: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        self._beating = asyncio.create_task(self._beat(), name="registry")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.wait((self._beating,))
        await self.close()

    async def register(  # noqa: PLR0913  one for each word of the registration
        self,
        agent_id: str,
        capabilities: Iterable[str],
        *,
        version: str = "1",
        labels: Mapping[str, str] | None = None,
        layer: Layer | str = Layer.EXECUTION,
        title: str = "",
        slots: int = 1,
    ) -> str:
        """Register one agent and return its id, which begins with `remote.`; AgentTaken when another live session has it."""
        agent = RemoteAgent(
            id=_agent_id(agent_id),
            capabilities=tuple(capabilities),
            version=version,
            labels=dict(labels or {}),
            layer=Layer(layer),
            title=title,
            slots=slots,
        )
        return (await self.register_batch([agent]))[0]

    async def register_batch(self, agents: Sequence[RemoteAgent]) -> list[str]:
        """Register agents together and return their ids: hundreds cost little more than one.

        What is registered already is said anew. SubmissionError names what is wrong with one, and nothing is registered then.
        At most `AGENTS_MAX` in one object.
        """
        named = [msgspec.structs.replace(agent, id=_agent_id(agent.id)) for agent in agents]
        if mistake := next(filter(None, (agent.mistake() for agent in named)), ""):
            raise SubmissionError(mistake)
        if len(self._agents.keys() | {agent.id for agent in named}) > AGENTS_MAX:
            raise SubmissionError(f"one registry has at most {AGENTS_MAX} agents: open another for more")
        async with self._turn:
            try:
                await self._enrol(named)
            except SessionLost:
                self._session = None
                await self._enrol([*self._agents.values(), *named])
            self._agents |= {agent.id: agent for agent in named}
        return [agent.id for agent in named]

    async def deregister(self, *agent_ids: str) -> int:
        """Take agents that were registered here out again, by id or name; return how many there were."""
        ids = [_agent_id(name) for name in agent_ids]
        async with self._turn:
            for agent_id in ids:
                self._agents.pop(agent_id, None)
            session = self._session
            if session is None:
                return 0
            return await self._link.ask(lambda fleet, _: AgentRegistry(fleet.engine).withdraw(session.id, ids))

    async def heartbeat(self) -> None:
        """Renew the lease now; agents whose lease had run out are registered anew. An open context does so by itself."""
        async with self._turn:
            session = self._session
            try:
                if session is not None:
                    await self._link.ask(lambda fleet, _: AgentRegistry(fleet.engine).renew(session.id, lease_s=self._lease_s))
                    return
            except SessionLost:
                self._session = None
            if self._agents:
                await self._enrol(list(self._agents.values()))

    async def discover(
        self,
        *,
        capability: str = "",
        layer: Layer | str = "",
        labels: Mapping[str, str] | Sequence[str] | None = None,
        status: AgentStatus | None = None,
        limit: int = 1000,
    ) -> list[RegisteredAgent]:
        """Return remote agents, by id, and those of the fleet's hosts, by pool and number, to which all that is said applies.

        `labels`: values by name, or what kubectl would take, such as `["gpu", "family!=physics"]`; SubmissionError says which of
        these can't be read. A fleet's own have their pool's labels, and the labels `pool` and `host` besides.
        """
        chosen = _selector(labels or ())

        async def look(fleet: Fleet, _: FleetSpec) -> list[RegisteredAgent]:
            return await _discovery(fleet).discover(capability=capability, layer=layer, labels=chosen, status=status, limit=limit)

        return await self._link.ask(look)

    async def get(self, agent_id: str) -> RegisteredAgent | None:
        """Return one agent by its id; None when nobody alive has it."""
        return await self._link.ask(lambda fleet, _: _discovery(fleet).get(agent_id))

    async def close(self) -> None:
        """Take out all that was registered here."""
        async with self._turn:
            session, self._session = self._session, None
            self._agents.clear()
            if session is not None:
                await self._link.ask(lambda fleet, _: AgentRegistry(fleet.engine).close(session.id))

    async def _enrol(self, agents: Sequence[RemoteAgent]) -> None:
        session = self._session

        async def enrol(fleet: Fleet, _: FleetSpec) -> Session:
            registry = AgentRegistry(fleet.engine)
            if session is None:
                return await registry.open(agents, lease_s=self._lease_s)
            await registry.enrol(session.id, agents)
            return session

        self._session = await self._link.ask(enrol)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._lease_s / 3)
            try:
                await self.heartbeat()
            except (EngineError, AgentTaken):  # the next beat registers anew, once the engine is back or the name is free
                continue


def _discovery(fleet: Fleet) -> Discovery:
    return Discovery(HostRegistry(fleet.engine), AgentRegistry(fleet.engine))


def _selector(labels: Mapping[str, str] | Sequence[str]) -> Selector:
    if isinstance(labels, Mapping):
        return Selector.of(labels)
    try:
        return Selector.parse(labels)
    except ValueError as error:
        raise SubmissionError(str(error)) from error


def _agent_id(name: str) -> str:
    try:
        return agent_id_of(name)
    except ValueError as error:
        raise SubmissionError(str(error)) from error
