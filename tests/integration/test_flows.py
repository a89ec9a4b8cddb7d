"""Flows on a real engine with real hosts: maps, conditions, waits, inner flows, new plans, and starting them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from host_bench import Bench
from tests.waiting import until_async

from amas import IdempotencyConflict, Workflow
from amas.client import Fleet, NewTask
from amas.engine.journal import START, Journal
from amas.engine.signals import open_approvals
from amas.engine.workflows import Workflows
from amas.errors import FlowInvalid, SignalRefused, TaskFailed
from amas.model.fleet import PoolSpec
from amas.model.flow import Replan
from amas.model.journal import task_changes
from amas.model.states import TaskState, WorkflowState
from amas.orchestration import flow_start

LIMIT_S = 60.0


def pool(function: str, **changes: Any) -> PoolSpec:
    return PoolSpec(
        **{"name": function, "agent": f"flow_samples:{function}", "capabilities": (f"flow.{function}",), "tasks_per_agent": 8}
        | changes
    )


async def tick(bench: Bench) -> None:
    """Do the timers' duty until cancelled."""
    workflows = Workflows(bench.engine)
    while True:
        await bench.queue.promote()
        await workflows.expire()
        await workflows.tend()
        await asyncio.sleep(0.01)


@pytest.fixture
async def fleet(bench: Bench) -> AsyncIterator[Fleet]:
    names = ("echo", "numbers", "fail", "plan", "waits", "first", "busy", "count")
    pools = [
        *map(pool, names),
        pool("double", options={"bad": 13}),
        pool("note", options={"ledger": str(bench.folder / "ledger")}),
    ]
    async with bench.host(pools), Fleet.connect(bench.url, cell=bench.cell) as connected:
        ticking = asyncio.create_task(tick(bench))
        yield connected
        ticking.cancel()


def mapped(count: int, **options: Any) -> Workflow:
    flow = Workflow("mapped", output="each")
    numbers = flow.task("numbers", "flow.numbers", count)
    flow.map("each", over=numbers, capability="flow.double", **options)
    return flow


async def test_needs_reach_each_task_under_their_keys_and_results_are_known_by_key(fleet: Fleet) -> None:
    flow = Workflow("diamond")
    top = flow.task("top", "flow.echo", 1)
    sides = [flow.task(side, "flow.echo", side, needs=top) for side in ("left", "right")]
    flow.task("bottom", "flow.echo", 2, needs=sides)
    handle = await fleet.start(flow, tenant="acme")
    results = await handle.result(timeout_s=LIMIT_S)
    assert list(results) == ["top", "left", "right", "bottom"]
    assert sorted(results["bottom"]["needs"]) == ["left", "right"]
    assert results["bottom"]["needs"]["left"]["needs"]["top"]["input"] == 1
    assert await handle.result("top") == {"input": 1, "needs": {}, "failures": []}
    assert (await handle.progress()).succeeded == 4


@pytest.mark.parametrize("count", [0, 1, 50])
async def test_a_map_returns_its_results_in_the_order_of_the_list(fleet: Fleet, count: int) -> None:
    handle = await fleet.start(mapped(count, on_failure="skip"))
    assert await handle.result(timeout_s=LIMIT_S) == [None if number == 13 else number * 2 for number in range(count)]


async def test_a_map_over_thousands_goes_out_in_slices(fleet: Fleet) -> None:
    handle = await fleet.start(mapped(2500, on_failure="skip"))
    assert await handle.result(timeout_s=LIMIT_S) == [None if number == 13 else number * 2 for number in range(2500)]


async def test_an_element_that_fails_for_good_fails_the_map_and_says_which(fleet: Fleet) -> None:
    handle = await fleet.start(mapped(50))
    with pytest.raises(TaskFailed, match="task 'each': element 13 failed: an unlucky number"):
        await handle.result(timeout_s=LIMIT_S)


