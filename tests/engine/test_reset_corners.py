"""Re-runs and dead letters put back where something ends at once, counts votes, or belongs to an earlier life."""

import pytest
from tests.engine.cell import Cell, task

from amas.errors import TaskUnknown
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


async def put_back(cell: Cell, *names: str) -> dict[str, str]:
    return await cell.workflows.put_back(names, now_ms=cell.now)


async def test_a_workflow_ends_again_when_what_is_run_again_fails_at_once(cell: Cell) -> None:
    await cell.submit(own("a"), own("b", needs=["a"]), workflow="w")
    await end(cell, "a", well=False)
    assert await rerun(cell, "b") == 1
    assert await cell.states("b") == {"b": "failed"}
    assert await cell.workflow_state("w") == "failed"


async def test_who_waits_for_a_timer_that_elapses_as_it_is_run_again_hears_of_it(cell: Cell) -> None:
    await cell.submit(own("t", kind="timer"), own("open"), workflow="w")
    await cell.promote()
    await cell.submit(own("a", needs=["t", "open"]))
    assert await rerun(cell, "t") == 2
    await end(cell, "open")
    assert await cell.states("t", "a") == {"t": "succeeded", "a": "queued"}


async def test_a_dead_letter_outside_a_workflow_has_its_quorum_still(cell: Cell) -> None:
    await cell.submit(task("a"), task("q", queue="q", needs=["a"], quorum=1))
    await cell.complete(await cell.run("a"))
    await end(cell, "q", well=False)
    assert await put_back(cell, "q") == {}
    assert await cell.states("q") == {"q": "queued"}


async def test_a_dead_letter_outside_a_workflow_waits_again_for_what_it_needs(cell: Cell) -> None:
    await cell.submit(task("a"), task("b", queue="b", needs=["a"], expires_ms=10))
    cell.now += 10
    await cell.workflows.expire(now_ms=cell.now)
    assert await put_back(cell, "b") == {}
    assert await cell.states("b") == {"b": "waiting"}
    await cell.complete(await cell.run("a"))
    await cell.suspend(await run(cell, "b"), task("c", queue="c", parent_id="b"))
    assert await cell.states("b") == {"b": "waiting"}


async def test_a_quorum_counts_in_again_what_was_put_back(cell: Cell) -> None:
    await cell.submit(own("a"), own("b"), own("c"), own("q", needs=["a", "b", "c"], quorum=2), workflow="w")
    await end(cell, "a", well=False)
    assert await put_back(cell, "a") == {}
    await end(cell, "b", well=False)
    assert await cell.states("q") == {"q": "waiting"}
    await end(cell, "a", "c")
    assert await cell.states("q") == {"q": "queued"}


async def test_a_parent_with_a_quorum_waits_for_its_sub_task_that_runs_again_and_takes_it_with_it(cell: Cell) -> None:
    await cell.submit(own("a"), own("p", needs=["a"], quorum=1), workflow="w")
    await end(cell, "a")
    await cell.suspend(await run(cell, "p"), own("c", parent_id="p"))
    await end(cell, "c", "p")
    assert await rerun(cell, "c") == 2
    assert await cell.states("p", "c") == {"p": "waiting", "c": "queued"}
    await cell.cancel("p")
    assert await cell.states("c") == {"c": "cancelled"}


async def test_sub_tasks_of_an_earlier_life_are_nobodys(cell: Cell) -> None:
    await cell.submit(own("p"), workflow="w")
    await cell.suspend(await run(cell, "p"), own("c", parent_id="p"))
    await end(cell, "c", well=False)
    await end(cell, "p")
    assert await rerun(cell, "p") == 1
    assert await cell.workflows.dead_letters() == []
    assert await put_back(cell, "c") == {"c": "unknown"}
    with pytest.raises(TaskUnknown):
        await rerun(cell, "c")
    assert await cell.states("p", "c") == {"p": "queued", "c": "failed"}


async def test_a_sub_task_put_back_while_its_parent_runs_again_ends_with_it(cell: Cell) -> None:
    await cell.submit(own("p"), own("open"), workflow="w")
    await cell.suspend(await run(cell, "p"), own("c", parent_id="p"), own("d", parent_id="p"))
    await end(cell, "c", well=False)
    await end(cell, "d", "p")
    await rerun(cell, "d")
    await end(cell, "d")
    again = await run(cell, "p")
    assert await put_back(cell, "c") == {}
    await cell.complete(again)
    assert await cell.states("c") == {"c": "cancelled"}


async def test_a_sub_task_put_back_after_its_parent_outside_a_workflow_stands_by_itself(cell: Cell) -> None:
    await cell.submit(task("p", queue="p"))
    await cell.suspend(await run(cell, "p"), task("c", queue="c", parent_id="p"))
    await end(cell, "c", well=False)
    await end(cell, "p")
    assert await put_back(cell, "c") == {}
    running, hour_ms = await run(cell, "c"), 3_600_000
    await cell.queue.forget(now_ms=cell.now + hour_ms)
    await cell.complete(running)
    assert await cell.queue.forget(now_ms=cell.now + hour_ms) > 0
    assert {"t:p", "t:c", "c:p"} & await cell.keys() == set()


async def test_a_signal_that_is_asked_again_later_has_no_deadline_until_then(cell: Cell) -> None:
    await cell.submit(own("a"), task("s", queue="s", workflow_id="w", kind="signal", needs=["a"], expires_ms=10), workflow="w")
    await end(cell, "a")
    assert await rerun(cell, "a") == 2
    cell.now += 10
    assert (await cell.workflows.expire(now_ms=cell.now))[0] == 0
    assert await cell.states("s") == {"s": "waiting"}
