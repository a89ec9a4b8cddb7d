# ruff: noqa: E501  fleet files, a line each
"""The fleet that ships with the product holds what A2 names."""

import pytest

from amas.fleet.load import load_fleet
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
