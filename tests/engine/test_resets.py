"""Ended tasks that run again: re-runs from a task, and dead letters put back."""

import pytest
from tests.engine.cell import WHY, Cell, task

from amas.engine.registry import AgentRegistry
from amas.errors import ResetRefused, TaskUnknown, WorkflowUnknown
from amas.model.blob import to_blob
from amas.model.states import WorkflowState
from amas.model.task import Claimed, JournaledStep, Submission, TaskSpec


def child_of(parent_id: str, name: str, *, needs: tuple[str, ...] = ()) -> Submission:
    """Return a sub-task with a queue of its own."""
    held = task(name, queue=name, parent_id=parent_id, workflow_id="w", needs=list(needs) or None)
    return Submission(
        held.id, held.queue, to_blob(TaskSpec(capability="work", needs=needs, parent_id=parent_id)), 1, held.options
    )


async def diamond(cell: Cell) -> None:
    """Submit a -> b, c -> d, and e by itself."""
    edges = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": []}
    await cell.submit(*(task(n, queue=n, workflow_id="w", needs=needs or None) for n, needs in edges.items()), workflow="w")


async def do(cell: Cell, *names: str, well: bool = True) -> list[Claimed]:
    """Run tasks that have a queue of their own, one after the other."""
    done = []
    for name in names:
        (got,) = await cell.claim(5, queues=[name])
        assert got.id == name
        await (cell.complete(got) if well else cell.fail(got, final=True))
        done.append(got)
    return done


async def rerun(cell: Cell, task_id: str) -> int:
    return await cell.workflows.rerun("w", task_id, now_ms=cell.now)


async def assert_sound(cell: Cell, *names: str) -> None:
    """The workflow's figures, the queues and the journal agree with the tasks."""
    states = await cell.states(*names)
    count = list(states.values()).count
    counts = {name: count(name) for name in ("succeeded", "failed", "cancelled") if count(name)}
    still_open = len(names) - sum(counts.values())
    assert await cell.counts("w") == {"total": len(names), **({"open": still_open} if still_open else {})} | counts
    assert {name: state for name, state in (await cell.told_states()).items() if name in states} == states
    for name, state in states.items():
        assert await cell.places(name) == ({f"q:{name}"} if state == "queued" else {"r:h1"} if state == "running" else set())


async def test_a_task_and_what_is_downstream_run_again_and_the_rest_stays(cell: Cell) -> None:
    await diamond(cell)
    first = {got.id: got for got in await do(cell, *"abcde")}
    assert await cell.workflow_state("w") == "succeeded"
    assert await rerun(cell, "b") == 2
    assert await cell.states(*"abcde") == {"a": "succeeded", "b": "queued", "c": "succeeded", "d": "waiting", "e": "succeeded"}
    assert await cell.workflow_state("w") == "running"
    await assert_sound(cell, *"abcde")
    again = await do(cell, *"bd")
    assert [got.attempt for got in again] == [2, 2]
    assert await cell.workflow_state("w") == "succeeded"
    assert [news.state for entry in await cell.entries() for news in entry.workflows] == ["succeeded", "running", "succeeded"]
    assert await cell.complete(first["b"]) == {0: "stale"}
    await assert_sound(cell, *"abcde")


async def test_a_failed_task_takes_with_it_what_failed_for_want_of_it(cell: Cell) -> None:
    await diamond(cell)
    await do(cell, "a", "e")
    await do(cell, "b", well=False)
    await do(cell, "c")
    assert await cell.workflow_state("w") == "failed"
    assert await rerun(cell, "b") == 2
    assert [letter.task_id for letter in await cell.workflows.dead_letters()] == []
    await do(cell, *"bd")
    assert await cell.workflow_state("w") == "succeeded"
    found = (await cell.queue.outcomes(["b", "d"])).values()
    assert [(one.state.value, one.failure) for one in found] == [("succeeded", None)] * 2


