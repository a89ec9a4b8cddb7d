"""Resources that a claim respects: concurrency keys, provider rates, budgets."""

import pytest
from tests.engine.cell import Cell, done, task

from amas.engine.connection import Engine
from amas.engine.limits import Limits
from amas.errors import AttemptStale, BudgetExhausted, LimitUnknown
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts, Reserve, Usage
from amas.model.states import WorkflowState
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, Submission

MINUTE_MS = 61_000
"""A second counts for a minute and for what is left of it."""


@pytest.fixture
def limits(engine: Engine) -> Limits:
    return Limits(engine)


def keyed(task_id: str, *keys: tuple[str, int], **options: object) -> Submission:
    return task(task_id, reserves=[Reserve(f"slots:{key}", 1, limit) for key, limit in keys], **options)


def calling(task_id: str, provider: str = "openai", *, tokens: int = 0, **options: object) -> Submission:
    return task(task_id, reserves=[Reserve(f"rate:{provider}", tokens)], **options)


def costing(task_id: str, *, usd_micro: int = 0, calls: int = 0, **options: object) -> Submission:
    reserves = [Reserve("usd", usd_micro), Reserve("calls", calls)]
    return task(task_id, reserves=reserves, **options)


def used(claimed: Claimed, usage: Usage) -> Completion:
    return Completion(claimed.id, claimed.attempt, to_blob("done"), usage)


async def ids(cell: Cell, limit: int = 10, **options: object) -> list[str]:
    return [got.id for got in await cell.claim(limit, **options)]  # type: ignore[arg-type]


async def open_workflow(cell: Cell, budget: Amounts, *batch: Submission) -> None:
    opening = WorkflowOpening("w", to_blob(None), "", budget.units())
    await cell.queue.submit(batch, workflow=opening, now_ms=cell.now)


# -- slots


async def test_no_more_than_the_limit_hold_a_key_and_the_rest_are_parked_in_order(cell: Cell, limits: Limits) -> None:
    await cell.submit(*(keyed(f"t{n}", ("c42", 3)) for n in range(6)), task("other"))
    got = await cell.claim(10)
    assert [one.id for one in got] == ["t0", "t1", "t2", "other"]
    assert await limits.parked_on("t4") == ("slots:c42",)
    assert await limits.parked_on("t1") == await limits.parked_on("nobody") == ()
    (slots,) = (await limits.all()).slots
    assert (slots.key, slots.limit, slots.held, slots.parked) == ("c42", 3, 3, 3)
    assert await cell.places("t4") == set()
    await cell.complete(got[1])
    assert await ids(cell) == ["t3"]
    await cell.complete(got[0], got[2])
    assert await ids(cell) == ["t4", "t5"]


async def test_the_last_said_limit_holds_and_it_can_be_changed(cell: Cell, limits: Limits) -> None:
    await cell.submit(*(keyed(f"t{n}", ("k", 5)) for n in range(4)))
    await cell.submit(keyed("t4", ("k", 1)))
    assert await ids(cell) == ["t0"]
    marker = await cell.journal.last_id()
    await limits.set_slots("k", 3, now_ms=cell.now)
    assert [entry.kind.value for entry in await cell.entries(marker)] == ["limit"]
    assert await ids(cell) == ["t1", "t2"]
    await limits.remove("slots:k", now_ms=cell.now)  # each task's own word holds again
    assert await ids(cell) == ["t3"]


ENDS = ("complete", "fail", "give_back", "suspend", "cancel", "die", "leave", "come back", "end workflow")


@pytest.mark.parametrize("end", ENDS)
async def test_however_an_attempt_ends_its_slot_is_free(cell: Cell, limits: Limits, end: str) -> None:
    await cell.submit(keyed("first", ("k", 1), workflow_id="w"), workflow="w")
    await cell.submit(keyed("second", ("k", 1)))
    (first,) = await cell.claim(2)
    await cell.host("h2")
    match end:
        case "complete":
            await cell.complete(first)
        case "fail":
            await cell.fail(first)
        case "give_back":
            await cell.queue.give_back("h1", [(first.id, first.attempt)], now_ms=cell.now)
        case "suspend":
            await cell.suspend(first, task("child", queue="elsewhere"))
        case "cancel":
            await cell.cancel("first")
        case "die":
            await cell.reap()
        case "leave":
            await cell.hosts.leave("h1", now_ms=cell.now)
        case "come back":
            await cell.host()
        case _:
            await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
    again = end in {"give_back", "die", "leave", "come back"}
    assert await ids(cell, host="h3") == (["first"] if again else ["second"])
    assert (await limits.all()).slots[0].held == 1


