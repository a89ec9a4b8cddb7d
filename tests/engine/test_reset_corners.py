"""Re-runs and dead letters put back where something ends at once, counts votes, or belongs to an earlier life."""

from tests.engine.cell import Cell, task

from amas.model.task import Claimed, Submission


def own(name: str, **options: object) -> Submission:
    """Return a task of workflow `w` with a queue of its own."""
    return task(name, queue=name, workflow_id="w", **options)


async def run(cell: Cell, name: str) -> Claimed:
    (got,) = await cell.claim(queues=[name])
    return got


async def end(cell: Cell, *names: str, well: bool = True) -> None:
    for name in names:
        got = await run(cell, name)
        await (cell.complete(got) if well else cell.fail(got, final=True))


async def rerun(cell: Cell, name: str) -> int:
    return await cell.workflows.rerun("w", name, now_ms=cell.now)


async def test_a_workflow_ends_again_when_what_is_run_again_fails_at_once(cell: Cell) -> None:
    await cell.submit(own("a"), own("b", needs=["a"]), workflow="w")
    await end(cell, "a", well=False)
    assert await rerun(cell, "b") == 1
    assert await cell.states("b") == {"b": "failed"}
    assert await cell.workflow_state("w") == "failed"
