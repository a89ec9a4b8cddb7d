"""The executor and the hierarchy against a fleet that runs already, in this process."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from amas import NewTask, orchestration
from amas.errors import (
    AgentUnknown,
    CapabilityUnknown,
    FleetError,
    InputUnusable,
    TaskFailed,
    TaskUnknown,
    WorkflowUnknown,
)
from amas.platforms.local.control import fleet_state, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from amas.programs.distributor import TaskDistributor
from amas.programs.executor import WorkflowExecutor
from amas.programs.hierarchy import AgentHierarchyManager
from amas.programs.link import Link
from amas.programs.orchestrator import AgentOrchestrator
from amas.programs.performance import PerformanceMonitor
from amas.programs.policies import FleetPolicyManager

pytestmark = [pytest.mark.requirement("A6"), pytest.mark.xdist_group("programs")]

AGENTS = """
from amas import Context, GiveUp, SubTask, agent


@agent("executive.coordinate")
async def coordinate(ctx: Context) -> object:
    if "fail" in ctx.input["text"]:
        raise ValueError("it can't be done")
    child = SubTask(key="part", capability="work.part", layer="specialist")
    return {"done": (await ctx.spawn([child]))["part"].result, "heard": await ctx.wait_for_signal("go")}


@coordinate.on_escalation
async def answer(ctx: Context) -> object:
    return "from above" if ctx.input["about"] == "up" else None


@agent("work.part")
async def part(ctx: Context) -> object:
    if ctx.input in ("up", "nobody"):
        raise GiveUp("too hard")
    return 42
"""
FLEET = """
name: patient
limits: {max_workflows: 1, max_agent_spawn_rate: 1}
tools:
  look: {http: {url: "https://example.com/look"}, about: Look}
