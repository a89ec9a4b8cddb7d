"""The kill switch in the engine: what runs is taken back in the call that says so, and nothing new is handed out."""

from collections.abc import Sequence

import pytest
from tests.engine.cell import Cell, task

from amas.engine.desired import DesiredState, Wish
from amas.engine.queue import Slots
from amas.model.desired import FLEET_KILLED, Kill
from amas.model.journal import EntryKind
from amas.model.states import TaskState
from amas.model.task import Claimed

WHY = Kill(by="ann", why="it deletes files", at_ms=1)
AGENTS = ("coder-1", "coder-2", "coder~2-1", "chief-1", "remote.ocr-1")


@pytest.fixture
def state(cell: Cell) -> DesiredState:
    return DesiredState(cell.engine)


async def claim(cell: Cell, agents: Sequence[str] = AGENTS, host: str = "h1") -> dict[str, Claimed]:
    got = await cell.queue.claim(host, [Slots(("work",), list(agents))], now_ms=cell.now)
    return {one.agent_id: one for one in got or ()}


async def kill(cell: Cell, state: DesiredState, *targets: str) -> None:
    await state.change([Wish(f"kill:{target}", WHY) for target in targets], by="ann", why="stop", now_ms=cell.now)


@pytest.mark.requirement("B12")
@pytest.mark.parametrize(
    ("target", "stopped"),
    [
        ("coder-1", {"coder-1"}),
        ("coder", {"coder-1", "coder-2", "coder~2-1"}),
        ("coder~2", {"coder~2-1"}),
        ("remote.ocr-1", {"remote.ocr-1"}),
        (FLEET_KILLED, set(AGENTS)),
        ("cod", set()),
    ],
)
async def test_the_killed_lose_what_they_run_and_get_nothing(
    cell: Cell, state: DesiredState, target: str, stopped: set[str]
) -> None:
    await cell.host()
    await cell.submit(*(task(f"t{n}") for n in range(5)))
    running = await claim(cell)
    async with cell.engine.client.pubsub() as heard:
        await heard.subscribe(cell.engine.key("host", "h1"))
        await heard.get_message(timeout=60)
        await kill(cell, state, target)
        told = await heard.get_message(timeout=60) if stopped else None
    states = {agent: (await cell.queue.task(one.id)).state for agent, one in running.items()}  # type: ignore[union-attr]
    assert {agent for agent, state in states.items() if state is TaskState.QUEUED} == stopped
    assert {agent for agent, state in states.items() if state is TaskState.RUNNING} == set(AGENTS) - stopped
    lines = set(told["data"].decode().split("\n")) if told else set()
    assert lines == {f"{running[agent].id} 1" for agent in stopped}
    refused = await cell.complete(*running.values())
    assert len(refused) == len(stopped), "what they say later counts for nothing"
    assert set(await claim(cell, sorted(stopped))) == set()
    await state.change([Wish(f"kill:{target}", None)], by="ann", why="lifted", now_ms=cell.now)
    again = await claim(cell, sorted(stopped))
    assert set(again) == stopped
    assert all(one.attempt == 2 for one in again.values())


async def test_another_agent_takes_up_what_was_taken(cell: Cell, state: DesiredState) -> None:
    await cell.host()
    await cell.host("h2")
    await cell.submit(task("t1"))
    await claim(cell, ["coder-1"])
    await kill(cell, state, "coder-1")
    assert (await claim(cell, ["coder-1", "coder-2"], host="h2"))["coder-2"].id == "t1"
    kinds = [entry.kind for entry in await cell.entries()]
    assert EntryKind.GIVE_BACK in kinds


async def test_more_than_one_call_takes_back_is_left_to_the_timers(cell: Cell, state: DesiredState) -> None:
    await cell.host()
    await cell.submit(*(task(f"t{n}") for n in range(700)))
    agents = [f"coder-{n}" for n in range(700)]
    while len(await claim(cell, agents)):
        pass
    await kill(cell, state, FLEET_KILLED)
    while await cell.workflows.tend(now_ms=cell.now):
        pass
    assert await cell.queue.depths() == {"work": 700}
    assert await cell.engine.client.hlen(cell.engine.key("r", "h1")) == 0
