"""Paused workflows: nothing new is claimed, nothing is lost, and the order stays."""

import pytest
from tests.engine.cell import Cell, task

from amas.engine.workflows import SLICE
from amas.model.states import WorkflowState

NAMES = [f"t{n}" for n in range(6)]


async def submitted(cell: Cell, workflow: str = "w") -> None:
    await cell.submit(*(task(name, workflow_id=workflow) for name in NAMES), workflow=workflow)


async def test_a_paused_workflow_gives_nothing_while_others_go_on_and_then_its_old_order(cell: Cell) -> None:
    await submitted(cell)
    running = await cell.run("t0")
    assert await cell.workflows.pause("w", now_ms=cell.now)
    assert await cell.workflow_state("w") == "paused"
    await cell.submit(task("other"))
    assert [got.id for got in await cell.claim(3)] == ["other"]
    assert await cell.claim(3) == []
    assert await cell.complete(running) == {}  # what runs finishes
    assert await cell.workflows.resume("w", now_ms=cell.now)
    assert await cell.workflow_state("w") == "running"
    assert [got.id for got in await cell.claim(9)] == NAMES[1:]
    assert [news.state for entry in await cell.entries() for news in entry.workflows] == ["paused", "running"]


async def test_what_becomes_ready_meanwhile_waits_too(cell: Cell) -> None:
    await submitted(cell)
    await cell.submit(task("after", workflow_id="w", needs=["t0"]), task("later", workflow_id="w", delay_ms=5))
    running = await cell.run("t0")
    await cell.workflows.pause("w", now_ms=cell.now)
    assert await cell.claim(9) == []
    await cell.complete(running)
    await cell.promote()
    assert await cell.claim(9) == []
    await cell.workflows.resume("w", now_ms=cell.now)
    assert [got.id for got in await cell.claim(9)] == [*NAMES[1:], "after", "later"]


async def test_a_paused_workflow_that_is_ended_ends_whole(cell: Cell) -> None:
    await submitted(cell)
    await cell.workflows.pause("w", now_ms=cell.now)
    assert await cell.claim(3) == []
    await cell.cancel("t0", "t5")  # one that was set aside, one that wasn't
    await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
    assert set((await cell.states(*NAMES)).values()) == {"cancelled"}
    assert {name for name in await cell.keys() if name.startswith(("held", "wp:", "q:"))} == set()
    assert not await cell.workflows.resume("w", now_ms=cell.now)


async def test_pausing_twice_or_what_is_not_open_says_no_and_changes_nothing(cell: Cell) -> None:
    await submitted(cell)
    await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
    await submitted_as_other(cell)
    assert await cell.workflows.pause("v", now_ms=cell.now)
    before = await cell.dump()
    assert not await cell.workflows.pause("v", now_ms=cell.now)
    assert not await cell.workflows.pause("w", now_ms=cell.now)
    assert not await cell.workflows.pause("nobody", now_ms=cell.now)
    assert not await cell.workflows.resume("w", now_ms=cell.now)
    assert await cell.dump() == before


async def submitted_as_other(cell: Cell) -> None:
    await cell.submit(task("v0", workflow_id="v"), workflow="v")


@pytest.mark.parametrize("continued_by", ["tend", "claim"])
async def test_a_large_workflow_is_set_aside_and_taken_up_in_slices(cell: Cell, continued_by: str) -> None:
    names = [f"n{n:05}" for n in range(3 * SLICE)]
    await cell.submit(*(task(name, workflow_id="w") for name in names), workflow="w")
    await cell.submit(task("other"))
    await cell.workflows.pause("w", now_ms=cell.now)
    got: list[str] = []
    for _ in range(5):
        got += [one.id for one in await cell.claim(4000)]
    assert got == ["other"]
    await cell.workflows.resume("w", now_ms=cell.now)
    assert await cell.queue.depths() == {"work": SLICE}
    if continued_by == "tend":
        await cell.tend()
    claimed: list[str] = []
    while more := await cell.claim(4000):
        claimed += [one.id for one in more]
    assert claimed == names
