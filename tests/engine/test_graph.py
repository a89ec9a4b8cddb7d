"""Tasks that need others, tasks that spawn others, and the workflows that they make up."""

import pytest
from tests.engine.cell import Cell, task

from amas.engine.workflows import SLICE
from amas.model.states import WorkflowState

LONG = 10_000


async def test_a_diamond_runs_in_order(cell: Cell) -> None:
    await cell.submit(task("a"), task("b", needs=["a"]), task("c", needs=["a"]), task("d", needs=["b", "c", "b"]))
    await cell.complete(await cell.run("a"))
    b, c = await cell.claim(5)
    await cell.complete(b)
    assert await cell.states("d") == {"d": "waiting"}
    await cell.complete(c)
    await cell.complete(await cell.run("d"))
    assert await cell.told_states() == dict.fromkeys("abcd", "succeeded")


async def test_a_batch_may_name_a_need_before_it_comes(cell: Cell) -> None:
    await cell.submit(task("b", needs=["a"]), task("a"))
    await cell.complete(await cell.run("a"))
    await cell.complete(await cell.run("b"))


@pytest.mark.parametrize(
    ("ending", "options", "state"),
    [
        ("complete", {}, "queued"),
        ("fail", {}, "failed"),
        ("cancel", {}, "failed"),
        ("fail", {"on_failure": "skip"}, "queued"),
        ("cancel", {"on_failure": "skip"}, "queued"),
    ],
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_how_a_need_ends_decides_its_dependents(cell: Cell, ending: str, options: dict, state: str, when: str) -> None:
    await cell.submit(task("need", **options))
    need = await cell.run("need")
    dependents = [task("t", needs=["need"]), task("u", needs=["t"])]
    if when == "after":
        await cell.submit(*dependents)
    match ending:
        case "complete":
            await cell.complete(need)
        case "fail":
            await cell.fail(need, final=True)
        case _:
            await cell.cancel("need")
    if when == "before":
        await cell.submit(*dependents)
    assert await cell.states("t", "u") == {"t": state, "u": "failed" if state == "failed" else "waiting"}
    assert {name: told for name, told in (await cell.told_states()).items() if name != "need"} == await cell.states("t", "u")
    if state == "failed":
        failure = (await cell.queue.outcomes(["t"]))["t"].failure
        assert failure is not None and failure.code == "dependency_failed"
        assert await cell.places("t") == set()


async def test_one_failed_need_is_enough_and_the_other_changes_nothing_later(cell: Cell) -> None:
    await cell.submit(task("a"), task("b"), task("t", needs=["a", "b"]))
    a, b = await cell.claim(2)
    await cell.fail(a, final=True)
    assert await cell.states("t") == {"t": "failed"}
    await cell.complete(b)
    assert await cell.states("t") == {"t": "failed"}
    assert not [name for name in await cell.keys() if name.startswith("d:")]


@pytest.mark.parametrize("on_failure", ["fail", "skip"])
async def test_a_long_chain_falls_in_slices(cell: Cell, on_failure: str) -> None:
    rest = [task(f"t{n}", needs=[f"t{n - 1}"], workflow_id="w") for n in range(1, LONG)]
    await cell.submit(task("t0", workflow_id="w", on_failure=on_failure), *rest, workflow="w")
    await cell.fail(await cell.run("t0"), final=True)
    assert await cell.tend() == (LONG // SLICE if on_failure == "fail" else 1)
    if on_failure == "fail":
        assert await cell.counts("w") == {"total": LONG, "failed": LONG}
        assert await cell.workflow_state("w") == "failed"
        assert set((await cell.told_states()).values()) == {"failed"}
    else:
        assert await cell.counts("w") == {"total": LONG, "open": LONG - 1, "failed": 1}
        assert (await cell.run("t1")).id == "t1"


async def test_a_long_chain_of_parents_is_cancelled(cell: Cell) -> None:
    await cell.submit(task("p0"))
    for n in range(300):
        assert await cell.suspend(await cell.run(f"p{n}"), task(f"p{n + 1}", parent_id=f"p{n}")) == ""
    await cell.cancel("p0")
    await cell.tend()
    assert set((await cell.told_states()).values()) == {"cancelled"}
    assert await cell.places("p300") == set()


async def spawned(cell: Cell, *names: str, **options: object) -> None:
    """Leave `p` waiting on sub-tasks."""
    await cell.submit(task("p"))
    parent = await cell.run("p")
    assert await cell.suspend(parent, *(task(name, queue="sub", parent_id="p", **options) for name in names)) == ""


async def test_a_parent_goes_on_when_its_sub_tasks_have_ended_however(cell: Cell) -> None:
    await spawned(cell, "c1", "c2", "c3")
    assert await cell.hosts.running("h1") == []
    c1, c2 = await cell.claim(2, queues=["sub"])
    await cell.complete(c1)
    await cell.fail(c2, final=True)
    assert await cell.states("p") == {"p": "waiting"}
    await cell.cancel("c3")
    again = await cell.run("p", host="h2")
    assert (again.attempt, again.failures, again.resumed) == (2, 0, True)
    assert await cell.states("c1", "c2", "c3") == {"c1": "succeeded", "c2": "failed", "c3": "cancelled"}


async def test_a_retried_parent_finds_its_first_sub_tasks(cell: Cell) -> None:
    await spawned(cell, "c1")
    (c1,) = await cell.claim(1, queues=["sub"])
    await cell.complete(c1)
    await cell.fail(await cell.run("p"))
    await cell.promote()
    third = await cell.run("p")
    first, second = task("c1", queue="sub", parent_id="p"), task("c2", queue="sub", parent_id="p")
    assert await cell.suspend(third, first, second) == ""
    assert await cell.states("p", "c1", "c2") == {"p": "waiting", "c1": "succeeded", "c2": "queued"}
    assert await cell.told_states() == await cell.states("p", "c1", "c2")
    (c2,) = await cell.claim(5, queues=["sub"])
    assert c2.id == "c2"
    await cell.complete(c2)
    assert await cell.suspend(await cell.run("p"), first, second) == ""
    assert (await cell.run("p")).attempt == 5  # all had ended: queued at once
    assert await cell.engine.client.lrange(cell.engine.key("c", "p"), 0, -1) == [b"c1", b"c2"]


@pytest.mark.parametrize("ending", ["complete", "fail", "cancel"])
async def test_what_a_task_spawned_ends_with_it(cell: Cell, ending: str) -> None:
    await cell.submit(task("p"))
    children = [task(name, queue=name, parent_id="p") for name in ("quick", "slow", "idle")]
    await cell.suspend(await cell.run("p"), *children, wait_for=["quick"])
    quick, slow = await cell.claim(2, queues=["quick", "slow"])
    await cell.suspend(slow, task("grandchild", queue="deep", parent_id="slow"))
    await cell.complete(quick)
    parent = await cell.run("p")
    await {"complete": cell.complete, "fail": lambda p: cell.fail(p, final=True), "cancel": lambda p: cell.cancel(p.id)}[ending](
        parent
    )
    states = await cell.states("quick", "slow", "idle", "grandchild")
    assert states == {"quick": "succeeded", "slow": "cancelled", "idle": "cancelled", "grandchild": "cancelled"}
    assert await cell.queue.depths() == {"work": 0, "quick": 0, "slow": 0, "idle": 0, "deep": 0}


async def test_a_suspension_that_is_refused_leaves_the_attempt_running(cell: Cell) -> None:
    await cell.submit(task("p"))
    parent = await cell.run("p")
    before = await cell.dump()
    with pytest.raises(Exception, match="neither in the batch nor in the engine"):
        await cell.suspend(parent, task("c", parent_id="p", needs=["nobody"]))
    assert await cell.dump() == before


@pytest.mark.parametrize(
    ("endings", "state"),
    [
        ("complete complete", "succeeded"),
        ("complete fail", "failed"),
        ("complete cancel", "cancelled"),
        ("cancel fail", "failed"),
        ("complete skip", "succeeded"),
    ],
)
async def test_without_a_root_all_tasks_decide(cell: Cell, endings: str, state: str) -> None:
    one, two = endings.split()
    policy = {"on_failure": "skip"} if two == "skip" else {}
    await cell.submit(task("a", workflow_id="w"), task("b", queue="b", workflow_id="w", **policy), workflow="w")
    for name, queue, ending in (("a", "work", one), ("b", "b", two)):
        assert await cell.workflow_state("w") == "running"
        if ending == "cancel":
            await cell.cancel(name)
        else:
            (got,) = await cell.claim(queues=[queue])
            await (cell.complete(got) if ending == "complete" else cell.fail(got, final=True))
    assert await cell.workflow_state("w") == state
    assert [(news.workflow_id, news.state) for entry in await cell.entries() for news in entry.workflows] == [("w", state)]
    assert (await cell.queue.totals())[f"workflows_{state}"] == 1


@pytest.mark.parametrize(("ending", "state"), [("complete", "succeeded"), ("fail", "failed"), ("cancel", "cancelled")])
async def test_a_root_decides_and_takes_the_rest_with_it(cell: Cell, ending: str, state: str) -> None:
    await cell.submit(task("r", workflow_id="w"), task("bad", queue="b", workflow_id="w"), workflow="w", root="r")
    await cell.submit(task("open", queue="c", workflow_id="w"), task("behind", queue="c", workflow_id="w", needs=["open"]))
    (bad,) = await cell.claim(queues=["b"])
    await cell.fail(bad, final=True)
    root = await cell.run("r")
    await {"complete": cell.complete, "fail": lambda p: cell.fail(p, final=True), "cancel": lambda p: cell.cancel(p.id)}[ending](
        root
    )
    assert await cell.workflow_state("w") == state
    assert await cell.states("open") == {"open": "cancelled"}
    assert (await cell.counts("w")).get("open", 0) == 0
    assert (await cell.told_states())["behind"] == (await cell.states("behind"))["behind"]
    assert await cell.queue.totals() | {"open_workflows": 0} == await cell.queue.totals()


async def test_cancelled_sub_tasks_do_not_cancel_a_workflow(cell: Cell) -> None:
    await cell.submit(task("p", workflow_id="w"), workflow="w")
    child = task("c", queue="sub", parent_id="p", workflow_id="w")
    await cell.suspend(await cell.run("p"), child, wait_for=[])
    await cell.complete(await cell.run("p"))
    assert await cell.counts("w") == {"total": 2, "succeeded": 1, "cancelled": 1}
    assert await cell.workflow_state("w") == "succeeded"


@pytest.mark.parametrize("state", [WorkflowState.SUCCEEDED, WorkflowState.FAILED, WorkflowState.CANCELLED])
async def test_a_workflow_can_be_ended(cell: Cell, state: WorkflowState) -> None:
    await cell.submit(task("a", workflow_id="w"), workflow="w")
    a = await cell.run("a")
    await cell.submit(*(task(name, workflow_id="w") for name in "bc"), task("d", workflow_id="w", needs=["a"], delay_ms=5))
    await cell.submit(task("e", workflow_id="w", delay_ms=5))
    assert await cell.queue.end_workflow("w", state, now_ms=cell.now)
    assert set((await cell.states(*"abce")).values()) == {"cancelled"}
    assert (await cell.counts("w")).get("open", 0) == 0
    assert await cell.workflow_state("w") == state
    assert await cell.complete(a) == {0: "cancelled"}
    before = await cell.dump()
    assert not await cell.queue.end_workflow("w", state, now_ms=cell.now)
    assert not await cell.queue.end_workflow("nobody", state, now_ms=cell.now)
    assert await cell.cancel(*"abcde", "nobody") == 0
    assert await cell.dump() == before
