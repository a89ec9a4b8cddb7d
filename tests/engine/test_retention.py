"""What the engine forgets, and that nothing of it remains."""

import pytest
from tests.engine.cell import Cell, task

from amas.engine.queue import RETENTION_S
from amas.model.blob import to_blob
from amas.model.task import JournaledStep

RETENTION_MS = round(RETENTION_S * 1000)
KEPT = {"journal", "totals", "queues", "qs:work", "hosts", "h:h1"}


async def without_end(cell: Cell) -> set[str]:
    """Return the keys that nothing will ever remove."""
    client = cell.engine.client
    return {name for name in await cell.keys() if await client.pttl(cell.engine.key(name)) == -1}


async def live(cell: Cell) -> None:
    """Run a workflow with everything in it: dependencies, sub-tasks, steps, a dead letter, a cancelled task."""
    tree = [task("t", workflow_id="w", needs=["p"]), task("dead", workflow_id="w", needs=["p"], on_failure="skip")]
    await cell.submit(task("p", workflow_id="w"), *tree, task("gone", workflow_id="w", delay_ms=5), workflow="w", client="me")
    parent = await cell.run("p")
    await cell.queue.journal_steps([JournaledStep("p", 1, "s", to_blob(1))], now_ms=cell.now)
    await cell.suspend(parent, task("c", parent_id="p", workflow_id="w"))
    await cell.complete(await cell.run("c"))
    await cell.complete(await cell.run("p"))
    await cell.cancel("gone")
    for got in await cell.claim(2):
        await (cell.fail(got, final=True) if got.id == "dead" else cell.complete(got))


async def test_nothing_of_a_forgotten_workflow_remains(cell: Cell) -> None:
    await live(cell)
    assert await cell.workflow_state("w") == "cancelled"
    assert await cell.queue.forget(now_ms=cell.now + RETENTION_MS - 1) == 0
    assert (await cell.queue.task("p")) is not None
    assert await cell.queue.forget(now_ms=cell.now + RETENTION_MS) == 6  # five tasks and their workflow
    assert await without_end(cell) == KEPT
    assert await cell.keys() - KEPT <= {"fl:work\n1\n"}  # a flow's place in the queue, which leaves by itself
    assert await cell.queue.forget(now_ms=cell.now + RETENTION_MS) == 0


async def test_forgetting_comes_in_bounded_pieces_and_spares_the_others(cell: Cell) -> None:
    for name in ("w1", "w2", "w3"):
        await cell.submit(task(f"{name}/t", workflow_id=name), workflow=name)
        if name != "w3":
            await cell.complete(await cell.run(f"{name}/t"))
    assert await cell.queue.forget(workflows=1, now_ms=cell.now + RETENTION_MS) == 2
    assert await cell.queue.forget(workflows=5, now_ms=cell.now + RETENTION_MS) == 2
    assert await without_end(cell) - KEPT == {"w:w3", "wt:w3", "t:w3/t", "q:work", "open"}


@pytest.mark.parametrize("ending", ["complete", "fail", "cancel"])
async def test_tasks_outside_workflows_leave_by_themselves(cell: Cell, ending: str) -> None:
    await cell.submit(task("p"), task("t", needs=["p"]))
    parent = await cell.run("p")
    await cell.queue.journal_steps([JournaledStep("p", 1, "s", to_blob(1))], now_ms=cell.now)
    children = [task(name, parent_id="p") for name in ("c1", "c2")]
    await cell.suspend(parent, *children, wait_for=["c1"])
    c1, c2 = await cell.claim(2)
    await cell.queue.journal_steps([JournaledStep("c1", 1, "s", to_blob(1))], now_ms=cell.now)
    await cell.suspend(c2, task("c3", parent_id="c2"))
    await cell.fail(c1, final=True)
    assert {"t:c1", "s:c1", "t:p", "c:p"} <= await without_end(cell)  # a parent may still ask for them
    again = next(got for got in await cell.claim(2) if got.id == "p")
    await {"complete": cell.complete, "fail": lambda p: cell.fail(p, final=True), "cancel": lambda p: cell.cancel(p.id)}[ending](
        again
    )
    if ending == "complete":
        await cell.complete(await cell.run("t"))
    assert {"t:c1", "s:c1", "t:p", "gone"} <= await without_end(cell)
    assert await cell.queue.forget(now_ms=cell.now + RETENTION_MS - 1) == 0
    everything = 5  # p, t, c1, c2, c3
    assert await cell.queue.forget(now_ms=cell.now + RETENTION_MS) == everything
    assert await without_end(cell) == KEPT


async def test_tasks_are_forgotten_in_pieces_as_they_ended(cell: Cell) -> None:
    for n in range(4):
        await cell.submit(task(f"a{n}"), task(f"b{n}"))
        await cell.complete(*await cell.claim(2))
        cell.now += 1000
    first_two = cell.now - 3000 + RETENTION_MS
    assert await cell.queue.forget(tasks=1, now_ms=first_two) == 2  # what one call ended goes together
    assert await cell.queue.forget(now_ms=first_two) == 2
    assert await cell.queue.task("b1") is None
    assert await cell.queue.task("a2") is not None
    assert (await cell.queue.totals())["kept"] == 4
