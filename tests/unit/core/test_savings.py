"""What a fleet saves: only what is at work, and dollars only where the fleet file says what an agent costs."""

import pytest

from amas.core.savings import savings
from amas.model.fleet import PoolSpec
from amas.model.scaling import HostScaling, PoolScaling, ScalingSpec, ScalingWindow

MONDAY_NOON_MS = 1_757_332_800_000


def pool(name: str, scaling: ScalingSpec | None) -> PoolSpec:
    return PoolSpec(name=name, agent="x:y", capabilities=("a.b",), scaling=scaling)


def view(name: str, replicas: int, *, recommend_only: bool = False) -> PoolScaling:
    return PoolScaling(
        pool=name, replicas=replicas, min=1, max=10, recommended=replicas, reason="", recommend_only=recommend_only
    )


@pytest.mark.requirement("B10", "B11")
def test_a_pool_below_its_most_saves_what_its_agents_would_cost() -> None:
    priced = pool("priced", ScalingSpec(max=10, agent_usd_per_hour=0.5))
    unpriced, full = pool("unpriced", ScalingSpec(max=10)), pool("full", ScalingSpec(max=2, agent_usd_per_hour=9.0))
    advice = pool("advice", ScalingSpec(max=10, agent_usd_per_hour=9.0))
    views = {
        "priced": view("priced", 4),
        "unpriced": view("unpriced", 1),
        "full": view("full", 2),
        "advice": view("advice", 1, recommend_only=True),
    }
    found = savings([priced, unpriced, full, advice, pool("fixed", None)], views, now_ms=MONDAY_NOON_MS)
    assert [(one.words, one.usd_per_hour) for one in found.active] == [
        ("priced has 4 of at most 10 agents", 3.0), ("unpriced has 1 of at most 10 agents", None),
    ]  # fmt: skip
    assert found.usd_per_hour == 3.0
    assert savings([unpriced], views, now_ms=MONDAY_NOON_MS).usd_per_hour is None


def test_windows_hosts_and_caches_count_while_they_are_at_work() -> None:
    night = ScalingWindow(when="daily 22:00-06:00", max=1)
    day = ScalingWindow(when="Mon-Fri 08:00-20:00", min=2, max=5)
    hosts = HostScaling(scaling=ScalingSpec(max=4)), view("hosts", 1)
    spec = pool("coder", ScalingSpec(max=10, windows=(night, day)))
    found = savings([spec], {}, now_ms=MONDAY_NOON_MS, hosts=hosts, cached=(40, 100))
    assert [(one.kind, one.words) for one in found.active] == [
        ("window", "coder has at least 2 and at most 5 agents now (Mon-Fri 08:00-20:00 UTC)"),
        ("hosts", "1 of at most 4 hosts run"),
        ("prompt_cache", "40% of the last day's input tokens came from providers' caches"),
    ]