async def test_a_parked_task_that_is_cancelled_leaves_nothing_behind(cell: Cell, limits: Limits) -> None:
    await cell.submit(*(keyed(f"t{n}", ("k", 1)) for n in range(4)))
    (first,) = await cell.claim(4)
    await cell.cancel("t1")
    await cell.complete(first)
    await cell.cancel("t2")  # which was woken by that end, and not yet taken up
    assert await ids(cell) == ["t3"]
    assert (await limits.all()).slots[0].parked == 0
    assert {name for name in await cell.keys() if name.startswith("park")} == set()


async def test_several_keys_are_taken_together_or_not_at_all(cell: Cell) -> None:
    await cell.submit(keyed("a", ("x", 1)), keyed("both", ("x", 1), ("y", 1)), keyed("b", ("y", 1)))
    a, b = await cell.claim(3)
    assert (a.id, b.id) == ("a", "b")  # `both` lacks x, and doesn't hold y meanwhile
    await cell.complete(a)
    assert await ids(cell) == []
    await cell.complete(b)
    assert await ids(cell) == ["both"]


async def test_two_busy_keys_are_free_together_for_one_that_waits_long(cell: Cell) -> None:
    """Each of two keys always has somebody who wants it alone; one that needs both gets its turn."""
    await cell.submit(keyed("x0", ("x", 1)), keyed("y0", ("y", 1)))
    await cell.submit(keyed("both", ("x", 1), ("y", 1)))
    held = {one.id[0]: one for one in await cell.claim(3)}
    for n in range(1, 40):
        await cell.submit(*(keyed(f"{key}{n}", (key, 1)) for key in "xy"))
        await cell.complete(held.pop("xy"[n % 2]))
        held |= {one.id[0]: one for one in await cell.claim(3)}
        if "b" in held:
            return
    raise AssertionError("it never got both")


async def test_a_woken_task_that_nobody_takes_holds_up_no_other_queue(cell: Cell) -> None:
    await cell.submit(keyed("first", ("k", 1)))
    (first,) = await cell.claim()
    await cell.submit(keyed("dead", ("k", 1), queue="nobody"))
    assert await ids(cell, queues=("nobody",), host="gone") == []
    await cell.submit(keyed("alive", ("k", 1)))
    assert await ids(cell) == []
    await cell.complete(first)
    assert await ids(cell) == ["alive"]


async def test_one_call_parks_no_more_than_it_may_and_asks_for_another(cell: Cell) -> None:
    await cell.submit(*(keyed(f"t{n}", ("k", 1)) for n in range(600)))
    await cell.submit(task("free"))
    got = await ids(cell, 5)
    calls = 1
    while "free" not in got:
        got += await ids(cell, 5)
        calls += 1
    assert (got, 2 < calls < 8) == (["t0", "free"], True)


async def test_a_key_that_nobody_uses_is_forgotten(cell: Cell, limits: Limits) -> None:
    await cell.submit(keyed("t", ("k", 1)))
    await cell.complete(await cell.run("t"))
    cell.now += 2 * 3_600_000
    await limits.refill(now_ms=cell.now)
    assert (await limits.all()).slots == []
    assert {name for name in await cell.keys() if name.startswith(("res", "due"))} == set()


# -- rates