async def test_a_rerun_while_the_workflow_runs_takes_back_what_runs_and_waits_for_what_is_open(cell: Cell) -> None:
    await diamond(cell)
    await do(cell, "a", "b")
    (running,) = await cell.claim(queues=["c"])
    assert await rerun(cell, "a") == 4
    assert await cell.states(*"abcd") == {"a": "queued", "b": "waiting", "c": "waiting", "d": "waiting"}
    assert await cell.complete(running) == {0: "stale"}
    await assert_sound(cell, *"abcde")
    await do(cell, *"abcde")
    assert await cell.workflow_state("w") == "succeeded"
    assert not [name for name in await cell.keys() if name.startswith("d:")]


async def test_a_task_that_also_needs_what_still_runs_is_told_once(cell: Cell) -> None:
    await diamond(cell)
    await do(cell, "a", "b")
    assert await rerun(cell, "b") == 2  # d was waiting on c, and still is
    await do(cell, "c")
    assert await cell.states("d") == {"d": "waiting"}
    await do(cell, "b", "d")


async def test_what_cannot_run_any_more_fails_again(cell: Cell) -> None:
    await diamond(cell)
    await do(cell, "a", "e")
    await do(cell, "b", "c", well=False)
    await rerun(cell, "b")
    assert await cell.states("b", "d") == {"b": "queued", "d": "failed"}  # c stays as it ended
    await do(cell, "b")
    assert await cell.workflow_state("w") == "failed"
    await assert_sound(cell, *"abcde")


async def test_nothing_is_reset_that_has_not_begun(cell: Cell) -> None:
    await diamond(cell)
    before = await cell.dump()
    assert (await rerun(cell, "a"), await rerun(cell, "d")) == (0, 0)
    assert await cell.dump() == before
    with pytest.raises(TaskUnknown):
        await rerun(cell, "nobody")
    with pytest.raises(WorkflowUnknown):
        await cell.workflows.rerun("nobody", "a", now_ms=cell.now)
    assert await cell.dump() == before


async def family(cell: Cell) -> Claimed:
    """Leave root `p` having spawned `c1`, `c2` (which needs `c1`) and `c3`, which all run well; return its first attempt."""
    root = Submission("p", "p", to_blob(TaskSpec(capability="work")), 1, task("p", workflow_id="w").options)
    await cell.submit(root, workflow="w", root="p")
    (parent,) = await cell.claim(queues=["p"])
    await cell.queue.journal_steps([JournaledStep("p", 1, "plan", to_blob(1))], now_ms=cell.now)
    children = [child_of("p", "c1"), child_of("p", "c2", needs=("c1",)), child_of("p", "c3")]
    assert await cell.suspend(parent, *children) == ""
    await do(cell, "c1", "c2", "c3")
    return parent


async def test_a_task_that_starts_anew_spawns_others(cell: Cell) -> None:
    await family(cell)
    (resumed,) = await do(cell, "p")
    assert (resumed.resumed, resumed.generation) == (True, 0)
    assert await rerun(cell, "p") == 1
    (anew,) = await cell.claim(queues=["p"])
    assert (anew.attempt, anew.resumed, anew.generation) == (3, False, 1)
    assert await cell.queue.steps("p") == {}
    assert await cell.suspend(anew, child_of("p", "c1b")) == ""
    await do(cell, "c1b", "p")
    assert await cell.workflow_state("w") == "succeeded"
    await assert_sound(cell, "p", "c1", "c2", "c3", "c1b")


