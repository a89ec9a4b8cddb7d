"""Which agents a task would rather have, or not: for a while, and never at the cost of other work."""

from tests.engine.cell import Cell, task

from amas.model.task import Choice, Claimed

WAIT_MS = 5000


def avoiding(*agents: str) -> Choice:
    return Choice(WAIT_MS, False, agents)


def wanting(*agents: str) -> Choice:
    return Choice(WAIT_MS, True, agents)


def seats(claimed: list[Claimed]) -> dict[str, str]:
    return {one.id: one.agent_id for one in claimed}


async def test_a_task_goes_past_the_agent_that_it_avoids(cell: Cell) -> None:
    await cell.submit(task("again", choice=avoiding("agent-0")))
    assert seats(await cell.claim(2)) == {"again": "agent-1"}
    assert await cell.queue.agents_of(["again", "nobody"]) == {"again": "agent-1"}


async def test_a_task_goes_to_the_agent_that_it_wants(cell: Cell) -> None:
    await cell.submit(task("other"), task("again", choice=wanting("agent-2")))
    assert seats(await cell.claim(3)) == {"other": "agent-0", "again": "agent-2"}


async def test_with_nobody_else_it_waits_and_then_takes_whoever_there_is(cell: Cell) -> None:
    await cell.submit(task("again", choice=avoiding("agent-0")), task("plain"))
    assert seats(await cell.claim(1)) == {"plain": "agent-0"}, "others don't wait behind it"
    cell.now += WAIT_MS - 1
    assert await cell.claim(1) == []
    cell.now += 1
    assert seats(await cell.claim(1)) == {"again": "agent-0"}


async def test_its_wait_begins_when_it_is_first_offered(cell: Cell) -> None:
    await cell.submit(task("again", choice=wanting("agent-9")))
    cell.now += 10 * WAIT_MS
    assert await cell.claim(1) == []
    cell.now += WAIT_MS
    assert seats(await cell.claim(1)) == {"again": "agent-0"}


async def test_one_that_was_cancelled_meanwhile_is_not_put_back(cell: Cell) -> None:
    await cell.submit(task("again", choice=wanting("agent-9")))
    assert await cell.claim(1) == []
    await cell.cancel("again")
    cell.now += WAIT_MS
    assert await cell.claim(1) == []
