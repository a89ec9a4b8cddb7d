"""Rights at work: a host refuses what an agent's place in the hierarchy doesn't allow, and questions climb."""

from typing import Any

import msgspec
import pytest
from host_bench import Bench

from amas.clock import new_id
from amas.engine.limits import Limits
from amas.engine.queue import make_submission
from amas.engine.signals import open_approvals
from amas.engine.workflows import Workflows
from amas.model.authority import AUTHORITY, Right
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec
from amas.model.flow import FLOW_CAPABILITY, MAP_CAPABILITY
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts
from amas.model.states import Layer, TaskState
from amas.model.task import Failure, TaskSpec


def place(name: str, layer: Layer, lead: str = "", **changes: Any) -> PoolSpec:
    function = changes.pop("function", "any_work")
    capability = "place.any" if function == "any_work" else f"place.{function}"
    return PoolSpec(
        **{
            "name": name,
            "agent": f"authority_agents:{function}",
            "capabilities": (capability, f"only.{name}"),
            "layer": layer,
            "lead": lead,
            **changes,
        }
    )


TOP = place("top", Layer.EXECUTIVE, function="top")
HEAD = place("head", Layer.MANAGEMENT, "top", function="lead")
WRITER = place("writer", Layer.SPECIALIST, "head")
TOOL = place("tool", Layer.EXECUTION, "head", capabilities=("only.tool",))
FLEET = [TOP, HEAD, WRITER, TOOL]
ISOLATIONS = pytest.mark.parametrize("isolation", ["shared", "process"])


def isolated(pool: PoolSpec, isolation: str) -> list[PoolSpec]:
    """Return the fleet with one pool in processes."""
    return [msgspec.structs.replace(each, isolation=isolation) if each is pool else each for each in FLEET]


async def refused(bench: Bench, capability: str, order: Any) -> str:
    """Return what a task that must not happen failed with."""
    view = await bench.ended(await bench.submit(capability, order))
    assert view.failure is not None and view.failure.code == "not_allowed", view
    assert view.attempt == 1, "no further attempt can help"
    return view.failure.message


@ISOLATIONS
async def test_a_specialist_may_not_task_the_executive_layer(bench: Bench, isolation: str) -> None:
    async with bench.host(isolated(WRITER, isolation)):
        said = await refused(bench, "only.writer", {"spawn": {"capability": "only.top", "input": {}}})
        assert "'writer' (specialist layer) has no right to task 'top' (executive layer) with 'only.top'" in said
        assert not (await bench.queue.depths()).get("only.top")
        done = await bench.ended(await bench.submit("only.writer", {"spawn": {"capability": "only.tool", "input": {}}}))
        assert done.result == {"result": "done", "code": ""}


async def test_nor_by_way_of_what_is_built_in(bench: Bench) -> None:
    inner = {"map": {"over": "input", "capability": "only.top", "input": {}}, "input": [1]}
    async with bench.host(FLEET):
        order = {"spawn": {"capability": MAP_CAPABILITY, "input": inner, "layer": "executive"}}
        done = await bench.ended(await bench.submit("only.writer", order))
        assert done.result == {"result": None, "code": "not_allowed"}
        assert (await bench.ended(await bench.submit("only.top", order))).result == {"result": ["done"], "code": ""}
        assert "no right to plan" in await refused(bench, "only.writer", {"spawn": {"capability": FLOW_CAPABILITY}})


async def test_execution_splits_nothing_unless_the_fleet_file_says_so(bench: Bench) -> None:
    order = {"spawn": {"capability": "only.tool", "input": {}}}
    async with bench.host(FLEET):
        assert "no right to split" in await refused(bench, "only.tool", order)
    free = msgspec.structs.replace(TOOL, rights=AUTHORITY[Layer.EXECUTION] | {Right.SPLIT}, tasks_per_agent=2)
    async with bench.host([TOP, HEAD, WRITER, free], "h2"):
        assert (await bench.ended(await bench.submit("only.tool", order))).state is TaskState.SUCCEEDED