async def test_what_runs_again_is_not_held_to_the_deadline_of_its_first_run(cell: Cell) -> None:
    spec = to_blob(TaskSpec(capability="work", deadline_ms=cell.now + 1000))
    await cell.submit(*(Submission(name, name, spec, 1, task(name, workflow_id="w").options) for name in "ab"), workflow="w")
    (first,) = await do(cell, "a")
    await do(cell, "b", well=False)
    assert (first.again, first.spec.deadline_ms) == (False, cell.now + 1000)
    cell.now += 100_000
    assert await rerun(cell, "a") == 1
    assert await cell.workflows.put_back(["b"], now_ms=cell.now) == {}
    for name in "ab":
        (again,) = await cell.claim(queues=[name])
        handed = await AgentRegistry(cell.engine).handed("h1", [name])
        assert handed == [again]
        assert (again.again, again.attempt, again.spec.deadline_ms) == (True, 2, 0)
    assert await cell.queue.give_back("h1", [("b", 2)], now_ms=cell.now) == {}
    (retried,) = await cell.claim(queues=["b"])
    assert (retried.again, retried.spec.deadline_ms) == (True, 0)


async def test_a_parent_goes_through_its_code_again_when_its_sub_task_was(cell: Cell) -> None:
    await family(cell)
    await do(cell, "p")
    assert await rerun(cell, "c1") == 3
    assert await cell.states("p", "c1", "c2", "c3") == {"p": "waiting", "c1": "queued", "c2": "waiting", "c3": "succeeded"}
    assert list(await cell.queue.steps("p")) == ["plan"]
    await do(cell, "c1", "c2")
    (again,) = await do(cell, "p")
    assert (again.resumed, again.generation) == (True, 0)
    assert await cell.workflow_state("w") == "succeeded"
    await assert_sound(cell, "p", "c1", "c2", "c3")


async def test_running_sub_tasks_of_a_task_that_starts_anew_are_cancelled(cell: Cell) -> None:
    root = Submission("p", "p", to_blob(TaskSpec(capability="work")), 1, task("p", workflow_id="w").options)
    await cell.submit(root, task("q", queue="q", workflow_id="w"), workflow="w")
    (parent,) = await cell.claim(queues=["p"])
    await cell.suspend(parent, child_of("p", "c1"), child_of("p", "c2", needs=("c1",)))
    (running,) = await cell.claim(queues=["c1"])
    await cell.cancel("p")
    assert await rerun(cell, "p") == 1
    assert await cell.states("p", "c1", "c2") == {"p": "queued", "c1": "cancelled", "c2": "cancelled"}
    assert await cell.complete(running) == {0: "cancelled"}
    await do(cell, "p", "q")
    assert await cell.workflow_state("w") == "succeeded"


async def test_what_the_end_of_the_workflow_cancelled_goes_on(cell: Cell) -> None:
    await diamond(cell)
    await do(cell, "a", "b")
    await cell.cancel("e")  # by hand: it stays so
    await cell.queue.end_workflow("w", WorkflowState.FAILED, now_ms=cell.now)
    assert await rerun(cell, "b") == 3
    assert await cell.states(*"abcde") == {"a": "succeeded", "b": "queued", "c": "queued", "d": "waiting", "e": "cancelled"}
    await do(cell, *"bcd")
    assert await cell.workflow_state("w") == "cancelled"
    await assert_sound(cell, *"abcde")
    assert await rerun(cell, "d") == 1  # c has a result of its own by now


async def test_a_signal_asks_again_and_a_timer_runs_again(cell: Cell) -> None:
    await cell.submit(
        task("a", queue="a", workflow_id="w"),
        task("s", queue="go", kind="signal", workflow_id="w", needs=["a"]),
        task("timer", queue="t", kind="timer", delay_ms=500, workflow_id="w", needs=["s"]),
        workflow="w",
    )
    for payload in ("first", "second"):
        await do(cell, "a")
        await cell.workflows.signal("s", payload, now_ms=cell.now)
        assert await cell.states("timer") == {"timer": "delayed"}
        assert await cell.promote() == 1
        assert (await cell.queue.outcomes(["s"]))["s"].result == payload
        assert await cell.workflow_state("w") == "succeeded"
        if payload == "first":
            assert await rerun(cell, "a") == 3