async def test_a_condition_that_is_false_ends_its_task_with_null_and_nothing_runs(fleet: Fleet) -> None:
    flow = Workflow("branches")
    top = flow.task("top", "flow.echo", {"size": 3})
    flow.task("large", "flow.fail", needs=top, when="needs.top.input.size > `10`")
    flow.task("small", "flow.echo", "small", needs=top, when="needs.top.input.size <= `10`")
    results = await (await fleet.start(flow)).result(timeout_s=LIMIT_S)
    assert results["large"] is None
    assert results["small"]["input"] == "small"


async def test_a_condition_that_cannot_be_worked_out_fails_its_task_at_once(fleet: Fleet) -> None:
    task = await fleet.submit("flow.echo", "text", when="length(`3`) > `1`")
    with pytest.raises(TaskFailed, match="can't be worked out here"):
        await task.result(timeout_s=LIMIT_S)


async def test_a_flow_within_a_flow_gets_the_needs_of_its_task_and_gives_its_output(fleet: Fleet) -> None:
    inner = Workflow("inner", output="last")
    first = inner.task("first", "flow.echo", "first")
    inner.task("last", "flow.echo", "last", needs=first)
    outer = Workflow("outer", output="inner")
    before = outer.task("before", "flow.echo", "before")
    outer.sub("inner", inner, needs=before)
    last = await (await fleet.start(outer)).result(timeout_s=LIMIT_S)
    assert last["needs"]["first"]["needs"]["before"]["input"] == "before"


@pytest.mark.parametrize(
    ("task", "result"),
    [
        ("with a result", ["no_way", 1, ["top"]]),
        ("with a task", {"input": 1, "needs": {"top": None}, "failures": []}),
        ("in the end", {"input": 2, "needs": {"top": None}, "failures": []}),
    ],
)
async def test_a_new_plan_takes_the_place_of_what_failed(fleet: Fleet, task: str, result: Any) -> None:
    flow = Workflow("replanned", output="work")
    top = flow.task("top", "flow.echo", when="`false`")
    flow.task("work", "flow.fail", task, needs=top, replan=Replan(capability="flow.plan", rounds=2))
    assert await (await fleet.start(flow)).result(timeout_s=LIMIT_S) == result


@pytest.mark.parametrize(("task", "why"), [("in the end", "no way to succeed"), ("with nonsense", "flow.plan answered no plan")])
async def test_rounds_of_new_plans_are_bounded(fleet: Fleet, task: str, why: str) -> None:
    flow = Workflow("hopeless")
    flow.task("work", "flow.fail", task, replan="flow.plan")
    with pytest.raises(TaskFailed, match=why):
        await (await fleet.start(flow)).result(timeout_s=LIMIT_S)


async def test_a_task_may_need_any_or_so_many_of_its_needs(fleet: Fleet) -> None:
    flow = Workflow("votes")
    good = [flow.task(f"good{number}", "flow.echo", number) for number in range(2)]
    bad = flow.task("bad", "flow.fail", "x", on_failure="skip")
    flow.task("any", "flow.echo", needs=[bad, good[0]], wait="any")
    flow.task("two", "flow.echo", needs=[bad, *good], wait=2)
    results = await (await fleet.start(flow)).result(timeout_s=LIMIT_S)
    assert sorted(results["any"]["needs"]) == ["good0"]
    assert sorted(results["two"]["needs"]) == ["good0", "good1"]


async def test_a_map_of_which_some_are_enough_leaves_the_rest(fleet: Fleet) -> None:
    flow = Workflow("quorum", output="each")
    numbers = flow.task("numbers", "flow.numbers", 3)
    flow.map("each", over=numbers, capability="flow.waits", input={"$": "item"}, enough=2)
    handle = await fleet.start(flow)

    async def waiting() -> list[str]:
        views = [view for view in await fleet.queue.workflow_tasks(handle.id, limit=1000) if view.capability == "flow.waits"]
        return sorted((view.key, view.id) for view in views)[1:] if len(views) == 3 else []

    for _, task_id in await until_async(waiting):
        await fleet.signal(task_id, "go", task_id[-4:])
    first, second, third = await handle.result(timeout_s=LIMIT_S)
    assert first is None
    assert second["said"] and third["said"]