async def test_requests_of_a_minute_are_counted_and_the_rest_wait_for_their_time(cell: Cell, limits: Limits) -> None:
    await limits.set_rate("openai", requests_per_min=2, now_ms=cell.now)
    await cell.submit(*(calling(f"t{n}") for n in range(5)))
    assert await ids(cell) == ["t0", "t1"]
    cell.now += 59_000
    assert (await limits.refill(now_ms=cell.now))[1] == cell.now - 59_000 - cell.now % 1000 + MINUTE_MS
    assert await ids(cell) == []
    cell.now += 2_000
    assert (await limits.refill(now_ms=cell.now))[0] == 1
    assert await ids(cell) == ["t2", "t3"]
    await limits.set_rate("openai", requests_per_min=3, now_ms=cell.now)
    assert await ids(cell) == ["t4"]


async def test_tokens_are_reserved_by_estimate_and_settled_with_what_was_used(cell: Cell, limits: Limits) -> None:
    await limits.set_rate("openai", tokens_per_min=1000, now_ms=cell.now)
    await cell.submit(*(calling(f"t{n}", tokens=400) for n in range(4)))
    first, second = await cell.claim(4)
    await cell.queue.complete("h1", [used(first, Usage(0, 100, 1))], now_ms=cell.now)
    (third,) = await cell.claim(4)
    await cell.queue.complete("h1", [used(second, Usage(0, 600, 1))], now_ms=cell.now)
    await cell.queue.complete("h1", [used(third, Usage(0, 250, 1))], now_ms=cell.now)  # 950 in this minute
    assert await ids(cell) == []
    cell.now += MINUTE_MS
    await limits.refill(now_ms=cell.now)
    assert await ids(cell) == ["t3"]


async def test_a_large_request_is_not_starved_by_small_ones(cell: Cell, limits: Limits) -> None:
    await limits.set_rate("p", tokens_per_min=100, now_ms=cell.now)
    await cell.submit(calling("s0", "p", tokens=60), calling("large", "p", tokens=90))
    assert await ids(cell) == ["s0"]
    await cell.submit(calling("s1", "p", tokens=30, queue="other"))
    assert await ids(cell, queues=("work", "other")) == []  # there is room for it, which `large` gathers
    cell.now += MINUTE_MS
    await limits.refill(now_ms=cell.now)
    assert await ids(cell, queues=("work", "other")) == ["large"]


async def test_more_than_a_minute_allows_goes_alone(cell: Cell, limits: Limits) -> None:
    await limits.set_rate("p", tokens_per_min=100, now_ms=cell.now)
    await cell.submit(calling("huge", "p", tokens=500), calling("small", "p", tokens=1))
    assert await ids(cell) == ["huge"]


def told_to_wait(claimed: Claimed, wait_ms: int, provider: str = "") -> FailedAttempt:
    why = to_blob(Failure("rate_limited", "come back later"))
    return FailedAttempt(claimed.id, claimed.attempt, why, wait_ms, provider=provider)


async def test_a_closed_provider_is_closed_for_everybody_and_nothing_fails(cell: Cell, limits: Limits) -> None:
    await limits.set_rate("openai", requests_per_min=1000, now_ms=cell.now)
    await cell.submit(calling("t0", retries=0), calling("t1", retries=0), task("other"))
    first, *_ = await cell.claim(1)
    for _ in range(3):
        assert await cell.queue.fail("h1", [told_to_wait(first, 90_000)], now_ms=cell.now) == {}
        assert await ids(cell) in ([], ["other"])
        assert await cell.states("t0", "t1") == {"t0": "queued", "t1": "queued"}
        assert await limits.parked_on("t1") == ("rate:openai",)
        _, due_ms = await limits.refill(now_ms=cell.now)
        assert due_ms <= cell.now + 90_000
        cell.now += 90_000
        await limits.refill(now_ms=cell.now)
        first, second = await cell.claim(5)
        await cell.queue.give_back("h1", [(second.id, second.attempt, Usage())], now_ms=cell.now)
    assert (await cell.held("t0")).get("f") is None


async def test_a_provider_that_nothing_names_delays_its_task(cell: Cell, limits: Limits) -> None:
    await cell.submit(task("t"))
    await cell.queue.fail("h1", [told_to_wait(await cell.run("t"), 5_000, "x")], now_ms=cell.now)
    assert await cell.states("t") == {"t": "delayed"}
    await cell.promote()
    assert (await cell.run("t")).failures == 0