async def test_a_quorum_counts_anew(cell: Cell) -> None:
    votes = [task(name, queue=name, workflow_id="w") for name in "abc"]
    await cell.submit(*votes, task("t", queue="t", workflow_id="w", needs=list("abc"), quorum=2), workflow="w")
    await do(cell, "a", "b", "t")
    assert await rerun(cell, "a") == 2
    assert await cell.states("t") == {"t": "waiting"}
    await do(cell, "c")  # b stands already
    assert await cell.states("t") == {"t": "queued"}
    await do(cell, "t", "a")
    assert await cell.workflow_state("w") == "succeeded"


async def test_what_was_undone_is_done_again_and_can_be_undone_again(cell: Cell) -> None:
    chain = [task(n, queue=n, workflow_id="w", needs=[need] if need else None) for n, need in (("a", ""), ("b", "a"), ("c", "b"))]
    await cell.submit(*chain, *(task(f"un{n}", queue=f"un{n}", workflow_id="w", compensates=n) for n in "ab"), workflow="w")
    for attempt in (1, 2):
        assert [got.attempt for got in await do(cell, "a", "b")] == [attempt] * 2
        await do(cell, "c", well=False)
        if attempt == 1:
            with pytest.raises(ResetRefused, match="compensates what it did"):
                await rerun(cell, "c")
        await do(cell, "unb", "una")
        assert await cell.workflow_state("w") == "failed"
        await assert_sound(cell, "a", "b", "c", "una", "unb")
        if attempt == 1:
            assert await rerun(cell, "c") == 3


async def test_a_rerun_after_success_arms_the_compensations_that_were_not_needed(cell: Cell) -> None:
    await cell.submit(task("a", queue="a", workflow_id="w"), task("b", queue="b", workflow_id="w", needs=["a"]), workflow="w")
    await cell.submit(*(task(f"un{n}", queue=f"un{n}", workflow_id="w", compensates=n) for n in "ab"))
    await do(cell, "a", "b")
    assert await rerun(cell, "b") == 1
    await do(cell, "b", well=False)
    await do(cell, "una")
    assert await cell.workflow_state("w") == "failed"
    assert await cell.states("unb") == {"unb": "cancelled"}


# dead letters


async def test_dead_letters_are_listed_newest_first_in_pages(cell: Cell) -> None:
    await cell.submit(task("t0", workflow_id="w"), task("keeper", queue="keeper", workflow_id="w"), workflow="w")
    await cell.submit(*(task(f"t{n}") for n in range(1, 6)))
    for got in await cell.claim(6):
        cell.now += 1 if got.id in {"t2", "t4"} else 0  # some in the same millisecond
        await cell.fail(got, final=True)
    everything = await cell.workflows.dead_letters()
    assert [letter.task_id for letter in everything] == [f"t{n}" for n in reversed(range(6))]
    newest = everything[0]
    assert (newest.capability, newest.attempt, newest.failures, newest.failure) == ("work", 1, 1, WHY)
    pages = [await cell.workflows.dead_letters(limit=3)]
    while pages[-1]:
        pages.append(await cell.workflows.dead_letters(limit=3, cursor=pages[-1][-1].cursor))
    assert [letter for page in pages for letter in page] == everything
    assert [letter.task_id for letter in await cell.workflows.dead_letters(workflow_id="w")] == ["t0"]


async def test_paging_goes_on_where_it_was_though_a_letter_left(cell: Cell) -> None:
    await cell.submit(*(task(f"t{n}") for n in range(4)))
    for got in await cell.claim(4):
        cell.now += 1
        await cell.fail(got, final=True)
    first = await cell.workflows.dead_letters(limit=2)
    assert await cell.workflows.put_back(["t2"], now_ms=cell.now) == {}
    rest = await cell.workflows.dead_letters(limit=9, cursor=first[-1].cursor)
    assert [letter.task_id for letter in (*first, *rest)] == ["t3", "t2", "t1", "t0"]