@ISOLATIONS
async def test_money_is_spent_by_those_who_may(bench: Bench, isolation: str) -> None:
    poor = msgspec.structs.replace(TOOL, rights=frozenset(), isolation=isolation)
    async with bench.host([TOP, HEAD, WRITER, poor]):
        assert "no right to spend" in await refused(bench, "only.tool", {"spend": 0.5})
        workflow, task_id = await open_workflow(bench, "only.tool", {"report": 0.25})
        failure = (await bench.ended(task_id)).failure
        assert failure is not None and failure.code == "not_allowed"
        spent = (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent
        assert spent.usd == 0.25, "what is gone is counted"


async def open_workflow(bench: Bench, capability: str, order: Any) -> tuple[str, str]:
    """Return a workflow's id and that of its one task."""
    workflow, task_id = new_id(), new_id()
    spec = TaskSpec(capability=capability, input=order, workflow_id=workflow)
    await bench.queue.submit(
        [make_submission(task_id, spec)], workflow=WorkflowOpening(workflow, to_blob(None), "", Amounts(usd=1.0).units())
    )
    return workflow, task_id


@pytest.mark.parametrize("asker", ["shared", "process"])
@pytest.mark.parametrize("lead", ["shared", "process"])
async def test_a_lead_answers_its_team(bench: Bench, asker: str, lead: str) -> None:
    fleet = [
        TOP, msgspec.structs.replace(HEAD, isolation=lead), msgspec.structs.replace(WRITER, isolation=asker), TOOL
    ]  # fmt: skip
    async with bench.host(fleet):
        done = await bench.ended(await bench.submit("only.writer", {"ask": "which one?", "about": 7}))
        assert done.result == {"answer": {"take": 7, "says": "head-1", "to": "writer"}, "by": "head", "attempt": 2}


async def test_a_plain_function_may_ask_too(bench: Bench) -> None:
    plain = place("plain", Layer.SPECIALIST, "head", function="blocking")
    async with bench.host([TOP, HEAD, plain]):
        assert (await bench.ended(await bench.submit("only.plain"))).result == "top"


@pytest.mark.parametrize("question", ["what else?", "hard?"])
async def test_a_lead_without_an_answer_passes_it_up(bench: Bench, question: str) -> None:
    async with bench.host(FLEET):
        done = await bench.ended(await bench.submit("only.writer", {"ask": question}))
        assert done.result == {"answer": "decided at the top", "by": "top", "attempt": 3}


async def test_a_lead_that_takes_too_long_is_passed_over(bench: Bench) -> None:
    async with bench.host(FLEET):
        task_id = await bench.submit("only.writer", {"ask": "slow?", "expires_s": 0.2})

        async def look() -> bool:
            await Workflows(bench.engine).expire()  # as the timers do
            return (await bench.queue.outcomes([task_id]))[task_id].state is TaskState.SUCCEEDED

        await bench.until(look)
        assert (await bench.ended(task_id)).result["by"] == "top"


@pytest.mark.parametrize("approved", [True, False])
async def test_at_last_a_person_is_asked(bench: Bench, approved: bool) -> None:
    async with bench.host(FLEET):
        workflow, task_id = await open_workflow(bench, "only.writer", {"ask": "people?", "about": {"n": 1}})

        async def asked() -> Any:
            return await open_approvals(bench.engine, workflow_id=workflow)

        (approval,) = await bench.until(asked)
        assert (approval.question, approval.about) == ("people?", {"n": 1})
        await Workflows(bench.engine).signal(approval.task_id, {"approved": approved, "by": "ada"})
        view = await bench.ended(task_id)
        if approved:
            assert view.result["by"] == "ada"
        else:
            assert isinstance(view.failure, Failure) and view.failure.code == "refused"


async def test_outside_a_workflow_nobody_can_be_asked(bench: Bench) -> None:
    async with bench.host(FLEET):
        view = await bench.ended(await bench.submit("only.writer", {"ask": "people?"}))
        assert view.failure is not None and view.failure.code == "unanswered"
