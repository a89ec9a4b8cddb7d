"""Agents that write to each other: from tasks, handlers, threads and isolated processes, on two hosts."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import mail_agents
import pytest
from host_bench import Bench

from amas.engine.connection import Engine
from amas.fleet.check import agent_problems
from amas.messages.bus import AgentCommunicationBus
from amas.messages.fleet_bus import fleet_bus
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.message import MessageType
from amas.model.states import Layer, TaskState
from amas.settings import MessageSettings

pytestmark = [pytest.mark.requirement("A3")]
SETTINGS = MessageSettings(secret="a-secret-of-the-fleet", claim_s=0.3, retries=2)


def pool(name: str, agent: str, **more: Any) -> PoolSpec:
    return PoolSpec(
        **{"name": name, "agent": f"mail_agents:{agent}", "capabilities": (f"mail.{agent}",), "lead": "chief", **more}
    )


POOLS = (
    pool("chief", "read", layer=Layer.EXECUTIVE, lead=""),
    pool("asker", "ask"),
    pool("teller", "tell"),
    pool("upgrader", "upgraded"),
    pool("threaded", "tell_sync"),
    pool("boxed", "isolated", isolation="process"),
    pool("helper", "Helper"),
    pool("noter", "noter"),
    pool("stranger-lead", "read", capabilities=("mail.strange",), layer=Layer.MANAGEMENT),
    pool("stranger", "read", capabilities=("mail.stranger",), lead="stranger-lead"),
)
SPEC = FleetSpec(name="talk", pools=POOLS)


@pytest.fixture
def bus(engine: Engine) -> AgentCommunicationBus:
    """What somebody beside the hosts writes and looks with."""
    return fleet_bus(engine, SPEC, SETTINGS)


@asynccontextmanager
async def two_hosts(bench: Bench, first: Sequence[str]) -> AsyncIterator[tuple[Any, Any]]:
    """Run the fleet on two hosts, the pools `first` on one and all others on the other."""
    bench.bus = lambda engine, agents: fleet_bus(engine, SPEC, SETTINGS, agents=agents)
    mine, theirs = ({each.name: [1] for each in POOLS if (each.name in first) is here} for here in (True, False))
    async with bench.host(POOLS, "h1", numbers=mine) as one, bench.host(POOLS, "h2", numbers=theirs) as two:
        yield one, two


async def result(bench: Bench, capability: str, value: Any) -> Any:
    view = await bench.ended(await bench.submit(capability, value))
    assert view.state is TaskState.SUCCEEDED, view.failure
    return view.result


async def test_an_agent_asks_one_on_another_host_and_gets_its_answer(bench: Bench, bus: AgentCommunicationBus) -> None:
    async with two_hosts(bench, ["asker"]) as (one, two):
        said = await result(bench, "mail.ask", {"of": "helper-1", "question": 21})
        assert said == {"answer": 42, "by": "helper-1"}
        assert (sum(one._figures(0.0).messages.counts), sum(two._figures(0.0).messages.counts)) == (1, 1)

        async def all_done() -> bool:
            return (await bus.get_communication_metrics())["backlog"] == 0

        await bench.until(all_done)  # the answer, and the question when its handler had returned


async def test_what_an_attempt_sent_isnt_sent_again_by_the_next(bench: Bench, bus: AgentCommunicationBus) -> None:
    async with two_hosts(bench, ["teller"]):
        ids = await result(bench, "mail.tell", {"to": "chief-1"})
    got = await bus.receive("chief-1")
    assert [message.payload for message in got] == [{"part": 1}, {"part": 1}, {"part": 2}, {"attempt": 1}, "to all"]
    assert [message.id for message in got] == ids[:4] + [one for one in ids[4:] if one == got[-1].id]
    assert {message.sender for message in got} == {"teller-1"}


async def test_what_an_earlier_release_sent_isnt_sent_again(bench: Bench, bus: AgentCommunicationBus) -> None:
    async with two_hosts(bench, ["teller"]):
        assert await result(bench, "mail.upgraded", {"to": "chief-1"}) == "sent-before"
    assert not await bus.receive("chief-1")


async def test_a_plain_function_writes_from_its_thread(bench: Bench, bus: AgentCommunicationBus) -> None:
    async with two_hosts(bench, ["threaded"]):
        sent, reached, answer = await result(bench, "mail.tell_sync", {"to": "chief-1"})
    assert answer == 40
    assert "asker-1" in reached and "threaded-1" not in reached
    assert [message.id for message in await bus.receive("chief-1", limit=1)] == [sent]


async def test_a_task_reads_its_agents_mail_and_acknowledges_it(bench: Bench, bus: AgentCommunicationBus) -> None:
    async with two_hosts(bench, ["chief"]):
        reading = await bench.submit("mail.read", 15)
        await bus.send_message(sender_id="asker-1", recipient_id="chief-1", message_type=MessageType.STATUS, payload="well")
        view = await bench.ended(reading)
        assert view.result == {"got": [["asker-1", "well", 1]], "stale": []}
        assert (await bus.inboxes.backlog()) == {}


async def test_an_isolated_agent_writes_through_its_host(
    bench: Bench, bus: AgentCommunicationBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two_hosts(bench, ["boxed"]):
        boxed = await bench.submit("mail.isolated")
        answer = await bus.request(sender_id="asker-1", recipient_id="boxed-1", payload=5, timeout_s=60)
        view = await bench.ended(boxed)
    assert view.state is TaskState.SUCCEEDED, view.failure
    assert (answer.payload, answer.sender) == (10, "boxed-1")
    assert {**view.result, "refused": ""} == {"answer": 8, "stale": [], "refused": "", "secrets": []}
    assert "boxed has no right to write to others" in view.result["refused"]
    assert [(one.why, one.sender, one.recipient) for one in await bus.refusals()] == [("forbidden", "boxed-1", "stranger-1")]


async def test_a_handler_that_raises_gets_its_message_again_and_then_it_is_dead(bench: Bench, bus: AgentCommunicationBus) -> None:
    async with two_hosts(bench, ["helper"]):
        for payload in ("once", "poison"):
            await bus.send_message(sender_id="chief-1", recipient_id="helper-1", message_type=MessageType.STATUS, payload=payload)
        (dead,) = await bench.until(bus.dead_messages)
        assert (dead.inbox, dead.deliveries) == ("helper-1", 3)
        assert await result(bench, "mail.Helper", None) == 4  # once, and three times
        assert (await bus.inboxes.backlog()) == {}
    failures = [line for line in bench.log_lines("h1") if line.get("event") == "message_failed"]
    assert [line["deliveries"] for line in failures if "message_id" in line].count(3) == 1
    assert failures[0]["why"] == "ValueError('indigestible')"


async def test_a_function_may_take_messages_too(bench: Bench, bus: AgentCommunicationBus) -> None:
    mail_agents.noted.clear()
    async with two_hosts(bench, ["noter"]):
        await bus.send_message(sender_id="chief-1", recipient_id="noter-1", message_type=MessageType.STATUS, payload="hear")

        async def heard() -> bool:
            return bool(mail_agents.noted)

        await bench.until(heard)
    assert mail_agents.noted == [("noter-1", "hear")]


async def test_a_host_without_handlers_opens_no_bus(bench: Bench) -> None:
    opened = []
    bench.bus = lambda engine, agents: opened.append(agents) or fleet_bus(engine, SPEC, SETTINGS, agents=agents)
    async with bench.host(POOLS, numbers={"asker": [1], "chief": [1]}):
        assert opened == []
        assert (await result(bench, "mail.read", 0))["got"] == []
        assert opened == [()]


async def test_a_host_without_a_secret_says_what_is_missing(bench: Bench) -> None:
    async with bench.host(POOLS[:1]):
        view = await bench.ended(await bench.submit("mail.read", 0))
    assert view.failure is not None and "set AMAS_MESSAGE_SECRET" in view.failure.message


def test_a_handler_that_would_never_be_called_is_a_mistake() -> None:
    pools = (pool("helper", "Helper", isolation="process"), pool("noter", "noter", isolation="process"), *POOLS[:4])
    found = [(problem.field, problem.message) for problem in agent_problems(FleetSpec(name="talk", pools=pools))]
    assert [field for field, _ in found] == ["pools[0].isolation", "pools[1].isolation"]
    assert "use receive" in found[0][1]