async def test_a_dead_letter_put_back_has_all_its_retries_and_keeps_its_steps(cell: Cell) -> None:
    await cell.submit(task("t", retries=1))
    attempt = await cell.run("t")
    await cell.queue.journal_steps([JournaledStep("t", 1, "s", to_blob(1))], now_ms=cell.now)
    await cell.fail(attempt)
    await cell.promote()
    await cell.fail(await cell.run("t"))
    assert await cell.workflows.put_back(["t", "nobody"], now_ms=cell.now) == {"nobody": "unknown"}
    third = await cell.run("t")
    assert (third.attempt, third.failures, third.resumed) == (3, 0, True)
    assert await cell.workflows.dead_letters() == []
    await cell.fail(third)
    assert await cell.states("t") == {"t": "delayed"}
    assert await cell.workflows.put_back(["t"], now_ms=cell.now) == {"t": "unknown"}


async def test_putting_back_opens_the_workflow_and_unfails_what_failed_for_want_of_it(cell: Cell) -> None:
    await diamond(cell)
    await do(cell, "a", "e")
    await do(cell, "b", well=False)
    await do(cell, "c")
    assert await cell.workflow_state("w") == "failed"
    assert await cell.workflows.put_back(["b"], now_ms=cell.now) == {}
    assert await cell.states(*"abcde") == {"a": "succeeded", "b": "queued", "c": "succeeded", "d": "waiting", "e": "succeeded"}
    await assert_sound(cell, *"abcde")
    await do(cell, *"bd")
    assert await cell.workflow_state("w") == "succeeded"


async def test_a_failed_parent_goes_on_with_its_sub_task_that_was_put_back(cell: Cell) -> None:
    root = Submission("p", "p", to_blob(TaskSpec(capability="work")), 1, task("p", workflow_id="w").options)
    await cell.submit(root, workflow="w", root="p")
    (parent,) = await cell.claim(queues=["p"])
    await cell.suspend(parent, child_of("p", "c1"), child_of("p", "c2"), wait_for=["c1"])
    await do(cell, "c1", well=False)
    await do(cell, "p", well=False)
    assert await cell.states("c2") == {"c2": "cancelled"}
    assert await cell.workflows.put_back(["c1"], now_ms=cell.now) == {}
    assert await cell.states("p", "c1", "c2") == {"p": "waiting", "c1": "queued", "c2": "queued"}
    await do(cell, "c1", "c2", "p")
    assert await cell.workflow_state("w") == "succeeded"
    await assert_sound(cell, "p", "c1", "c2")


async def test_a_compensation_that_failed_is_not_put_back(cell: Cell) -> None:
    await cell.submit(task("a", queue="a", workflow_id="w"), task("b", queue="b", workflow_id="w"), workflow="w")
    await cell.submit(task("una", queue="una", workflow_id="w", compensates="a"))
    await do(cell, "a")
    await do(cell, "b", "una", well=False)
    assert await cell.workflow_state("w") == "failed"
    before = await cell.dump()
    assert await cell.workflows.put_back(["una"], now_ms=cell.now) == {"una": "compensation"}
    assert await cell.dump() == before


async def test_a_workflow_that_is_too_large_is_left_alone(cell: Cell) -> None:
    batch = [task(f"t{n}", queue=f"q{n % 2}", workflow_id="w") for n in range(5001)]
    await cell.submit(*batch, workflow="w")
    (got,) = await cell.claim(queues=["q0"])
    await cell.fail(got, final=True)
    with pytest.raises(ResetRefused, match="too many tasks"):
        await rerun(cell, got.id)
    assert await cell.workflows.put_back([got.id], now_ms=cell.now) == {got.id: "too_large"}


async def test_discarded_letters_leave_the_list_and_stay_failed(cell: Cell) -> None:
    await cell.submit(task("t"))
    await cell.fail(await cell.run("t"), final=True)
    assert await cell.workflows.discard(["t", "nobody"]) == 1
    assert await cell.workflows.dead_letters() == []
    assert await cell.states("t") == {"t": "failed"}
    assert await cell.workflows.put_back(["t"], now_ms=cell.now) == {"t": "unknown"}
