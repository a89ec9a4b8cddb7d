"""What a workflow did is undone when it fails or is cancelled: in reverse order, one after the other, before it ends."""

import pytest
from tests.engine.cell import Cell, task

from amas.engine.workflows import SLICE
from amas.errors import DependencyUnknown, SubmissionError
from amas.model.states import WorkflowState

STEPS = ["book", "pay", "ship"]


async def order(cell: Cell) -> None:
    """Submit three steps in a chain, each with its compensation."""
    chain = [
        task(name, queue=name, workflow_id="w", needs=[STEPS[n - 1]] if n else None, retries=0) for n, name in enumerate(STEPS)
    ]
    undo = [task(f"un{name}", queue="undo", workflow_id="w", compensates=name, retries=0) for name in STEPS]
    await cell.submit(*undo, *chain, workflow="w", client="me")


async def do(cell: Cell, queue: str, *, well: bool = True) -> str:
    (got,) = await cell.claim(5, queues=[queue])
    await (cell.complete(got) if well else cell.fail(got, final=True))
    return got.id


async def news(cell: Cell) -> list[str]:
    return [change.state.value for entry in await cell.entries() for change in entry.workflows]


async def test_compensations_that_nobody_needs_end_cancelled_and_the_workflow_succeeds(cell: Cell) -> None:
    await order(cell)
    for name in STEPS:
        assert await cell.claim(5, queues=["undo"]) == []
        await do(cell, name)
    assert await cell.workflow_state("w") == "succeeded"
    assert set((await cell.states(*(f"un{name}" for name in STEPS))).values()) == {"cancelled"}
    assert await cell.counts("w") == {"total": 6, "succeeded": 3, "cancelled": 3}
    assert await news(cell) == ["succeeded"]


@pytest.mark.parametrize("ending", ["fail", "cancel"])
@pytest.mark.parametrize("undone_well", [True, False])
async def test_what_succeeded_is_undone_last_first_one_at_a_time(cell: Cell, ending: str, undone_well: bool) -> None:
    await order(cell)
    await do(cell, "book")
    await do(cell, "pay")
    if ending == "fail":
        await do(cell, "ship", well=False)
    else:
        await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
    assert await cell.workflow_state("w") == "compensating"
    assert await cell.states("unship") == {"unship": "cancelled"}
    assert await do(cell, "undo", well=undone_well) == "unpay"
    assert await cell.workflow_state("w") == "compensating"
    assert await do(cell, "undo") == "unbook"
    end = "failed" if ending == "fail" else "cancelled"
    assert await cell.workflow_state("w") == end
    assert await news(cell) == ["compensating", end]
    counts = await cell.counts("w")
    assert counts["total"] == sum(counts.values()) - counts["total"] == 6
    assert await cell.told_states() == await cell.states(*STEPS, *(f"un{name}" for name in STEPS))


async def test_a_failure_before_anything_succeeded_undoes_nothing(cell: Cell) -> None:
    await order(cell)
    await do(cell, "book", well=False)
    assert await cell.workflow_state("w") == "failed"
    assert await news(cell) == ["failed"]
    assert set((await cell.states(*(f"un{name}" for name in STEPS))).values()) == {"cancelled"}


async def test_a_compensation_may_spawn_and_nobody_else_may_submit_meanwhile(cell: Cell) -> None:
    await order(cell)
    await do(cell, "book")
    await do(cell, "pay", well=False)
    (undo,) = await cell.claim(5, queues=["undo"])
    assert await cell.suspend(undo, task("c", queue="child", parent_id=undo.id, workflow_id="w")) == ""
    with pytest.raises(SubmissionError, match="takes no further tasks"):
        await cell.submit(task("late", workflow_id="w"))
    await do(cell, "child")
    assert await cell.workflow_state("w") == "compensating"
    await do(cell, "undo")
    assert await cell.workflow_state("w") == "failed"


async def test_a_target_that_has_succeeded_already_can_be_given_a_compensation(cell: Cell) -> None:
    await cell.submit(task("a", workflow_id="w"), task("b", queue="b", workflow_id="w"), workflow="w")
    await cell.complete(await cell.run("a"))
    await cell.submit(task("una", queue="undo", workflow_id="w", compensates="a"))
    await do(cell, "b", well=False)
    assert await do(cell, "undo") == "una"
    assert await cell.workflow_state("w") == "failed"


async def test_unfit_compensations_are_refused_whole(cell: Cell) -> None:
    await cell.submit(task("a", workflow_id="w"), task("una", workflow_id="w", compensates="a"), workflow="w")
    await cell.submit(task("x"))
    before = await cell.dump()
    for batch in (
        [task("una2", workflow_id="w", compensates="a")],
        [task("unx", workflow_id="w", compensates="x")],
        [task("b", workflow_id="w"), task("unb", compensates="b")],
        [task("b", workflow_id="w"), *(task(f"unb{n}", workflow_id="w", compensates="b") for n in range(2))],
    ):
        with pytest.raises(SubmissionError, match="must compensate one task of its own workflow"):
            await cell.submit(*batch)
    with pytest.raises(DependencyUnknown):
        await cell.submit(task("unb", workflow_id="w", compensates="b"))
    assert await cell.dump() == before


async def test_compensations_begin_when_all_that_is_open_has_been_cancelled(cell: Cell) -> None:
    many = [task(f"n{n}", queue="many", workflow_id="w") for n in range(2 * SLICE)]
    await cell.submit(
        task("a", workflow_id="w"), *many, task("una", queue="undo", workflow_id="w", compensates="a"), workflow="w"
    )
    await cell.complete(await cell.run("a"))
    await cell.queue.end_workflow("w", WorkflowState.FAILED, now_ms=cell.now)
    client, undo = cell.engine.client, cell.engine.key("q", "undo")
    assert await client.zcard(undo) == 0
    await cell.tend()
    assert await client.zcard(undo) == 1
    assert await cell.counts("w") == {"total": 2 * SLICE + 2, "open": 1, "succeeded": 1, "cancelled": 2 * SLICE}
    await do(cell, "undo")
    assert await cell.workflow_state("w") == "failed"


async def test_a_compensations_time_begins_when_it_is_asked_for(cell: Cell) -> None:
    undo = task("una", queue="undo", workflow_id="w", compensates="a", expires_ms=1000)
    await cell.submit(task("a", workflow_id="w"), undo, workflow="w")
    await cell.complete(await cell.run("a"))
    assert await cell.workflow_state("w") == "succeeded"
    await cell.submit(task("b", workflow_id="v"), task("keeper", queue="keeper", workflow_id="v"), workflow="v")
    await cell.submit(task("unb", queue="undo", workflow_id="v", compensates="b", expires_ms=1000))
    await cell.complete(await cell.run("b"))
    cell.now += 5000
    assert await cell.workflows.expire(now_ms=cell.now) == (0, 0)
    await cell.queue.end_workflow("v", WorkflowState.FAILED, now_ms=cell.now)
    cell.now += 1000
    assert await cell.workflows.expire(now_ms=cell.now) == (1, 0)
    assert await cell.states("unb") == {"unb": "failed"}
    assert await cell.workflow_state("v") == "failed"
