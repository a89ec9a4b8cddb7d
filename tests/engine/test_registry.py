"""Remote agents in the engine: sessions are hosts, agents are found by facets, and leave with their session."""

from typing import Any

import pytest
from tests.engine.cell import LEASE_S, Cell, done, task

from amas.engine.queue import Slots
from amas.engine.registry import ANYBODY, NOBODY, AgentRegistry, Session, Terms
from amas.errors import AgentsFull, AgentTaken, SessionLost
from amas.model.remote import RemoteAgent, agent_id_of
from amas.model.states import Layer

pytestmark = pytest.mark.requirement("T1")


def agent(name: str, *capabilities: str, **more: object) -> RemoteAgent:
    return RemoteAgent(id=agent_id_of(name), capabilities=capabilities or ("vision.ocr",), **more)


class Remote:
    """A registry on the test's clock."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.registry = cell, AgentRegistry(cell.engine)

    async def open(self, *agents: RemoteAgent, **terms: Any) -> Session:
        return await self.registry.open(agents, lease_s=LEASE_S, terms=Terms(**terms), now_ms=self.cell.now)

    async def found(self, *facets: str) -> list[str]:
        return [one.agent.id for one in await self.registry.find(facets)]


@pytest.fixture
def remote(cell: Cell) -> Remote:
    return Remote(cell)


async def test_agents_are_found_by_what_they_can_their_layer_and_their_labels(remote: Remote) -> None:
    first = await remote.open(
        agent("a", "vision.ocr", "text.sum", labels={"gpu": "a100", "zone": "eu"}),
        agent("b", "vision.ocr", layer=Layer.SPECIALIST),
    )
    await remote.open(agent("c", "text.sum", labels={"zone": "eu"}))
    assert await remote.found("capability:vision.ocr") == ["remote.a", "remote.b"]
    assert await remote.found("capability:vision.ocr", "label:zone=eu") == ["remote.a"]
    assert await remote.found("layer:specialist") == ["remote.b"]
    assert await remote.found("label:zone=us") == []
    assert await remote.found() == ["remote.a", "remote.b", "remote.c"]
    assert await remote.registry.capable(["text.sum", "text.other"]) == {"text.sum"}
    (shown,) = await remote.registry.look(["remote.a", "remote.unknown"])
    assert (shown.session_id, shown.agent.labels) == (first.id, {"gpu": "a100", "zone": "eu"})


async def test_a_session_leaves_nothing_behind_however_it_ends(remote: Remote, cell: Cell) -> None:
    left = await remote.open(agent("a"), agent("b"))
    assert await remote.registry.close(left.id, now_ms=cell.now) == 0
    silent = await remote.open(agent("c"))
    lost = await cell.reap()
    assert lost is not None and lost.id == silent.id
    kept = {name for name in await cell.keys() if name.startswith("remote:")}
    assert kept == {f"remote:token:{left.id}", f"remote:token:{silent.id}"}  # for an hour, so that who comes late hears why
    assert await cell.engine.client.pttl(cell.engine.key("remote", f"token:{left.id}")) > 0
    with pytest.raises(SessionLost):
        await remote.registry.renew(silent.id, lease_s=LEASE_S, now_ms=cell.now)
    with pytest.raises(SessionLost):
        await remote.registry.enrol(silent.id, [agent("c")], now_ms=cell.now)


async def test_a_session_claims_and_completes_as_a_host_and_is_none_that_gets_seats(remote: Remote, cell: Cell) -> None:
    await cell.submit(task("t1"), task("t2"))
    session = await remote.open(agent("a", "test.work"))
    slots = [Slots(("work",), ["remote.a"])]
    (got,) = await cell.queue.claim(session.id, slots, now_ms=cell.now) or []
    assert await remote.registry.running(session.id) == {"t1": "remote.a"}
    assert await remote.registry.handed(session.id, ["t1", "t2"]) == [got]
    assert await remote.registry.owner("t1") == (1, session.id, "remote.a", True)
    (shown,) = await remote.registry.find(["capability:test.work"])
    assert shown.tasks == ("t1",)
    assert await cell.hosts.all() == []
    assert await cell.queue.complete(session.id, [done(got)], now_ms=cell.now) == {}
    await cell.queue.claim(session.id, slots, now_ms=cell.now)
    assert await remote.registry.close(session.id, now_ms=cell.now) == 1
    assert await cell.states("t1", "t2") == {"t1": "succeeded", "t2": "queued"}


async def test_an_agent_has_one_live_session(remote: Remote, cell: Cell) -> None:
    first = await remote.open(agent("a"), agent("b"))
    with pytest.raises(AgentTaken) as refused:
        await remote.open(agent("new"), agent("a"))
    assert (refused.value.agent_id, refused.value.session_id) == ("remote.a", first.id)
    assert await remote.found() == ["remote.a", "remote.b"]  # all or none
    second = await remote.open(agent("a", "text.sum"), take_over=True)
    assert await remote.found("capability:vision.ocr") == ["remote.b"]
    assert await remote.registry.close(first.id, now_ms=cell.now) == 0
    assert await remote.found() == ["remote.a"]  # the first's end doesn't take what is another's now
    cell.now += round(LEASE_S * 1000) + 1
    third = await remote.open(agent("a"))  # nobody swept yet, but the lease is over
    (shown,) = await remote.registry.find()
    assert shown.session_id == third.id != second.id


async def test_nobody_takes_over_what_another_opened_by_name(remote: Remote, cell: Cell) -> None:
    await remote.open(agent("a"), agent("b"), owner="ada")
    for owner in ("bob", NOBODY):
        with pytest.raises(AgentTaken):
            await remote.open(agent("a"), take_over=True, owner=owner)
    again = await remote.open(agent("a"), take_over=True, owner="ada")
    await remote.open(agent("b"), take_over=True, owner=ANYBODY)
    await remote.open(agent("b"), take_over=True, owner="bob")  # an administrator's session isn't guarded by a name
    await remote.registry.close(again.id, now_ms=cell.now)
    await remote.open(agent("a"), owner="bob")  # who has gone guards nothing


async def test_there_are_no_more_agents_than_there_may_be(remote: Remote) -> None:
    first = await remote.open(agent("a"), agent("b"), most=3)
    with pytest.raises(AgentsFull, match="2 remote agents are registered and there may be 3"):
        await remote.open(agent("c"), agent("d"), most=3)
    assert await remote.found() == ["remote.a", "remote.b"]
    await remote.registry.enrol(first.id, [agent("a", "text.sum"), agent("c")], terms=Terms(most=3))
    assert await remote.found() == ["remote.a", "remote.b", "remote.c"]


async def test_a_token_opens_its_session_alone(remote: Remote) -> None:
    one, two = await remote.open(agent("a")), await remote.open(agent("b"))
    registry = remote.registry
    assert await registry.knows(one.id, one.token) == (True, "")
    assert await registry.knows(one.id, two.token) == (False, "")
    assert await registry.knows("remote-none", one.token) is None


async def test_agents_come_and_go_within_a_session(remote: Remote, cell: Cell) -> None:
    session = await remote.open(*(agent(f"a{n}", "test.many") for n in range(1200)))
    assert len(await remote.registry.find(["capability:test.many"], limit=5000)) == 1200
    assert len(await remote.registry.find(["capability:test.many"], limit=10)) == 10
    await remote.registry.enrol(session.id, [agent("a0", "test.other")], now_ms=cell.now)
    assert await remote.found("capability:test.other") == ["remote.a0"]
    assert await remote.registry.withdraw(session.id, ["remote.a0", "remote.stranger"], now_ms=cell.now) == 1
    assert await remote.found("capability:test.other") == []
    assert len(await remote.registry.agents_of(session.id)) == 1199


@pytest.mark.parametrize("name", ["", "Upper", "a b", "a/b", "a\nb", "x" * 121, "-a"])
def test_a_name_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="can't name an agent"):
        agent_id_of(name)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (RemoteAgent(id="remote.a", capabilities=()), "1 to 100 capabilities"),
        (RemoteAgent(id="remote.a", capabilities=("one",)), "joined by dots"),
        (RemoteAgent(id="coder-1", capabilities=("a.b",)), "begins with remote."),
        (RemoteAgent(id="remote.a", capabilities=("a.b",), labels={"a": "x\ny"}), "can't be taken"),
        (RemoteAgent(id="remote.a", capabilities=("a.b",), slots=0), "slots"),
    ],
)
def test_what_an_agent_says_is_checked(bad: RemoteAgent, why: str) -> None:
    assert why in bad.mistake()
