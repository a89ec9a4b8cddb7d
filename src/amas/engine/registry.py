"""Agents that run elsewhere, as the engine knows them: sessions, which are hosts, and an index to find agents by.

A session is registered, beats, leaves and is reaped by `HostRegistry` as any host is, under an id of its own. So claims,
renewals, outcomes, the fence and the reaper work for it as they are, and there is one way in which a task goes back when whoever
had it is silent. `functions/56_registry.lua` adds who the agents are; they leave the index with their session, however
that ends.
"""

import hmac
import secrets
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK, new_id
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, HostFigures, HostRegistry
from amas.engine.queue import RETENTION_S
from amas.errors import AgentsFull, AgentTaken, SessionLost
from amas.model.blob import to_blob
from amas.model.remote import SESSION_PREFIX, RemoteAgent
from amas.model.task import Claimed, TaskSpec

ENROLLED_IN_A_CALL = 500
"""Agents in one call of the engine: some milliseconds of its time."""
READ_IN_A_CALL = 1000
NOBODY, ANYBODY = "", "*"
"""Owners of sessions: one who has no name of its own, and the fleet's administrator, who may take any agent over."""

encode = msgspec.msgpack.encode
_agent = msgspec.msgpack.Decoder(RemoteAgent)
_spec = msgspec.msgpack.Decoder(TaskSpec)


class Session(NamedTuple):
    """A batch of agents under one lease."""

    id: str
    token: str
    """Who has it speaks for these agents, and for no others; the engine keeps its digest alone."""


class Terms(NamedTuple):
    """On what terms agents are registered."""

    take_over: bool = False
    """Whether agents that another live session has are taken from it, if its owner is the same or nobody."""
    owner: str = NOBODY
    """Who registers them, by a name that says who it is; or one of `NOBODY` and `ANYBODY`."""
    most: int = 0
    """How many remote agents there may be; 0 for no bound."""
    opener: str = ""
    """What their session was opened with: a key's prefix, or a shared token's digest. Empty: nothing ends it."""


UNCONDITIONAL = Terms()


class Shown(NamedTuple):
    """What a token proves of a session."""

    right: bool
    """Whether it is the session's."""
    opener: str
    """As the session's terms have it."""


class Enrolled(NamedTuple):
    """A remote agent and what the engine knows besides."""

    agent: RemoteAgent
    session_id: str
    lease_until_ms: int
    tasks: tuple[str, ...]
    """What it runs."""


class Owner(NamedTuple):
    """Who claimed a task last."""

    attempt: int
    host_id: str
    agent_id: str
    running: bool = True
    """Whether the task runs still."""


def _about(machine: str) -> HostAbout:
    """Return what a session says of itself as a host: its agents stand in the registry, so that there it has none."""
    return HostAbout(0, machine, "remote", ())


def digest_of(token: str) -> str:
    """Return what the engine keeps of a token: 256 random bits need no slow hash."""
    return sha256(token.encode()).hexdigest()