async def test_elements_at_a_time_are_bounded(fleet: Fleet) -> None:
    flow = Workflow("lanes", output="each")
    numbers = flow.task("numbers", "flow.numbers", 20)
    flow.map("each", over=numbers, capability="flow.busy", at_once=3)
    most = max(await (await fleet.start(flow)).result(timeout_s=LIMIT_S))
    assert 1 < most <= 3


async def test_elements_of_two_workflows_share_what_a_key_allows(fleet: Fleet) -> None:
    flow = Workflow("keyed", output="each")
    numbers = flow.task("numbers", "flow.numbers", 10)
    flow.map("each", over=numbers, capability="flow.busy", concurrency={"customer-42": 2})
    handles = [await fleet.start(flow) for _ in range(2)]
    most = max([max(await handle.result(timeout_s=LIMIT_S)) for handle in handles])
    assert 1 <= most <= 2


async def test_an_agent_sleeps_and_waits_for_a_signal_without_holding_anything(fleet: Fleet) -> None:
    task = await fleet.submit("flow.waits", 0)
    await fleet.signal(task, "go", {"speed": 3})  # most likely before it waits: it is kept
    result = await task.result(timeout_s=LIMIT_S)
    assert result["said"] == {"speed": 3}
    assert result["began"] == 1
    with pytest.raises(SignalRefused):
        await fleet.signal(task, "go", 4)


async def test_a_child_process_sleeps_waits_and_goes_on_with_the_first(fleet: Fleet, bench: Bench) -> None:
    """What an agent in a process of its own asks of its host is the same."""
    apart = [
        pool(function, name=f"{function}-apart", capabilities=(f"apart.{function}",), isolation="process")
        for function in ("first", "waits")
    ]
    async with bench.host(apart, "h2"):
        waits = await fleet.submit("apart.waits", 0)
        first = await fleet.submit("apart.first", {"wait": "any", "of": ["flow.echo", "flow.nobody"]})
        await fleet.signal(waits, "go", "now")
        assert (await waits.result(timeout_s=LIMIT_S))["said"] == "now"
        assert await first.result(timeout_s=LIMIT_S) == {"k0": "succeeded", "k1": "queued"}


async def test_a_signal_that_nobody_sends_expires(fleet: Fleet) -> None:
    task = await fleet.submit("flow.waits", 0.01)
    assert (await task.result(timeout_s=LIMIT_S))["said"] == "nobody sent the signal 'go' in time"


@pytest.mark.parametrize(
    ("wait", "of", "states"),
    [
        ("any", ["flow.echo", "flow.nobody"], {"succeeded", "queued"}),
        (2, ["flow.fail", "flow.nobody"], {"failed", "queued"}),
        ("all", ["flow.fail", "flow.echo"], {"failed", "succeeded"}),
    ],
)
async def test_an_agent_goes_on_when_enough_of_its_sub_tasks_have_succeeded(
    fleet: Fleet, wait: Any, of: list[str], states: set[str]
) -> None:
    task = await fleet.submit("flow.first", {"wait": wait, "of": of})
    assert set((await task.result(timeout_s=LIMIT_S)).values()) == states


async def test_signals_timers_and_approvals_of_a_flow(fleet: Fleet) -> None:
    flow = Workflow("release")
    ready = flow.timer("pause", 0.01)
    paid = flow.signal("paid", needs=ready)
    ok = flow.approval("release", "Ship it?", needs=paid, input={"version": "1.2"})
    flow.task("ship", "flow.echo", needs=[paid, ok])
    handle = await fleet.start(flow)
    await handle.signal("paid", 12)  # before it waits

    asked = await until_async(lambda: open_approvals(fleet.engine))
    assert [(one.key, one.question, one.about, one.workflow_id) for one in asked] == [
        ("release", "Ship it?", {"version": "1.2"}, handle.id)
    ]
    await handle.approve("release", by="ada")
    await handle.approve("release", by="ada")  # the same again changes nothing
    with pytest.raises(SignalRefused):
        await handle.refuse("release")
    results = await handle.result(timeout_s=LIMIT_S)
    assert results["ship"]["needs"] == {"paid": 12, "release": {"approved": True, "by": "ada"}}
    assert await open_approvals(fleet.engine) == []


