"""What work cost, as the history adds it up, on every database, with journals that a real engine wrote."""

from typing import Any

import pytest
from tests.contract.test_records import T0, Fleet, dump

from amas.clock import child_id, new_id
from amas.engine.connection import Engine
from amas.engine.queue import make_submission
from amas.model.blob import to_blob
from amas.model.cost import ModelCall
from amas.model.goal import Goal
from amas.model.journal import WorkflowOpening
from amas.model.limits import Usage
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, JournaledStep, TaskSpec
from amas.records.ended import Span
from amas.records.store import Records
from amas.records.views import Cost

DAY_MS = 86_400_000
CALL = ModelCall("small", "openai", 100, 20, 60, 2000, 1500)
SPARE = ModelCall("spare", "anthropic", 10, 5, 0, 500, 250)


class Spender(Fleet):
    """A cell whose agents use models."""

    async def keep(self, task: Claimed, step: str, *calls: ModelCall) -> None:
        step_made = JournaledStep(task.id, task.attempt, step, to_blob({}), calls)
        assert not await self.queue.journal_steps([step_made], now_ms=self.now)

    async def finish(self, task: Claimed, usage: Usage | None, *, after_ms: int = 1000) -> None:
        self.now += after_ms
        assert not await self.queue.complete("h1", [Completion(task.id, task.attempt, to_blob(1), usage)], now_ms=self.now)

    async def break_off(self, task: Claimed, usage: Usage | None) -> None:
        item = FailedAttempt(task.id, task.attempt, to_blob(Failure("boom", "it broke")), 1000, usage=usage)
        self.now += 1000
        assert not await self.queue.fail("h1", [item], now_ms=self.now)
        self.now += 1000
        await self.queue.promote(now_ms=self.now)


@pytest.fixture
async def fleet(engine: Engine) -> Spender:
    fleet = Spender(engine)
    await fleet.join()
    return fleet


async def named(records: Records, by: Any, **span: Any) -> dict[str, tuple[float, int, int, float]]:
    """Dollars, tokens, calls and agents' seconds by name."""
    _, found = await records.costs(by, Span(**span))
    return {group.name: (group.usd, group.tokens, group.calls, group.agent_s) for group in found}


