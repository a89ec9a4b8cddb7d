"""Flows on a real engine with real hosts: maps, conditions, waits, inner flows, new plans, and starting them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench

from amas import Workflow
from amas.client import Fleet
from amas.engine.connection import Engine
from amas.engine.workflows import Workflows
from amas.errors import TaskFailed
from amas.model.fleet import PoolSpec
from amas.model.task import RetryPolicy

LIMIT_S = 20.0
ONCE = RetryPolicy(retries=0)


def pool(function: str, **changes: Any) -> PoolSpec:
    return PoolSpec(
        **{"name": function, "agent": f"flow_samples:{function}", "capabilities": (f"flow.{function}",), "tasks_per_agent": 8}
        | changes
    )


@pytest.fixture
def bench(engine: Engine, engine_url: str, tmp_path: Path) -> Bench:
    return Bench(engine, engine_url, tmp_path)


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
    names = ("echo", "numbers", "fail", "plan", "waits", "first")
    pools = [*map(pool, names), pool("double", options={"bad": 13})]
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
    flow.task("work", "flow.fail", task, needs=top, replan="flow.plan", retry=ONCE) if task != "in the end" else flow.task(
        "work", "flow.fail", task, needs=top, replan={"capability": "flow.plan", "rounds": 2}
    )
    assert await (await fleet.start(flow)).result(timeout_s=LIMIT_S) == result


@pytest.mark.parametrize(("task", "why"), [("in the end", "no way to succeed"), ("with nonsense", "flow.plan answered no plan")])
async def test_rounds_of_new_plans_are_bounded(fleet: Fleet, task: str, why: str) -> None:
    flow = Workflow("hopeless")
    flow.task("work", "flow.fail", task, replan="flow.plan")
    with pytest.raises(TaskFailed, match=why):
        await (await fleet.start(flow)).result(timeout_s=LIMIT_S)
