import pytest

from amas.errors import GiveUp, GoalOverBudget, PlanRefused
from amas.model.fleet import FleetLimits
from amas.model.goal import Complexity, Goal, Plan, SubTask
from amas.model.limits import Amounts
from amas.model.states import TaskState
from amas.model.task import Failure, TaskOutcome
from amas.orchestration.coordinator import delivered
from amas.orchestration.decomposer import RulesPlanner
from amas.orchestration.planning import checked_plan, facts_of
from amas.orchestration.playbooks import load_playbooks

TASKS = (
    SubTask(key="approve", capability="executive.approve", title="Approve"),
    SubTask(key="publish", capability="execution.publish", needs=("approve",)),
)
PLAN = Plan(playbook="p", complexity=Complexity.SIMPLE, tasks=TASKS, deliverable="publish", notes=("n",))


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def done(key: str, result: object) -> TaskOutcome:
    return TaskOutcome(id=key, state=TaskState.SUCCEEDED, result=result)


def test_the_fleets_facts_come_as_options() -> None:
    facts = facts_of({"capabilities": ["a.b"], "limits": {"max_subtasks": 7}, "playbooks": ["code-base"], "deliverables": "/d"})
    assert facts.capabilities == {"a.b"}
    assert facts.limits == FleetLimits(max_subtasks=7)
    assert [playbook.name for playbook in facts.playbooks] == ["code-base"]


@pytest.mark.anyio
async def test_a_plan_over_the_fleets_limit_is_refused() -> None:
    capabilities = sorted(load_playbooks()[0].capabilities)
    facts = facts_of({"capabilities": capabilities, "limits": {"max_subtasks": 5}})
    with pytest.raises(PlanRefused, match=r"limit \(max_subtasks\) is 5"):
        await checked_plan(RulesPlanner(), Goal(text="Review this project", input_dir="/in"), facts)


@pytest.mark.anyio
async def test_a_goal_over_its_budget_is_refused_with_the_sum() -> None:
    capabilities = sorted(load_playbooks()[0].capabilities)
    facts = facts_of({"capabilities": capabilities, "estimates": {"development.code_review": {"usd": 0.25}}})
    goal = Goal(text="Review the code", input_dir="/in", budget=Amounts(usd=0.01))
    with pytest.raises(GoalOverBudget, match=r"takes at least 0.25 USD, over the budget of 0.01 USD: raise the budget"):
        await checked_plan(RulesPlanner(), goal, facts)
    plan = await checked_plan(RulesPlanner(), Goal(text="Review the code", input_dir="/in", budget=Amounts(usd=1)), facts)
    assert plan.estimate is not None
    assert plan.estimate.total == Amounts(usd=0.25)
    assert plan.estimate.critical_path[-1] == plan.deliverable


def test_the_deliverable_comes_with_what_stands_behind_it() -> None:
    approval = {"approved": True, "score": 0.9, "report": {"folder": "/workspace"}, "folder": "/workspace"}
    got = delivered(PLAN, {"approve": done("approve", approval), "publish": done("publish", {"folder": "/out", "files": []})})
    assert got == {
        "approved": True, "score": 0.9, "folder": "/out", "files": [], "playbook": "p", "complexity": "simple", "notes": ["n"],
    }  # fmt: skip


def test_the_first_cause_is_told_not_what_it_took_down() -> None:
    failed = TaskOutcome(id="a", state=TaskState.FAILED, failure=Failure("no_report", "there is no report"))
    down = TaskOutcome(id="p", state=TaskState.FAILED, failure=Failure("dependency_failed", "a task that it needs failed"))
    with pytest.raises(GiveUp, match="Approve: there is no report") as caught:
        delivered(PLAN, {"approve": failed, "publish": down})
    assert caught.value.error_code == "no_report"