async def test_a_pool_names_its_provider(cell: Cell, limits: Limits) -> None:
    await limits.set_rate("openai", requests_per_min=1, now_ms=cell.now)
    await limits.set_pool("writers", provider="openai", now_ms=cell.now)
    await cell.submit(task("t0"), task("t1"), task("t2"))
    assert await ids(cell, queues=("work", "@writers")) == ["t0"]
    assert await limits.parked_on("t1") == ("rate:openai",)
    await limits.set_pool("writers", now_ms=cell.now)
    await limits.remove("rate:openai", now_ms=cell.now)
    assert await ids(cell, queues=("work", "@writers")) == ["t1", "t2"]


# -- budgets


async def test_a_budget_is_reserved_before_and_settled_after(cell: Cell, limits: Limits) -> None:
    await open_workflow(cell, Amounts(usd=1.0), *(costing(f"t{n}", usd_micro=400_000, workflow_id="w") for n in range(4)))
    first, second = await cell.claim(4)
    budget = await limits.budget("workflow/w")
    assert (budget.reserved.usd, budget.running, budget.parked) == (0.8, 2, 2)
    await cell.queue.complete("h1", [used(first, Usage(100_000, 7, 1))], now_ms=cell.now)
    (third,) = await cell.claim(4)
    assert third.id == "t2"
    for one in (second, third):
        await cell.queue.complete("h1", [used(one, Usage(50_000, 0, 1))], now_ms=cell.now)
    await cell.queue.complete("h1", [used(await cell.run("t3"), Usage(400_000))], now_ms=cell.now)
    assert await cell.workflow_state("w") == "succeeded"
    budget = await limits.budget("workflow/w")
    assert (budget.spent.usd, budget.spent.tokens, budget.reserved.usd, budget.running) == (0.6, 7, 0, 0)


async def test_a_tree_without_budget_stops_and_keeps_what_it_has(cell: Cell, limits: Limits) -> None:
    batch = [costing(f"t{n}", usd_micro=600_000, workflow_id="w") for n in range(3)]
    await open_workflow(cell, Amounts(usd=1.0), *batch, task("after", workflow_id="w", needs=["t2"]))
    (first,) = await cell.claim(3)
    await limits.refill(now_ms=cell.now)
    assert await cell.workflow_state("w") == "running"  # the first may turn out cheaper
    await cell.queue.complete("h1", [used(first, Usage(500_000))], now_ms=cell.now)
    assert await ids(cell) == []
    await limits.refill(now_ms=cell.now)
    assert await cell.workflow_state("w") == "failed"
    held = await cell.queue.workflow("w")
    assert held is not None and held["failure"].code == "budget_exhausted"
    outcomes = await cell.queue.outcomes(["t0", "t1", "t2", "after"])
    assert outcomes["t0"].result == "done"
    assert {outcomes[name].state.value for name in ("t1", "t2", "after")} == {"failed", "cancelled"}
    assert (await limits.budget("workflow/w")).spent.usd == 0.5
    assert {name for name in await cell.keys() if name.startswith("park")} == set()


async def test_a_raised_budget_lets_the_parked_go_on(cell: Cell, limits: Limits) -> None:
    await open_workflow(cell, Amounts(calls=1), *(costing(f"t{n}", calls=1, workflow_id="w") for n in range(2)))
    (first,) = await cell.claim(2)
    await limits.set_budget("workflow/w", Amounts(calls=2), now_ms=cell.now)
    await cell.complete(first)
    await limits.refill(now_ms=cell.now)
    assert await ids(cell) == ["t1"]