class AgentRegistry:
    """Remote agents of one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S) -> None:
        self._engine = engine
        self._hosts = HostRegistry(engine, retention_s=retention_s)

    def now_ms(self) -> int:
        """Return the engine's time, by which leases count."""
        return self._engine.now_ms()

    # -- sessions

    async def open(
        self,
        agents: Sequence[RemoteAgent],
        *,
        lease_s: float,
        machine: str = "",
        terms: Terms = UNCONDITIONAL,
        now_ms: int = SERVER_CLOCK,
    ) -> Session:
        """Register a batch of agents under a new lease of `lease_s` seconds; all or none.

        AgentTaken when another live session has one of them that can't be taken over on these terms; what is taken over is that
        one's no more, but what it runs stays its own until it ends. AgentsFull when there would be more than there may be.
        """
        session = Session(SESSION_PREFIX + new_id(), secrets.token_urlsafe(32))
        await self._hosts.register(session.id, _about(machine), lease_s=lease_s, now_ms=now_ms)
        try:
            await self.enrol(session.id, agents, token=session.token, terms=terms, now_ms=now_ms)
        except (AgentTaken, AgentsFull):
            await self.close(session.id, now_ms=now_ms)
            raise
        return session

    async def enrol(
        self,
        session_id: str,
        agents: Sequence[RemoteAgent],
        *,
        token: str = "",
        terms: Terms = UNCONDITIONAL,
        now_ms: int = SERVER_CLOCK,
    ) -> None:
        """Add agents to a session, or say anew what they are; SessionLost when its lease has run out."""
        batch = [(agent.id, "\n".join(agent.facets), to_blob(agent)) for agent in agents]
        digest = f"{digest_of(token)} {terms.opener}" if token else ""
        for first in range(0, max(len(batch), 1), ENROLLED_IN_A_CALL):
            part = encode(batch[first : first + ENROLLED_IN_A_CALL])
            answer = await self._engine.call(
                "enrol", now_ms, session_id, digest, "1" if terms.take_over else "0", part, terms.owner, terms.most
            )
            if answer and answer[0] == b"lost":
                raise SessionLost(session_id)
            if answer and answer[0] == b"full":
                raise AgentsFull(held=int(answer[1]), most=terms.most)
            if answer:
                raise AgentTaken(answer[0].decode(), session_id=answer[1].decode())

    async def withdraw(self, session_id: str, agent_ids: Sequence[str], *, now_ms: int = SERVER_CLOCK) -> int:
        """Take agents out of a session and return how many it had; what they run goes on."""
        return int(await self._engine.call("withdraw", now_ms, session_id, encode(list(agent_ids))))

    async def renew(self, session_id: str, *, lease_s: float, now_ms: int = SERVER_CLOCK) -> None:
        """Prolong a session's lease; SessionLost when it had run out and its tasks went to others."""
        if not await self._hosts.renew(session_id, HostFigures(), lease_s=lease_s, now_ms=now_ms):
            raise SessionLost(session_id)

    async def close(self, session_id: str, *, now_ms: int = SERVER_CLOCK) -> int:
        """End a session in good order; return how many tasks were given back."""
        return await self._hosts.leave(session_id, now_ms=now_ms)

    async def knows(self, session_id: str, token: str) -> Shown | None:
        """Return whether `token` is the session's, and what opened that; None when nobody knows such a session (any more)."""
        (held,) = await self._engine.read([("GET", self._engine.key("remote", f"token:{session_id}"))])
        digest, _, opener = (held or b"").decode().partition(" ")
        return Shown(hmac.compare_digest(digest, digest_of(token)), opener) if held else None

    async def agents_of(self, session_id: str) -> dict[str, RemoteAgent]:
        """Return a session's agents by id."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("remote", f"agents:{session_id}"))])
        return {name.decode(): _agent.decode(card) for name, card in found.items()}

    # -- tasks

    async def running(self, session_id: str) -> dict[str, str]:
        """Return what the engine believes a session to run: task id -> agent id."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("r", session_id))])
        return {task_id.decode(): agent_id.decode() for task_id, agent_id in found.items()}

    async def handed(self, session_id: str, task_ids: Sequence[str]) -> list[Claimed]:
        """Return those of the tasks that a session runs, as they were handed to it: for one whose answer was lost."""
        found = await self._engine.read(
            [("HMGET", self._engine.key("t", task_id), "s", "c", "b", "f", "S", "C", "G", "Y") for task_id in task_ids]
        )
        handed = []
        for task_id, (state, claim, spec, failures, steps, children, generation, again) in zip(task_ids, found, strict=True):
            owner = _owner(claim)
            if state == b"running" and owner and owner.host_id == session_id:
                handed.append(
                    Claimed(
                        task_id,
                        owner.attempt,
                        owner.agent_id,
                        int(failures or 0),
                        bool(steps or children),
                        _spec.decode(spec),
                        int(generation or 0),
                        bool(again),
                    ).in_time()
                )
        return handed

    async def time(self, session_id: str, limits: Sequence[tuple[str, int, float]], *, now_ms: int = SERVER_CLOCK) -> None:
        """Note how long attempts may take that a session was handed: (task id, attempt, seconds)."""
        batch = [(task_id, attempt, round(limit_s * 1000)) for task_id, attempt, limit_s in limits]
        await self._engine.call("time", now_ms, session_id, encode(batch))

    async def overdue(self, session_id: str, *, now_ms: int = SERVER_CLOCK) -> list[tuple[str, int]]:
        """Return which attempts of a session have taken longer than they may: (task id, attempt)."""
        told = await self._engine.call("overdue", now_ms, session_id)
        return [(told[i].decode(), int(told[i + 1])) for i in range(0, len(told), 2)]

    async def owner(self, task_id: str) -> Owner | None:
        """Return who claimed a task last; None when nobody did, or the engine doesn't know it."""
        ((claim, state),) = await self._engine.read([("HMGET", self._engine.key("t", task_id), "c", "s")])
        owner = _owner(claim)
        return owner and owner._replace(running=state == b"running")

    # -- finding

    async def find(self, facets: Iterable[str] = (), *, limit: int | None = None, after: str = "") -> list[Enrolled]:
        """Return the agents that have all the facets and come after `after`, by id, `limit` at most.

        Costs by the smallest facet, not by all agents. Fewer than `limit` are all that there are.
        """
        names = [agent_id for agent_id in await self.names(facets) if agent_id > after]
        found = await self.look(names[:limit])
        while limit is not None and len(found) < limit < len(names):  # some have left meanwhile
            names = names[limit:]
            found += (await self.look(names[:limit]))[: limit - len(found)]
        return found

    async def names(self, facets: Iterable[str] = ()) -> list[str]:
        """Return the ids of the agents that have all the facets, in order."""
        key, wanted = self._engine.key, list(facets)
        if wanted:
            (found,) = await self._engine.read([("SINTER", *(key("remote", f"by:{facet}") for facet in wanted))])
        else:
            (found,) = await self._engine.read([("HKEYS", key("remote", "of"))])
        return sorted(name.decode() for name in found)

    async def look(self, agent_ids: Sequence[str]) -> list[Enrolled]:
        """Return those of the agents that are registered, in order."""
        shown: list[Enrolled] = []
        for first in range(0, len(agent_ids), READ_IN_A_CALL):
            shown += await self._look(agent_ids[first : first + READ_IN_A_CALL])
        return shown

    async def _look(self, agent_ids: Sequence[str]) -> list[Enrolled]:
        key = self._engine.key
        (named,) = await self._engine.read([("HMGET", key("remote", "of"), *agent_ids)])
        of = {agent_id: name.decode() for agent_id, name in zip(agent_ids, named, strict=True) if name}
        sessions = list(dict.fromkeys(of.values()))
        told: list[Any] = await self._engine.read(
            [("HGET", key("remote", f"agents:{session}"), agent_id) for agent_id, session in of.items()]
            + [("ZSCORE", key("hosts"), session) for session in sessions]
            + [("HGETALL", key("r", session)) for session in sessions]
        )
        cards = dict(zip(of, told, strict=False))
        leases = dict(zip(sessions, told[len(of) :], strict=False))
        busy: dict[str, dict[str, list[str]]] = {session: {} for session in sessions}
        for session, running in zip(sessions, told[len(of) + len(sessions) :], strict=True):
            for task_id, agent_id in running.items():
                busy[session].setdefault(agent_id.decode(), []).append(task_id.decode())
        return [
            Enrolled(
                _agent.decode(cards[agent_id]), session, int(float(leases[session] or 0)), tuple(busy[session].get(agent_id, ()))
            )
            for agent_id, session in of.items()
            if cards[agent_id]
        ]

    async def capable(self, capabilities: Iterable[str]) -> set[str]:
        """Return those of the capabilities that some registered agent has."""
        wanted = list(capabilities)
        sizes = await self._engine.read([("EXISTS", self._engine.key("remote", f"by:capability:{name}")) for name in wanted])
        return {name for name, there in zip(wanted, sizes, strict=True) if there}


def _owner(claim: bytes | None) -> Owner | None:
    if not claim:
        return None
    attempt, host_id, agent_id, _ = claim.decode().split("\n")
    return Owner(int(attempt), host_id, agent_id)