async def test_a_refusal_and_an_expiry_fail_their_approval(fleet: Fleet) -> None:
    flow = Workflow("refused")
    flow.approval("now", expires_s=0.01)
    handle = await fleet.start(flow)
    with pytest.raises(TaskFailed, match="task 'now': nobody answered in time"):
        await handle.result(timeout_s=LIMIT_S)
    handle = await fleet.start(flow_of_approval())
    await handle.refuse("ok", by="ada", comment="too early")
    with pytest.raises(TaskFailed, match="task 'ok': ada refused: too early"):
        await handle.result(timeout_s=LIMIT_S)
    assert (await handle.failures())["after"].code == "dependency_failed"


def flow_of_approval() -> Workflow:
    flow = Workflow("asks")
    flow.task("after", "flow.echo", needs=flow.approval("ok"))
    return flow


async def test_what_was_done_is_undone_when_the_workflow_fails(fleet: Fleet, bench: Bench) -> None:
    flow = Workflow("trip")
    hotel = flow.task("hotel", "flow.note", "booked", undo=("flow.note", "cancelled"))
    flow.task("flight", "flow.fail", "fly", needs=hotel)
    handle = await fleet.start(flow)
    assert await handle.state(timeout_s=LIMIT_S) is WorkflowState.FAILED
    assert (bench.folder / "ledger").read_text().splitlines() == ["hotel booked", "amas/undo/hotel cancelled"]


async def test_an_inner_flow_undoes_its_own_when_the_workflow_fails(fleet: Fleet, bench: Bench) -> None:
    inner = Workflow("inner")
    inner.task("hotel", "flow.note", "booked", undo=("flow.note", "cancelled"))
    flow = Workflow("trip")
    flow.task("flight", "flow.fail", "fly", needs=flow.sub("stay", inner))
    handle = await fleet.start(flow)
    assert await handle.state(timeout_s=LIMIT_S) is WorkflowState.FAILED
    assert (bench.folder / "ledger").read_text().splitlines() == ["hotel booked", "amas/undo/hotel cancelled"]


async def test_a_workflow_is_paused_resumed_done_again_and_cancelled(fleet: Fleet) -> None:
    handle = await fleet.start(flow_of_approval())
    assert await handle.pause()
    assert not await handle.pause()
    await handle.approve("ok")
    assert await handle.resume()
    assert await handle.state(timeout_s=LIMIT_S) is WorkflowState.SUCCEEDED
    assert await handle.rerun("after") == 1
    assert await handle.state(timeout_s=LIMIT_S) is WorkflowState.SUCCEEDED
    assert not await handle.cancel()
    other = await fleet.start(flow_of_approval())
    assert await other.cancel()
    assert await other.state(timeout_s=LIMIT_S) is WorkflowState.CANCELLED


async def test_a_workflow_is_found_again_by_its_id(fleet: Fleet, bench: Bench) -> None:
    handle = await fleet.start(mapped(3))
    async with Fleet.connect(bench.url, cell=bench.cell) as other:
        assert await other.workflow(handle.id).result(timeout_s=LIMIT_S) == [0, 2, 4]


async def test_a_flow_with_mistakes_stores_nothing_and_names_each(fleet: Fleet) -> None:
    flow = Workflow("wrong")
    flow.task("a", "flow.echo", needs=["b", "missing"], when="oh no")
    flow.task("b", "flow.echo", needs="a")
    with pytest.raises(FlowInvalid) as raised:
        await fleet.start(flow)
    assert len(raised.value.problems) == 3
    assert "needs 'missing'" in str(raised.value)
    assert "a -> b -> a" in str(raised.value)
    assert (await fleet.queue.totals())["open_workflows"] == 0