policies: policies.yaml
pools:
  - {name: boss, agent: "patient_agents:coordinate", capabilities: [executive.coordinate], layer: executive, retry: {retries: 0}}
  - {name: hand, agent: "patient_agents:part", capabilities: [work.part], lead: boss, replicas: 2}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a fleet whose goals end when they hear `go`, one at a time."""
    folder = tmp_path_factory.mktemp("patient")
    (folder / "patient_agents.py").write_text(AGENTS)
    (folder / "fleet.yaml").write_text(FLEET)
    (folder / "policies.yaml").write_text("rules: [{name: may-look, allow: look, pools: hand}]")
    running = asyncio.run(start_fleet(request_for(str(folder / "fleet.yaml"), Home(folder / "home"), ports=(0, 0))))
    yield folder / "home"
    asyncio.run(running.stop())


@pytest.fixture
def link(home: Path) -> Iterator[Link]:
    made = Link(home)
    yield made
    made.close()


async def until(executor: WorkflowExecutor, execution_id: str, **wanted: object) -> dict[str, object]:
    """Return the status once it says so."""
    async with asyncio.timeout(60):
        while True:
            status = executor.get_execution_status(execution_id)
            if {name: status[name] for name in wanted} == wanted:
                return status
            await asyncio.sleep(0.05)


async def go(link: Link, execution_id: str) -> None:
    async def signal(fleet, _) -> None:
        held = await fleet.queue.workflow(execution_id)
        await fleet.signal(held["root_id"], "go", "now")

    await link.ask(signal)


@pytest.mark.requirement("A4")
async def test_the_second_execution_waits_for_the_first(link: Link) -> None:
    executor = WorkflowExecutor(link)
    first, second = [await executor.execute_workflow(f"goal {n}") for n in range(2)]
    halfway = await until(executor, first, completed_tasks=1)
    assert halfway["status"] == "running" and 0 < halfway["progress_percentage"] < 100
    assert halfway["layers"]["specialist"] == {"completed": 1, "running": 0, "total": 1}
    waiting = executor.get_execution_status(second)
    assert (waiting["status"], waiting["completed_tasks"], waiting["progress_percentage"]) == ("waiting", 0, 0.0)
    await go(link, first)
    ended = await until(executor, first, status="completed")
    assert (ended["result"], ended["progress_percentage"]) == ({"done": 42, "heard": "now"}, 100.0)
    await until(executor, second, status="running")
    await go(link, second)
    await until(executor, second, status="completed")


async def test_a_failure_is_told_in_a_sentence(link: Link) -> None:
    executor = WorkflowExecutor(link)
    status = await until(executor, await executor.execute_workflow("fail"), status="failed")
    assert "it can't be done" in status["failure"] and status["result"] is None


async def test_an_unknown_execution_and_an_empty_goal_are_refused(link: Link) -> None:
    with pytest.raises(WorkflowUnknown):
        WorkflowExecutor(link).get_execution_status("none")
    with pytest.raises(InputUnusable):
        await WorkflowExecutor(link).execute_workflow(" ")


@pytest.mark.requirement("A2", "A6")
async def test_a_specialist_is_added_to_the_running_fleet_and_leaves_with_the_program(link: Link, home: Path) -> None:
    manager = AgentHierarchyManager(link)
    assert await manager.create_specialist_agent("work.part", count=2) == ["hand-3", "hand-4"]
    async with asyncio.timeout(60):  # the fleet's own may be on their way
        while (status := manager.get_hierarchy_status())["layers"]["specialist"]["pools"]["hand"]["agents"]["idle"] != 4:
            await asyncio.sleep(0.05)
    assert status["hosts"] == 2
    async with asyncio.timeout(60):  # it goes by what is wanted of the fleet, or `amas scale` would wait for it
        while (await link.api(lambda client: client.fleet.desired())).behind:
            await asyncio.sleep(0.05)
    helped = [await manager.request_specialist_help("work.part") for _ in range(8)]
    assert {each.answer for each in helped} == {42}
    with pytest.raises(FleetError, match=r"its limit \(max_agents_per_pool\) is 5: 2 don't fit"):
        await manager.create_specialist_agent("hand", count=2)
    with pytest.raises(AgentUnknown, match="there are boss, hand"):
        await manager.create_specialist_agent("nobody")
    link.close()
    again = Link(home)
    try:
        assert AgentHierarchyManager(again).get_hierarchy_status()["total_agents"] == 3
    finally:
        again.close()


@pytest.mark.requirement("A2", "A6")
async def test_help_comes_from_the_specialist_else_from_above_at_last_from_a_person(link: Link) -> None:
    manager = AgentHierarchyManager(link)
    helped = await manager.request_specialist_help("work.part")
    assert (helped.answer, helped.by.rpartition("-")[0], helped.asked) == (42, "hand", ())
    assert await manager.request_specialist_help("work.part", "up") == ("from above", "boss", ("work.part",))
    with pytest.raises(TaskFailed, match=r"nobody helped with 'work.part': too hard; asked: work.part, boss"):
        await manager.request_specialist_help("work.part", "nobody", timeout_s=1.0)
    with pytest.raises(CapabilityUnknown):
        await manager.request_specialist_help("work.none")


def test_the_hierarchy_is_that_of_the_running_fleet(link: Link, home: Path) -> None:
    status = AgentHierarchyManager(link).get_hierarchy_status()
    assert (status["fleet"], status["hosts"], status["total_agents"]) == ("patient", 1, 3)
    assert status["agents"] == {"idle": 3, "working": 0, "error": 0, "healing": 0}
    assert status["layers"]["specialist"]["pools"]["hand"]["lead"] == "boss"
    assert status["layers"]["specialist"]["pools"]["hand"]["agents"]["idle"] == 2
    link.close()
    assert fleet_state(home).status == "running"  # it isn't ours to end


@pytest.mark.requirement("T1", "T2")
async def test_tasks_are_handed_to_whoever_can_do_them_and_their_results_put_together(link: Link) -> None:
    distributor = TaskDistributor(link)
    assert await distributor.perform("work.part") == 42
    with pytest.raises(TaskFailed, match="too hard"):
        await distributor.perform("work.part", "nobody")
    parts = {
        "sound": NewTask(capability="work.part"),
        "wrong": NewTask(capability="work.part", input="nobody"),
        "late": NewTask(capability="work.part", delay_s=3600),
    }
    together = await distributor.collaborate(parts, timeout_s=5)
    assert together.results == {"sound": 42}
    assert together.failures == {"wrong": "too hard", "late": "it had no end within 5 s"}
    (task_id,) = await distributor.submit(NewTask(capability="work.part", delay_s=3600))
    assert (await distributor.explain(task_id)).pool == "hand"
    assert (await distributor.table()).routes == ()
    assert await distributor.choose("work.part", task_id) is None
    assert await distributor.collaborate({}) == ({}, {})
    with pytest.raises(TaskUnknown, match="the engine holds no task 'none'"):
        await distributor.explain("none")


@pytest.mark.requirement("T1", "T3")
async def test_the_fleet_is_seen_in_figures(link: Link) -> None:
    monitor = PerformanceMonitor(link)
    await TaskDistributor(link).perform("work.part")
    figures = await monitor.get_performance_metrics()
    assert figures.agents.total == 3 and figures.tasks.succeeded >= 1
    async with asyncio.timeout(60):  # the history follows the engine
        while not (found := {each.name: each for each in (await monitor.get_analytics(hours=1)).pools}):
            await asyncio.sleep(0.05)
    assert found["hand"].succeeded >= 1
    assert (await monitor.get_report(since_s=3600)).tasks.lost == ()
    assert {each.name for each in (await monitor.get_costs(by="pool")).items} >= {"hand"}
    assert (await monitor.get_scaling_decisions()).pools == ()
    assert await monitor.get_savings() == (await monitor.get_usage()).savings


@pytest.mark.requirement("T1", "T5")
async def test_policies_in_force_are_asked_and_refusals_are_kept(link: Link) -> None:
    policies = FleetPolicyManager(link)
    assert [rule.name for rule in policies.rules] == ["may-look"]
    assert policies.decide(policies.call("hand-1", "look", {})).allowed
    refused = await policies.permit(policies.call("boss-1", "look", {}))
    assert not refused.allowed and "boss-1 may not use 'look'" in refused.why
    assert (await policies.refusals(limit=1))[0].why == refused.why
    with pytest.raises(AgentUnknown, match="there is no pool 'hnad'"):
        policies.call("hnad-1", "look", {})


@pytest.mark.requirement("T1")
async def test_all_parts_are_at_hand_together(home: Path) -> None:
    async with AgentOrchestrator(home) as orchestrator:
        status = await orchestrator.get_status()
        assert (status["fleet"], status["performance"]["agents"]["total"]) == ("patient", 3)
        with pytest.raises(TaskFailed, match="it can't be done"):
            await orchestrator.orchestrate("fail")
        assert await orchestrator.distributor.perform("work.part") == 42
        agent = await orchestrator.registry.register("guest", ["guest.work"])
        assert (await orchestrator.registry.get(agent)) is not None
    assert fleet_state(home).status == "running"


@pytest.mark.requirement("T1", "A6")
def test_the_public_names_are_those_of_the_requirements() -> None:
    for part in ("task_distributor", "policy_manager", "performance_monitor", "agent_orchestrator", "agent_registry"):
        named = getattr(orchestration, f"get_{part}")()
        public = {"agent_registry": "RedisAgentRegistry"}.get(part, part.title().replace("_", ""))
        assert isinstance(named, getattr(orchestration, public))
    assert {name for name in orchestration.__all__ if not hasattr(orchestration, name)} == set()
