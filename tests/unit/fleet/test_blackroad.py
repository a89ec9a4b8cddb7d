"""The blueprint `blackroad` is B1: seven families, 27 specialities, 30,000 agents, and says of each whether it has a skill."""

from collections import Counter

import pytest

from amas.fleet.load import load_fleet

B1 = {
    "quantum physics": {"quantum mechanics": 400, "relativity": 300, "cosmology": 300},
    "development": {"code review": 1500, "testing": 1500, "CI/CD": 1000, "deployment": 1000},
    "research": {"literature search": 2000, "paper analysis": 1500, "synthesis": 1000, "citation": 500},
    "documentation": {"API docs": 2000, "tutorials": 1500, "guides": 1000, "translations": 500},
    "monitoring": {"infrastructure": 2000, "application": 1500, "security": 1000, "compliance": 500},
    "integration": {"API connectors": 2000, "data pipelines": 1500, "webhooks": 1000, "transformations": 500},
    "analytics": {"metrics": 1500, "predictions": 1000, "insights": 1000, "reports": 500},
}
FAMILIES = {
    "quantum physics": 1000, "development": 5000, "research": 5000, "documentation": 5000,
    "monitoring": 5000, "integration": 5000, "analytics": 4000,
}  # fmt: skip


@pytest.mark.requirement("B1")
def test_the_numbers_are_those_of_b1() -> None:
    spec = load_fleet("blackroad", agents=True)
    declared: dict[str, dict[str, int]] = {}
    for pool in spec.pools:
        declared.setdefault(pool.labels["family"], {})[pool.labels["speciality"]] = pool.replicas
    assert declared == B1
    assert {family: sum(of.values()) for family, of in declared.items()} == FAMILIES
    assert (len(spec.pools), sum(pool.replicas for pool in spec.pools)) == (27, 30_000)


@pytest.mark.requirement("B1")
def test_a_pool_without_a_skill_says_so_and_none_shares_a_capability() -> None:
    spec = load_fleet("blackroad")
    skilled = {pool.labels["speciality"]: pool.skill for pool in spec.pools if pool.skill != "none"}
    assert skilled["code review"] == "ruff_review" and skilled["metrics"] == "metrics"
    stand_ins = [pool for pool in spec.pools if pool.skill == "none"]
    assert all(pool.agent == "amas.agents.stand_in:StandIn" for pool in stand_ins)
    assert len(stand_ins) + len(skilled) == 27
    assert max(Counter(capability for pool in spec.pools for capability in pool.capabilities).values()) == 1