async def test_the_same_flow_under_one_key_is_the_same_workflow(fleet: Fleet) -> None:
    first = await fleet.start(mapped(3), idempotency_key="night 1")
    again = await fleet.start(mapped(3), idempotency_key="night 1")
    assert again.id == first.id
    assert await again.result(timeout_s=LIMIT_S) == [0, 2, 4]
    with pytest.raises(IdempotencyConflict):
        await fleet.start(mapped(4), idempotency_key="night 1")


async def test_tasks_under_one_key_are_the_first_ones(fleet: Fleet, bench: Bench) -> None:
    tasks = [NewTask(capability="flow.echo", input=number) for number in range(3)]
    first = await fleet.submit_batch(tasks, idempotency_key="k")
    again = await fleet.submit_batch(tasks, idempotency_key="k")
    async with Fleet.connect(bench.url, cell=bench.cell) as other:
        elsewhere = await other.submit_batch(tasks, idempotency_key="k")
        assert [handle.id for handle in first] == [handle.id for handle in again] == [handle.id for handle in elsewhere]
        for fleet_, handles in ((fleet, first), (fleet, again), (other, elsewhere)):
            assert [result["input"] for result in await fleet_.results(handles, timeout_s=LIMIT_S)] == [0, 1, 2]
    with pytest.raises(IdempotencyConflict):
        await fleet.submit("flow.echo", 0, idempotency_key="k")


async def test_a_task_past_its_deadline_fails_where_it_waits(fleet: Fleet) -> None:
    task = await fleet.submit("flow.nobody", deadline_s=0.01)
    with pytest.raises(TaskFailed, match="time was up"):
        await task.result(timeout_s=LIMIT_S)


async def test_two_who_start_a_large_flow_under_one_key_at_once_start_it_once(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_start, "BATCH", 20)
    handles = await asyncio.gather(*(fleet.start(wide(200), idempotency_key="wide") for _ in range(3)))
    assert len({handle.id for handle in handles}) == 1
    assert await handles[0].result(timeout_s=LIMIT_S) == 10
    changes = [change for entry in await Journal(fleet.engine).read(START, limit=10_000) for change in task_changes(entry)]
    succeeded = [change.task_id for change in changes if change.state is TaskState.SUCCEEDED]
    assert len(succeeded) == len(set(succeeded)) == 202


def wide(count: int) -> Workflow:
    flow = Workflow("wide", output="last")
    flow.task("last", "flow.count", needs=[f"t{number}" for number in range(0, count, count // 10)])
    for number in range(count):
        flow.task(f"t{number}", "flow.echo", number, needs=[f"t{number - 1}"] if number % 2 else ())
    return flow


async def test_a_submitter_that_dies_half_way_is_gone_on_with(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its third batch never arrives; what it stored runs, and the workflow doesn't end before the rest is in."""
    monkeypatch.setattr(flow_start, "BATCH", 50)
    whole, batches = fleet.queue.submit, 0

    async def dying(*arguments: Any, **options: Any) -> bytes | None:
        nonlocal batches
        batches += 1
        if batches == 3:
            raise asyncio.CancelledError
        return await whole(*arguments, **options)

    monkeypatch.setattr(fleet.queue, "submit", dying)
    with pytest.raises(asyncio.CancelledError):
        await fleet.start(wide(200), idempotency_key="wide")
    monkeypatch.setattr(fleet.queue, "submit", whole)

    async def ran() -> bool:
        totals = await fleet.queue.totals()
        return totals.get("succeeded", 0) == 99  # of two batches, one task of which is what keeps it open

    await until_async(ran)
    assert (await fleet.queue.totals())["open_workflows"] == 1
    handle = await fleet.start(wide(200), idempotency_key="wide")
    assert await handle.result(timeout_s=LIMIT_S) == 10
    assert (await handle.progress()).succeeded == 202
    assert (await fleet.start(wide(200), idempotency_key="wide")).id == handle.id
