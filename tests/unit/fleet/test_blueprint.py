# ruff: noqa: E501  fleet files, a line each
"""The fleet that ships with the product holds what A2 names."""

import pytest

from amas.core.scaling import decide
from amas.core.scaling_history import ScalingMemory
from amas.fleet.load import load_fleet
from amas.model.scaling import Observation, ScalingTargets
from amas.model.states import Layer

CONTRACT = {
    "executive.coordinate", "executive.quality", "executive.approve",
    "management.research", "management.analysis", "management.creative", "management.qa", "management.technical", "management.integration",
    "development.code_review", "development.style", "development.security", "development.complexity", "development.dead_code",
    "development.modernise", "development.simplify", "development.performance", "development.exceptions", "development.typing",
    "development.async_code", "development.dates", "documentation.docstrings", "documentation.api_docs", "documentation.coverage",
    "testing.style", "testing.run", "analytics.metrics", "analytics.imports", "analytics.hotspots", "compliance.licences",
    "compliance.dependencies", "research.project_profile", "research.read", "research.search",
    "research.extract", "research.tables", "research.write", "execution.collect", "reporting.charts", "reporting.write",
    "execution.ingest", "execution.tools", "execution.partition", "execution.publish",
}  # fmt: skip


@pytest.mark.requirement("A2")
def test_the_four_layers_have_all_that_is_named() -> None:
    spec = load_fleet("amas", environ={})
    titles = {layer: {pool.title for pool in spec.pools if pool.layer is layer} for layer in Layer}
    assert titles[Layer.EXECUTIVE] == {"Task Coordinator", "Quality Supervisor"}
    assert titles[Layer.MANAGEMENT] == {
        f"{name} Lead" for name in ("Research", "Analysis", "Creative", "QA", "Technical", "Integration")
    }
    assert len(titles[Layer.SPECIALIST]) >= 20
    assert {title.partition(" (")[0] for title in titles[Layer.EXECUTION]} == {"Tool Manager", "API Gateway", "Task Scheduler"}


def test_it_can_do_what_the_playbooks_ask_for() -> None:
    assert load_fleet("amas", environ={}).capabilities == CONTRACT


@pytest.mark.requirement("N4")
def test_noors_frontend_goes_from_one_replica_to_three_under_many_tasks_and_comes_back() -> None:
    noor = load_fleet("noor", environ={})
    assert {pool.name for pool in noor.pools if not pool.scaling} == {"orchestrator"}
    frontend = noor.pool("frontend")
    assert frontend.scaling is not None
    sizes, memory, replicas = [], ScalingMemory(), frontend.replicas
    for minute in range(30):
        busy = minute < 10
        seen = Observation(at_ms=minute * 60_000, waiting=40 if busy else 0, running=3 * replicas if busy else 0)
        decided = decide(frontend.scaling, memory, seen, replicas=replicas, slots=frontend.tasks_per_agent)
        memory, replicas = decided.memory, decided.decision.replicas
        sizes.append(replicas)
    assert (sizes[0], max(sizes), sizes[9], sizes[-1]) == (1, 3, 3, 1)


@pytest.mark.requirement("M1", "M7", "M10")
def test_mas_scales_its_executors_coordinators_and_learning_agent_by_the_rules() -> None:
    mas = load_fleet("mas", environ={})
    executors, coordinators, learning = (mas.pool(name).scaling for name in ("task-executor", "coordinator", "learning-agent"))
    assert executors and coordinators and learning and learning.vertical
    assert (executors.min, executors.max, executors.targets) == (3, 20, ScalingTargets(cpu=0.7, queue_total=1000))
    assert (executors.up.count, executors.up.percent, executors.up.cooldown_s) == (2, 0.0, 300)
    assert coordinators.targets == ScalingTargets(cpu=0.75)
    assert (coordinators.up.count, coordinators.up.percent, coordinators.up.cooldown_s) == (1, 0.0, 600)
    assert (learning.vertical.memory, learning.vertical.step_mb, learning.vertical.cooldown_s) == (0.8, 8192, 1800)
    assert {pool.healing.check_every_s for pool in mas.pools} == {30.0}


@pytest.mark.requirement("N1")
def test_noor_is_eleven_agents_of_whom_the_orchestrator_leads_ten() -> None:
    spec = load_fleet("noor", agents=True, environ={})
    assert [pool.replicas for pool in spec.pools] == [1] * 11
    assert {"Orchestrator", "AURORA", "Frontend", "Backend", "DevOps", "QA"} <= {pool.title for pool in spec.pools}
    assert [pool.lead for pool in spec.pools] == ["", *["orchestrator"] * 10]
    research = {
        one
        for one in CONTRACT
        if one in {"execution.collect"} or (one.startswith("research.") and one != "research.project_profile")
    }
    assert spec.capabilities == CONTRACT - research, "all that goals about code bases ask for"
