"""What agents say of what they use, and what hosts and the engine make of it."""

import pytest
from host_bench import Bench, pool

from amas.agents.failures import verdict
from amas.clock import new_id
from amas.engine.limits import Limits
from amas.engine.queue import make_submission
from amas.errors import RateLimited
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts, reserves_of
from amas.model.states import TaskState
from amas.model.task import TaskSpec


async def open_workflow(bench: Bench, budget: Amounts, calls: int) -> tuple[str, str]:
    """Return a workflow's id and that of its one task, which makes so many calls."""
    workflow, task_id = new_id(), new_id()
    spec = TaskSpec(capability="test.meter", input={"calls": calls}, workflow_id=workflow)
    opening = WorkflowOpening(workflow, to_blob(None), "", budget.units())
    await bench.queue.submit([make_submission(task_id, spec)], workflow=opening)
    return workflow, task_id


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_what_an_agent_used_is_charged_to_its_budget(bench: Bench, isolation: str) -> None:
    async with bench.host([pool("meter", isolation=isolation)]):
        workflow, task_id = await open_workflow(bench, Amounts(usd=1.0, tokens=1000), calls=3)
        assert (await bench.ended(task_id)).state is TaskState.SUCCEEDED
        spent = (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent
        assert (spent.usd, spent.tokens, spent.calls) == (0.75, 35, 3)


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_an_agent_that_would_overspend_is_stopped_before(bench: Bench, isolation: str) -> None:
    async with bench.host([pool("meter", isolation=isolation)]):
        workflow, task_id = await open_workflow(bench, Amounts(usd=0.6), calls=3)
        failure = (await bench.ended(task_id)).failure
        assert failure is not None and failure.code == "budget_exhausted"
        held = await bench.queue.workflow(workflow)
        assert held is not None and (held["state"], held["failure"].code) == ("failed", "budget_exhausted")
        assert (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent.usd == 0.5


async def test_a_provider_that_is_busy_fails_nothing(bench: Bench) -> None:
    limits = Limits(bench.engine)
    await limits.set_rate("openai", requests_per_min=100)
    async with bench.host([pool("meter")]):
        task_id = new_id()
        spec = TaskSpec(capability="test.meter", input={"busy": 0.2})
        await bench.queue.submit([make_submission(task_id, spec, reserves=reserves_of(provider="openai"))])

        async def look() -> bool:
            await limits.refill()  # as the timers do
            return (await bench.queue.outcomes([task_id]))[task_id].state is TaskState.SUCCEEDED

        await bench.until(look)
        view = await bench.ended(task_id)
        assert (view.attempt, view.failures) == (2, 0)


def test_a_rate_limit_is_no_failure_of_the_task() -> None:
    found = verdict(RateLimited(7.5, provider="openai"))
    assert (found.provider, found.delay_s, found.final) == ("openai", 7.5, False)