async def test_spending_extends_the_reservation_or_is_refused(cell: Cell, limits: Limits) -> None:
    await open_workflow(cell, Amounts(usd=1.0, calls=5), task("t", workflow_id="w", retries=5))
    attempt = await cell.run("t")
    await limits.spend("t", attempt.attempt, Usage(900_000, 0, 5), now_ms=cell.now)
    await limits.spend("t", attempt.attempt, Usage(1_000_000, 0, 5), now_ms=cell.now)
    with pytest.raises(BudgetExhausted, match="workflow/w"):
        await limits.spend("t", attempt.attempt, Usage(1_000_001, 0, 5), now_ms=cell.now)
    with pytest.raises(BudgetExhausted):
        await limits.spend("t", attempt.attempt, Usage(0, 0, 6), now_ms=cell.now)
    with pytest.raises(AttemptStale):
        await limits.spend("t", 7, Usage(), now_ms=cell.now)
    why = to_blob(Failure("budget_exhausted", "no room"))
    failed = FailedAttempt("t", attempt.attempt, why, 0, True, Usage(900_000, 0, 5))
    await cell.queue.fail("h1", [failed], now_ms=cell.now)
    held = await cell.queue.workflow("w")
    assert held is not None and (held["state"], held["failure"].code) == ("failed", "budget_exhausted")
    assert (await limits.budget("workflow/w")).spent.usd == 0.9


async def test_what_nobody_can_account_for_counts_as_spent(cell: Cell, limits: Limits) -> None:
    await limits.set_budget("tenant/acme", Amounts(calls=3), now_ms=cell.now)
    await cell.submit(costing("t", calls=1, tenant="acme"))
    for _ in range(3):
        await cell.run("t", host="dies")
        await cell.reap()
    assert await ids(cell) == []
    await limits.refill(now_ms=cell.now)
    outcome = (await cell.queue.outcomes(["t"]))["t"]
    assert outcome.failure is not None and outcome.failure.code == "budget_exhausted"
    assert (await limits.budget("tenant/acme")).spent.calls == 3


async def test_an_estimate_is_learned_where_none_is_declared(cell: Cell, limits: Limits) -> None:
    await limits.set_budget("pool/writers", Amounts(tokens=1000), now_ms=cell.now)
    queues = ("work", "@writers")
    await cell.submit(task("t0"))
    (first,) = await cell.claim(queues=queues)
    await cell.queue.complete("h1", [used(first, Usage(0, 300, 1))], now_ms=cell.now)
    await cell.submit(*(task(f"t{n}") for n in range(1, 5)))
    assert await ids(cell, queues=queues) == ["t1", "t2"]
    assert (await limits.budget("pool/writers")).reserved.tokens == 600


async def test_agents_time_is_counted_by_the_clock(cell: Cell, limits: Limits) -> None:
    await limits.set_budget("tenant/a", Amounts(agent_s=10.0), now_ms=cell.now)
    await cell.submit(task("t0", tenant="a"), task("t1", tenant="a"))
    first = await cell.run("t0")
    cell.now += 12_000
    await cell.complete(first)
    assert (await limits.budget("tenant/a")).spent.agent_s == 12.0
    assert await ids(cell) == []


async def test_a_task_outside_a_workflow_has_a_budget_with_its_sub_tasks(cell: Cell, limits: Limits) -> None:
    own = [Reserve("max_calls", 2), Reserve("calls", 0)]
    await cell.submit(task("t", reserves=own))
    parent = await cell.run("t")
    children = [costing(f"c{n}", calls=1, parent_id="t") for n in range(3)]
    await cell.suspend(parent, *children)
    got = await cell.claim(3)
    assert [one.id for one in got] == ["c0", "c1"]
    await cell.queue.complete("h1", [used(one, Usage(0, 0, 1)) for one in got], now_ms=cell.now)
    await limits.refill(now_ms=cell.now)
    assert (await cell.states("c2"))["c2"] == "failed"
    assert (await cell.run("t")).attempt == 2  # it gets the outcomes, and may make something of them
    assert (await limits.budget("task/t")).spent.calls == 2


async def test_unknown_budgets_are_said_so(limits: Limits) -> None:
    with pytest.raises(LimitUnknown, match="tenant/nobody"):
        await limits.budget("tenant/nobody")


async def test_a_task_without_resources_leaves_no_trace_of_them(cell: Cell) -> None:
    await cell.submit(task("t"))
    await cell.queue.complete("h1", [done(await cell.run("t"))], now_ms=cell.now)
    assert {"v", "V"} & set(await cell.held("t")) == set()
    assert not {name for name in await cell.keys() if name.startswith(("res", "park", "due", "scopes", "learned"))}
