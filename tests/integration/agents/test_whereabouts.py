"""A host's beats say where its attempts are that have run for long: waiting, in a thread, or holding the loop."""

import asyncio
from typing import Any

import pytest
import sample_agents
from host_bench import Bench, pool

from amas.agents import host as host_module
from amas.agents import whereabouts
from amas.engine.hosts import HostRegistry, LongAttempt

pytestmark = pytest.mark.requirement("T4")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whereabouts, "LONG_S", 0.0)


async def told(bench: Bench) -> dict[str, str]:
    """Return where each agent is, as the engine has it."""
    hosts = await HostRegistry(bench.engine).all()
    return {each.agent_id: each.at for host in hosts for each in host.figures.longest}


async def test_a_stuck_agent_is_seen_with_its_line(bench: Bench) -> None:
    sample_agents.begun["hang"] = asyncio.Event()
    async with bench.host([pool("wait"), pool("thread")]):
        await bench.submit("test.wait", {"gate": "whereabouts"})
        await bench.submit("test.thread", "hang")

        async def both() -> bool:
            at = await told(bench)
            return "wait (" in at.get("wait-1", "") and "thread (" in at.get("thread-1", "")

        await bench.until(both)
        assert "sample_agents.py:" in (await told(bench))["wait-1"]
    assert await told(bench) == {}


async def test_an_agent_that_holds_the_loop_is_seen_while_it_does(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[LongAttempt] = []

    def noted(*arguments: Any) -> tuple[LongAttempt, ...]:
        found = whereabouts.longest(*arguments)
        seen.extend(found)
        return found

    monkeypatch.setattr(host_module, "longest", noted)
    async with bench.host([pool("block")]):
        await bench.ended(await bench.submit("test.block", 1.0))
    assert any(each.agent_id == "block-1" and each.at.startswith("block (") for each in seen), seen


async def test_only_a_few_are_told_the_longest_first(bench: Bench) -> None:
    async with bench.host([pool("wait", replicas=10)]) as host:
        for number in range(10):
            await bench.submit("test.wait", {"gate": f"few-{number}"})
            await asyncio.wait_for(sample_agents.begun.setdefault(f"few-{number}", asyncio.Event()).wait(), 60)
        found = whereabouts.longest(host._pump.running.values(), 0)
    assert len(found) == whereabouts.LONGEST_MAX
    assert [each.for_s for each in found] == sorted((each.for_s for each in found), reverse=True)
