"""What planning by a model costs: announced before it is spent, journaled by request, and paid once; real engine and hosts."""

import json

import msgspec
import pytest
from canned_model import model_server
from host_bench import Bench

from amas.artifacts.values import LargeValues
from amas.engine.journal import START, Journal
from amas.engine.limits import Limits
from amas.model.cost import ModelCall
from amas.model.fleet import FleetLimits, PoolSpec
from amas.model.goal import Goal
from amas.model.journal import EntryKind
from amas.model.limits import Amounts
from amas.model.states import Layer, TaskState
from amas.model.task import JournaledStep
from amas.orchestration import model_planner
from amas.orchestration.submission import submit_goal

PLAN = json.dumps({"tasks": [{"key": "shop", "capability": "kitchen.shop", "instruction": "Buy leeks"}], "deliverable": "shop"})
PRICE, ANSWER_TOKENS = "1/200", "20"
REQUEST_USD = 0.0041
"""100 tokens at a dollar for a million of them, and 20 at 200."""


@pytest.fixture
def bench(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("AMAS_MODEL", "planner")
    monkeypatch.setenv("AMAS_MODEL_PRICE", PRICE)
    monkeypatch.setenv("AMAS_MODEL_ANSWER_TOKENS", ANSWER_TOKENS)
    return bench


SHOP = PoolSpec(name="shop", agent="replan_agents:shop", capabilities=("kitchen.shop",))
BOSS = PoolSpec(
    name="boss",
    agent="amas.orchestration.coordinator:coordinate",
    capabilities=("executive.coordinate",),
    layer=Layer.EXECUTIVE,
    options={"capabilities": ["executive.coordinate", "kitchen.shop"], "playbooks": ["code-base"]},
)


async def submit(bench: Bench, budget: Amounts | None = None) -> tuple[str, str]:
    """Submit a goal that only a model can plan; return its workflow's id and its root's."""
    goal = Goal(text="Buy leeks", output_dir=str(bench.folder), budget=budget)
    return await submit_goal(bench.queue, goal, limits=FleetLimits(), values=LargeValues(None))


def pools(bench: Bench) -> list[PoolSpec]:
    return [BOSS, msgspec.structs.replace(SHOP, options={"runs": str(bench.folder / "runs")})]


async def calls(bench: Bench, task_id: str) -> list[ModelCall]:
    """Return the requests that the journal has of a task."""
    found = await Journal(bench.engine).read(START, limit=10_000)
    kept = [msgspec.msgpack.decode(entry.batch, type=list[JournaledStep]) for entry in found if entry.kind is EntryKind.STEP]
    steps = [step for batch in kept for step in batch]
    return [call for step in steps if step.id == task_id for call in step.calls]


@pytest.mark.requirement("A1")
async def test_a_goals_budget_is_never_overspent_by_its_planning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with model_server("no JSON") as server:
        monkeypatch.setenv("AMAS_MODEL_URL", server.url)
        async with bench.host(pools(bench)):
            workflow, root_id = await submit(bench, Amounts(usd=0.013))
            root = await bench.ended(root_id)
            spent = (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent
    assert 1 <= len(server.asked) < 1 + model_planner.REPAIRS, "a third request had no room"
    assert spent.usd == pytest.approx(REQUEST_USD * len(server.asked))
    assert root.failure is not None
    assert "made no plan: the budget of workflow/" in root.failure.message
    assert "has no room for" in root.failure.message


@pytest.mark.requirement("A1")
async def test_a_coordinator_that_goes_between_two_requests_pays_for_the_first_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server("no JSON", PLAN) as server:
        monkeypatch.setenv("AMAS_MODEL_URL", server.url)
        server.hold.clear()
        server.hold_from = 2
        async with bench.host(pools(bench), "h1"):
            _, root_id = await submit(bench)

            async def second_request() -> bool:
                return len(server.asked) == 2

            await bench.until(second_request)  # and there it stops
        server.hold.set()
        async with bench.host(pools(bench), "h2"):
            root = await bench.ended(root_id)
    assert root.state is TaskState.SUCCEEDED, root.failure
    assert [len(asked["messages"]) > 2 for asked in server.asked] == [False, True, True], "the first was asked once"
    told = await calls(bench, root_id)
    assert [(each.model, each.input_tokens, each.output_tokens, each.usd_micro) for each in told] == [
        ("planner", 100, 20, round(REQUEST_USD * 1_000_000))
    ] * 2


@pytest.mark.requirement("A1")
async def test_a_server_that_is_busy_for_a_moment_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_planner, "PAUSES_S", (0.0, 0.0))
    with model_server(503, 429, PLAN) as server:
        monkeypatch.setenv("AMAS_MODEL_URL", server.url)
        async with bench.host(pools(bench)):
            _, root_id = await submit(bench)
            root = await bench.ended(root_id)
    assert root.state is TaskState.SUCCEEDED, root.failure
    assert len(server.asked) == 3
    assert [each.output_tokens for each in await calls(bench, root_id)] == [20], "a refusal costs nothing"
