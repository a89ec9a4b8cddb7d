"""The model planner against a server on loopback that speaks the providers' protocol."""

import json
from typing import Any

import pytest
from canned_model import ModelServer, model_server

from amas.errors import NoPlaybook
from amas.model.fleet import FleetLimits
from amas.model.goal import Goal, Plan
from amas.model.limits import Amounts
from amas.orchestration.model_planner import ModelPlanner
from amas.orchestration.planner import FleetFacts
from amas.orchestration.planning import checked_plan, planner
from amas.orchestration.playbooks import load_playbooks
from amas.settings import ModelSettings

PLAYBOOKS = tuple(load_playbooks(["code-base"]))
FACTS = FleetFacts(
    capabilities=PLAYBOOKS[0].capabilities | {"kitchen.shop", "kitchen.cook"},
    playbooks=PLAYBOOKS,
    estimates={"kitchen.cook": Amounts(usd=0.5)},
)
GOAL = Goal(text="Cook a soup", output_dir="/out")
REVIEW = Goal(text="Review the code", input_dir="/in", output_dir="/out")


def draft(cook: str = "kitchen.cook", need: str = "shop", **more: Any) -> str:
    tasks = [
        {"key": "shop", "capability": "kitchen.shop", "instruction": "Buy leeks", "needs": []},
        {"key": "soup", "capability": cook, "instruction": "Cook them", "needs": [need]},
    ]
    return json.dumps({"tasks": tasks, "deliverable": "soup", **more})


def settings(server: ModelServer) -> ModelSettings:
    return ModelSettings(model="local", url=server.url, key="secret-key")


async def planned(server: ModelServer, goal: Goal = GOAL, facts: FleetFacts = FACTS) -> Plan:
    return await checked_plan(ModelPlanner(settings(server)), goal, facts)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
async def test_a_graph_by_the_model_becomes_a_checked_plan() -> None:
    with model_server(draft()) as server:
        plan = await planned(server)
    assert [(task.key, task.capability, task.needs) for task in plan.tasks] == [
        ("shop", "kitchen.shop", ()),
        ("soup", "kitchen.cook", ("shop",)),
    ]
    assert plan.tasks[0].input["instruction"] == "Buy leeks"  # type: ignore[index, call-overload]
    assert plan.estimate is not None
    assert plan.estimate.total == Amounts(usd=0.5)
    assert plan.notes == ("planned by the model local",)
    asked = server.asked[0]
    assert asked["response_format"]["type"] == "json_schema"  # what small local models can do; no tools are asked for
    assert "tools" not in asked
    assert server.keys == ["Bearer secret-key"]
    prompt = json.dumps(asked["messages"])
    assert "- kitchen.cook" in prompt
    assert "code-base" in prompt
    assert "development.code_review" in prompt


@pytest.mark.anyio
async def test_what_is_wrong_goes_back_to_the_model_which_mends_it() -> None:
    with model_server(draft(cook="kitchen.fry", need="gone"), draft()) as server:
        plan = await planned(server)
    assert plan.notes == ("planned by the model local, after 1 of its plans were refused",)
    told = json.dumps(server.asked[1]["messages"][-1])
    assert "'kitchen.fry', which no agent of this fleet has" in told
    assert "needs 'gone', which is not in the plan" in told


@pytest.mark.anyio
async def test_a_playbook_that_the_model_names_is_expanded_with_what_it_chose() -> None:
    chosen = json.dumps({"playbook": "code-base", "use": ["development.code_review"]})
    with model_server(chosen) as server:
        plan = await planned(server, REVIEW)
    assert plan.playbook == "code-base"
    assert [task.spawns for task in plan.tasks if task.key == "review"] == [("development.code_review",)]


@pytest.mark.anyio
async def test_the_schema_names_what_the_fleet_has() -> None:
    with model_server(draft()) as server:
        await planned(server)
        await planned(server, REVIEW, FleetFacts(capabilities=PLAYBOOKS[0].capabilities, playbooks=PLAYBOOKS))
    first, bound = (asked["response_format"]["json_schema"]["schema"]["properties"] for asked in server.asked[:2])
    assert first["playbook"]["enum"] == ["code-base", ""]
    assert "development.code_review" in first["use"]["items"]["enum"]
    assert first["tasks"]["items"]["properties"]["capability"]["enum"] == ["kitchen.cook", "kitchen.shop"]
    assert bound["playbook"]["enum"] == ["code-base"], "a fleet whose agents work in playbooks only has no other way"
    assert "tasks" not in bound


@pytest.mark.anyio
async def test_three_bad_plans_are_enough_and_the_rules_plan_says_why() -> None:
    with model_server("no JSON", draft(cook="development.code_review"), draft(cook="kitchen.fry")) as server:
        plan = await planned(server, REVIEW)
    assert len(server.asked) == 3
    assert "works within a playbook only" in json.dumps(server.asked[2]["messages"][-1])
    assert plan.playbook == "code-base"
    assert "planned by playbooks, since the model local made no plan" in plan.notes[-1]
    assert "kitchen.fry" in plan.notes[-1]


@pytest.mark.anyio
async def test_a_model_that_takes_too_long_loses_its_turn() -> None:
    with model_server(draft()) as server:
        server.hold.clear()
        facts = FleetFacts(capabilities=FACTS.capabilities, playbooks=PLAYBOOKS, limits=FleetLimits(decomposition_timeout_s=2.0))
        plan = await planned(server, REVIEW, facts)
        server.hold.set()
    assert "it took longer than 1.8 s" in plan.notes[-1]


@pytest.mark.anyio
async def test_where_rules_have_no_plan_either_both_reasons_are_said() -> None:
    with model_server(401) as server, pytest.raises(NoPlaybook, match=r"no playbook covers .*the model local made no plan.*401"):
        await planned(server)


@pytest.mark.anyio
async def test_a_plan_over_the_budget_or_the_limit_goes_back() -> None:
    goal = Goal(text="Cook a soup", budget=Amounts(usd=0.1))
    with model_server(draft()) as server, pytest.raises(NoPlaybook):
        await planned(server, goal)
    assert "takes at least 0.5 USD, over the budget of 0.1 USD" in json.dumps(server.asked[-1]["messages"][-1])
    small = FleetFacts(capabilities=FACTS.capabilities, playbooks=(), limits=FleetLimits(max_subtasks=1))
    with model_server(draft()) as server, pytest.raises(NoPlaybook):
        await planned(server, GOAL, small)
    assert "this fleet's limit (max_subtasks) is 1" in json.dumps(server.asked[1]["messages"][-1])


def test_the_environment_chooses_the_planner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMAS_MODEL", raising=False)
    assert type(planner()).__name__ == "RulesPlanner"
    monkeypatch.setenv("AMAS_MODEL", "openai:some")
    assert isinstance(planner(), ModelPlanner)