async def test_calls_and_what_an_attempt_used_besides_add_up_to_its_word(fleet: Spender, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work"))
    task = await fleet.claim()
    await fleet.keep(task, "model/1", SPARE, CALL)
    await records.apply(await fleet.entries())
    assert (await records.cost(task_id=task_id)).usd == 0.0025, "known before the attempt ends"
    await fleet.finish(task, Usage(3000, 200, 3))
    await records.apply(await fleet.entries())
    cost = await records.cost(task_id=task_id)
    assert (cost.usd, cost.tokens, cost.calls) == (0.003, 200, 3)
    assert (cost.input_tokens, cost.output_tokens, cost.cached_tokens) == (110, 25, 60)
    assert (cost.model_s, cost.agent_s) == (1.75, 1.0)
    assert (await records.task_in_full(task_id))[2] == cost
    assert await records.task_in_full(new_id()) == (None, [], Cost())
    made = await records.model_calls(task_id)
    assert [(call.attempt, call.step, call.model, call.provider, call.usd) for call in made] == [
        (1, "model/1", "spare", "anthropic", 0.0005), (1, "model/1", "small", "openai", 0.002)
    ]  # fmt: skip


async def test_an_attempt_that_failed_counts_and_what_the_next_replays_does_not(fleet: Spender, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work"))
    first = await fleet.claim()
    await fleet.keep(first, "model/1", CALL)
    await fleet.break_off(first, Usage(2700, 150, 2))
    second = await fleet.claim(agent="other-7")
    await fleet.keep(second, "model/2", CALL)
    await fleet.finish(second, Usage(2000, 120, 1))
    await records.apply(await fleet.entries())
    assert await named(records, "task") == {task_id: (0.0047, 270, 3, 2.0)}
    task, attempts, cost = await records.task_in_full(task_id)
    assert task == await records.task(task_id) and [one.state for one in attempts] == ["failed", "succeeded"]
    assert cost == await records.cost(task_id=task_id) and cost.agent_s == 2.0
    (other_id,) = await fleet.submit(TaskSpec(capability="work"))
    await records.apply(await fleet.entries())
    several = await records.tasks_in_full([other_id, new_id(), task_id])
    assert several == [await records.task_in_full(each) for each in (other_id, new_id(), task_id)]
    assert [len(found.attempts) for found in several] == [0, 0, 2] and several[2].cost == cost
    assert records.task_at_a_glance(task_id) in (several[2], None)  # PostgreSQL is never glanced at
    assert await named(records, "agent") == {"other-7": (0.002, 120, 1, 1.0), "worker-1": (0.0027, 150, 2, 1.0)}
    assert await named(records, "pool") == {"other": (0.002, 120, 1, 1.0), "worker": (0.0027, 150, 2, 1.0)}
    assert await named(records, "model") == {"": (0.0007, 30, 1, 0.0), "small": (0.004, 240, 2, 0.0)}


async def test_what_a_lead_used_before_it_waited_counts(fleet: Spender, records: Records) -> None:
    (lead_id,) = await fleet.submit(TaskSpec(capability="lead"))
    lead = await fleet.claim("lead", "lead-1")
    child = make_submission(child_id(lead.id, "a"), TaskSpec(capability="work", parent_id=lead.id))
    await fleet.queue.suspend("h1", lead.id, 1, wait_for=[child.id], children=[child], usage=Usage(70, 7, 1), now_ms=fleet.now)
    await fleet.finish(await fleet.claim(), None)
    await fleet.finish(await fleet.claim("lead", "lead-1"), Usage(30, 3, 1))
    await records.apply(await fleet.entries())
    assert await named(records, "task") == {child.id: (0.0, 0, 0, 1.0), lead_id: (0.0001, 10, 2, 1.0)}


async def test_it_is_accounted_to_tenants_workflows_and_days(fleet: Spender, records: Records) -> None:
    workflow = new_id()
    await fleet.submit(
        TaskSpec(capability="work", workflow_id=workflow, tenant="acme"),
        workflow=WorkflowOpening(workflow, to_blob(Goal(text="do it"))),
    )
    await fleet.finish(await fleet.claim(), Usage(1000, 10, 1))
    await fleet.join()
    fleet.now = (T0 // DAY_MS + 2) * DAY_MS
    await fleet.submit(TaskSpec(capability="work", tenant="zeta"))
    await fleet.join()
    await fleet.finish(await fleet.claim(), Usage(200, 20, 1))
    await records.apply(await fleet.entries())
    acme, zeta = (0.001, 10, 1, 1.0), (0.0002, 20, 1, 1.0)
    assert await named(records, "tenant") == {"acme": acme, "zeta": zeta}
    assert await named(records, "workflow") == {workflow: acme, "": zeta}
    assert list((await named(records, "day")).items()) == [("2027-01-17", zeta), ("2027-01-15", acme)]
    assert await named(records, "tenant", tenant="acme") == {"acme": acme}
    assert await named(records, "tenant", workflow_id=workflow) == {"acme": acme}
    assert await named(records, "tenant", since_ms=fleet.now) == {"zeta": zeta}
    assert await named(records, "tenant", until_ms=fleet.now) == {"acme": acme}
    everything, _ = await records.costs("day", Span())
    assert (everything.usd, everything.tokens, everything.calls, everything.agent_s) == (0.0012, 30, 2, 2.0)
    assert (await records.cost(workflow_id=workflow)).usd == 0.001
    (task,) = await records.tasks(workflow_id=workflow)
    assert task.tenant == "acme"


@pytest.mark.parametrize("by", ["task", "day", "agent"])
async def test_pages_hold_every_group_once(fleet: Spender, records: Records, by: Any) -> None:
    for n in range(5):
        await fleet.submit(TaskSpec(capability="work"))
        task = await fleet.claim(agent=f"W{n}-1" if n % 2 else f"w{n}-1")
        await fleet.finish(task, Usage(1, 1, 1) if n != 2 else None)
        await fleet.join()
        fleet.now += DAY_MS
        await fleet.join()
    await records.apply(await fleet.entries())
    _, whole = await records.costs(by, Span())
    names, after = [], None
    while page := (await records.costs(by, Span(), limit=2, after=after))[1]:
        names += [group.name for group in page]
        after = page[-1].name
    assert names == [group.name for group in whole] == sorted(names, reverse=by != "agent")
    assert len(names) == 5


async def test_nothing_is_counted_twice_whatever_is_recorded_again(fleet: Spender, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work"))
    task = await fleet.claim()
    await fleet.keep(task, "model/1", CALL)
    await fleet.keep(task, "model/1", CALL)  # said again, since the first answer was lost
    await fleet.finish(task, Usage(2500, 150, 2))
    entries = await fleet.entries()
    first = await records.apply(entries)
    assert (first.spent.usd, first.spent.tokens, first.spent.calls) == (0.0025, 150, 2)
    held = await dump(records)
    place = await records.lost_work.place()
    assert await records.lost_work.follow("another", instead_of=place, anew_at="0-0")
    assert (await records.apply(entries)).spent.usd == 0
    assert (await dump(records))["costs"] == held["costs"]
    assert (await records.cost(task_id=task_id)).usd == 0.0025


async def test_work_that_uses_nothing_has_no_rows(fleet: Spender, records: Records) -> None:
    await fleet.submit(TaskSpec(capability="work"), TaskSpec(capability="work"))
    for _ in range(2):
        await fleet.finish(await fleet.claim(), None)
    await records.apply(await fleet.entries())
    assert (await dump(records))["costs"] == []
    assert (await records.costs("agent", Span()))[1][0].agent_s == 2.0
