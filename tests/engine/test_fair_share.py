"""Who goes next: tenants and workflows share a queue by cost, priorities are head starts, and nothing starves.

The order is told by one agent that takes one task after the other.
"""

from collections import Counter

import pytest
from tests.engine.cell import Cell, done, task

from amas.engine.queue import Spent

HOUR_S = 3600


async def served(cell: Cell, count: int, *queues: str) -> list[str]:
    """Return the first parts of the names of the next tasks, one claim each."""
    names = []
    for _ in range(count):
        (got,) = await cell.claim(1, queues=queues or ("work",))
        names.append(got.id.partition("-")[0])
    return names


async def flood(cell: Cell, name: str, count: int, **options: object) -> None:
    await cell.submit(*(task(f"{name}-{n:04}", **options) for n in range(count)))


async def test_one_flow_is_served_in_the_order_of_submission(cell: Cell) -> None:
    await cell.submit(task("z"), task("a"))
    await cell.submit(task("m"))
    assert await served(cell, 3) == ["z", "a", "m"]


async def test_a_late_tenant_does_not_wait_behind_a_flood(cell: Cell) -> None:
    await flood(cell, "big", 50, tenant="big")
    await served(cell, 20)
    await flood(cell, "small", 1, tenant="small")
    assert "small" in await served(cell, 2)


async def test_nobody_pays_for_having_been_alone(cell: Cell) -> None:
    """A tenant that had the fleet for itself shares evenly from the moment that another comes."""
    await flood(cell, "early", 60, tenant="early")
    await served(cell, 30)
    await flood(cell, "late", 30, tenant="late")
    shares = Counter(await served(cell, 40))
    assert abs(shares["early"] - shares["late"]) <= 2


async def test_a_silent_tenant_saves_nothing_up(cell: Cell) -> None:
    await flood(cell, "seldom", 1, tenant="seldom")
    await flood(cell, "busy", 50, tenant="busy")
    await served(cell, 41)
    await flood(cell, "seldom", 10, tenant="seldom")
    assert Counter(await served(cell, 10))["busy"] >= 4


async def test_weights_are_shares(cell: Cell) -> None:
    await cell.queue.weigh({"gold": 3})
    await flood(cell, "gold", 60, tenant="gold")
    await flood(cell, "plain", 60, tenant="plain")
    shares = Counter(await served(cell, 40))
    assert shares["gold"] == pytest.approx(30, abs=2)


async def test_workflows_of_a_tenant_share_what_the_tenant_has(cell: Cell) -> None:
    """Ten workflows of one tenant don't get ten times what another's one gets, and each gets something.

    What is queued keeps its place, so those that were there before the tenant had ten stand closer together than the last.
    """
    for n in range(10):
        await cell.submit(workflow=f"w{n}")
    await cell.submit(workflow="v")
    for n in range(10):
        await flood(cell, f"many{n}", 8, tenant="many", workflow_id=f"w{n}")
    await flood(cell, "one", 80, tenant="one", workflow_id="v")
    first = Counter(await served(cell, 80))
    shares = Counter("one" if name == "one" else "many" for name in first.elements())
    assert shares["one"] >= 20
    counts = [first[f"many{n}"] for n in range(10)]
    assert min(counts) > 0


async def test_cost_counts_and_not_number(cell: Cell) -> None:
    await flood(cell, "dear", 40, tenant="dear", cost_ms=3000)
    await flood(cell, "cheap", 40, tenant="cheap", cost_ms=1000)
    shares = Counter(await served(cell, 40))
    assert shares["cheap"] == pytest.approx(30, abs=2)


async def test_an_undeclared_cost_is_learned(cell: Cell) -> None:
    """Tasks of a queue turn out to take 4 s each; beside them stand some that declare 1 s."""
    for n in range(40):
        await cell.submit(task(f"lesson-{n}"))
        (got,) = await cell.claim(1)
        await cell.queue.complete("h1", [done(got)], spent=[Spent("work", 1, 4_000_000)], now_ms=cell.now)
    await flood(cell, "learned", 40, tenant="learned")
    await flood(cell, "declared", 40, tenant="declared", cost_ms=1000)
    shares = Counter(await served(cell, 40))
    assert shares["declared"] > 2 * shares["learned"]


@pytest.mark.parametrize(("high", "low"), [(1, 0), (2, 1), (3, 2)])
async def test_a_priority_is_a_head_start_and_no_monopoly(cell: Cell, high: int, low: int) -> None:
    """With tasks of an hour each, the higher one's lead of so many hours is used up, and then both are served."""
    lead = {1: 1, 2: 9, 3: 90}[high]
    await flood(cell, "low", 5, priority=low, cost_ms=HOUR_S * 1000)
    await flood(cell, "high", lead + 10, priority=high, cost_ms=HOUR_S * 1000)
    order = await served(cell, lead + 10)
    assert set(order[: lead - 1]) <= {"high"}
    assert Counter(order[lead + 2 :])["low"] >= 3


async def test_a_priority_goes_before_its_own_tenants_backlog(cell: Cell) -> None:
    await flood(cell, "normal", 50)
    await flood(cell, "urgent", 1, priority=3)
    assert await served(cell, 1) == ["urgent"]


async def test_queues_of_a_pool_share_its_agents(cell: Cell) -> None:
    await flood(cell, "a", 50, queue="a")
    await flood(cell, "b", 5, queue="b")
    assert Counter(await served(cell, 10, "a", "b")) == {"a": 5, "b": 5}


async def test_a_priority_counts_across_the_queues_of_a_pool(cell: Cell) -> None:
    await flood(cell, "a", 20, queue="a")
    await flood(cell, "b", 3, queue="b", priority=3)
    assert await served(cell, 4, "a", "b") == ["b", "b", "b", "a"]


async def test_one_large_claim_shares_like_many_small_ones(cell: Cell) -> None:
    await flood(cell, "a", 100, queue="a")
    await flood(cell, "b", 100, queue="b")
    got = Counter(one.id[0] for one in await cell.claim(80, queues=("a", "b")))
    assert got["a"] == pytest.approx(40, abs=10)


async def test_weights_are_those_that_were_set_last(cell: Cell) -> None:
    await cell.queue.weigh({"old": 10})
    await cell.queue.weigh({"gold": 3})
    await flood(cell, "gold", 40, tenant="gold")
    await flood(cell, "old", 40, tenant="old")
    assert Counter(await served(cell, 40))["gold"] == pytest.approx(30, abs=2)
