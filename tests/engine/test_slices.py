"""What concerns very many tasks is done in slices: the first at once, the rest by the timers, or by hosts without work."""

import pytest
from tests.engine.cell import Cell, task
from tests.engine.test_retention import KEPT, RETENTION_MS, without_end

from amas.engine.workflows import SLICE
from amas.model.states import WorkflowState

MANY = 3 * SLICE
NAMES = [f"n{n}" for n in range(MANY)]


async def wide(cell: Cell, **options: object) -> None:
    """Submit a root and very many tasks of one workflow."""
    await cell.submit(task("root", queue="root", workflow_id="w"), workflow="w", root="root")
    await cell.submit(*(task(name, workflow_id="w", **options) for name in NAMES))


async def largest_entry(cell: Cell, after: str) -> int:
    """Return how many tasks an entry of the journal changed at most."""
    return max(len(entry.effects) for entry in await cell.entries(after))


@pytest.mark.parametrize("way", ["end_workflow", "root"])
async def test_a_workflow_ends_at_once_and_its_tasks_in_slices(cell: Cell, way: str) -> None:
    await wide(cell)
    marker = await cell.journal.last_id()
    if way == "root":
        (root,) = await cell.claim(queues=["root"])
        await cell.complete(root)
    else:
        await cell.queue.end_workflow("w", WorkflowState.SUCCEEDED, now_ms=cell.now)
    assert await cell.workflow_state("w") == "succeeded"
    assert (await cell.counts("w"))["open"] >= MANY - SLICE
    open_before = (await cell.counts("w"))["open"]
    assert await cell.claim(100) == []  # what is still to be cancelled is claimed no more; the claim went on cancelling
    assert (await cell.counts("w"))["open"] < open_before
    await cell.tend()
    assert await cell.workflow_state("w") == "succeeded"
    assert "open" not in await cell.counts("w")
    assert set((await cell.states(*NAMES)).values()) == {"cancelled"}
    assert await largest_entry(cell, marker) <= SLICE
    assert not {name for name in await cell.keys() if name.startswith(("q:", "wp:", "held", "chores"))}


async def test_a_root_that_ends_with_very_many_sub_tasks(cell: Cell) -> None:
    await cell.submit(task("root", queue="root", workflow_id="w"), workflow="w", root="root")
    (root,) = await cell.claim(queues=["root"])
    children = [task(name, parent_id="root", workflow_id="w") for name in NAMES]
    await cell.suspend(root, *children, wait_for=[])
    (root,) = await cell.claim(queues=["root"])
    marker = await cell.journal.last_id()
    await cell.complete(root)
    assert await cell.workflow_state("w") == "succeeded"
    await cell.tend()
    assert await largest_entry(cell, marker) <= SLICE
    assert await cell.counts("w") == {"total": MANY + 1, "succeeded": 1, "cancelled": MANY}


@pytest.mark.parametrize("well", [True, False])
async def test_very_many_dependents_of_one_task_move_in_slices(cell: Cell, well: bool) -> None:
    await cell.submit(task("first", queue="first"), *(task(name, needs=["first"]) for name in NAMES), task("last", needs=NAMES))
    (first,) = await cell.claim(queues=["first"])
    marker = await cell.journal.last_id()
    await (cell.complete(first) if well else cell.fail(first, final=True))
    claimed = 0
    while got := await cell.claim(MANY):  # where there is work to find, hosts alone get it all done
        claimed += len(got)
        await cell.complete(*got)
    if not well:
        await cell.tend()
    assert claimed == (MANY + 1 if well else 0)
    assert (await cell.states("last"))["last"] == ("succeeded" if well else "failed")
    assert await largest_entry(cell, marker) <= SLICE + 1  # the failed one itself


async def test_a_large_workflow_is_forgotten_in_slices_and_not_opened_meanwhile(cell: Cell) -> None:
    await wide(cell)
    await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
    await cell.tend()
    cell.now += RETENTION_MS
    removed = [await cell.queue.forget(tasks=SLICE, now_ms=cell.now)]
    assert removed == [SLICE]
    with pytest.raises(Exception, match="what it has forgotten can't run again"):
        await cell.workflows.rerun("w", NAMES[-1], now_ms=cell.now)
    while removed[-1] >= SLICE:
        removed.append(await cell.queue.forget(tasks=SLICE, now_ms=cell.now))
    assert sum(removed) == MANY + 2  # the root and the workflow itself
    assert await without_end(cell) <= KEPT


async def test_chores_of_what_is_gone_or_runs_again_are_dropped(cell: Cell) -> None:
    await wide(cell)
    await cell.queue.end_workflow("w", WorkflowState.FAILED, now_ms=cell.now)
    assert await cell.workflows.rerun("w", "n0", now_ms=cell.now) > 0
    await cell.tend()
    assert await cell.workflow_state("w") == "running"
    assert set((await cell.states(*NAMES)).values()) == {"queued"}


async def test_dependents_that_were_still_to_be_told_of_an_end_are_not_when_it_is_taken_back(cell: Cell) -> None:
    first = task("first", queue="first", workflow_id="w")
    await cell.submit(first, *(task(name, workflow_id="w", needs=["first"]) for name in NAMES), workflow="w")
    (got,) = await cell.claim(queues=["first"])
    await cell.complete(got)
    assert await cell.workflows.rerun("w", "first", now_ms=cell.now) == MANY + 1
    await cell.tend()
    assert set((await cell.states(*NAMES)).values()) == {"waiting"}
    assert await cell.claim(5) == []
