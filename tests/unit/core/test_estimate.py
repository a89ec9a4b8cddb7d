import pytest

from amas.core.estimate import estimated, estimates_of, over_budget
from amas.core.plan import problems
from amas.model.fleet import FleetLimits, PoolSpec
from amas.model.goal import Complexity, Plan, SubTask
from amas.model.limits import Amounts


def task(key: str, *needs: str, capability: str = "a.b", **more: object) -> SubTask:
    return SubTask(key=key, capability=capability, needs=needs, **more)  # type: ignore[arg-type]


def pool(name: str, *capabilities: str, **amounts: float) -> PoolSpec:
    return PoolSpec(name=name, agent="m:a", capabilities=capabilities, estimate=Amounts(**amounts) if amounts else None)  # type: ignore[arg-type]


ESTIMATES = {"a.b": Amounts(usd=0.5, agent_s=10.0), "c.d": Amounts(tokens=100), "@own": Amounts(usd=2.0)}


def test_sums_are_of_what_is_declared_and_the_rest_is_named() -> None:
    got = estimated([task("a"), task("b"), task("c", capability="c.d"), task("d", capability="e.f")], ESTIMATES)
    assert got.total == Amounts(usd=1.0, tokens=100, agent_s=20.0)
    assert got.unknown == {
        "usd": ("c.d", "e.f"),
        "tokens": ("a.b", "e.f"),
        "calls": ("a.b", "c.d", "e.f"),
        "agent_s": ("c.d", "e.f"),
    }


def test_a_sub_task_s_own_word_counts_before_its_pool_s_and_a_pool_s_before_the_capability_s() -> None:
    assert estimated([task("a", estimate=Amounts(usd=3.0))], ESTIMATES).total == Amounts(usd=3.0, agent_s=10.0)
    assert estimated([task("a", pool="own")], ESTIMATES).total == Amounts(usd=2.0)


def test_what_it_surely_spawns_counts_and_timers_don_t() -> None:
    got = estimated([task("lead", capability="m.lead", spawns=("a.b", "c.d")), task("t", kind="timer")], ESTIMATES)
    assert got.total == Amounts(usd=0.5, tokens=100, agent_s=10.0)
    assert got.unknown["usd"] == ("c.d", "m.lead")
    assert got.critical_s == 10.0


def test_the_critical_path_is_the_longest_in_seconds() -> None:
    slow = Amounts(agent_s=30.0)
    tasks = [task("a"), task("b", "a"), task("slow", estimate=slow, delay_s=5), task("end", "b", "slow")]
    got = estimated(tasks, ESTIMATES)
    assert got.critical_path == ("slow", "end")
    assert got.critical_s == 45.0
    after = [task("a"), task("b", runs_after=("a",))]
    assert estimated(after, ESTIMATES).critical_path == ("a", "b")


def test_where_no_time_is_declared_the_longest_chain_is_shown_without_seconds() -> None:
    got = estimated([task("end", "b", "x"), task("x"), task("b", "a"), task("a")], {})
    assert got.critical_path == ("a", "b", "end")
    assert got.critical_s is None
    assert got.total == Amounts()
    assert estimated([], {}).critical_path == ()


def test_of_pools_that_share_a_capability_the_dearest_counts() -> None:
    got = estimates_of([pool("p", "a.b", usd=1.0), pool("q", "a.b", usd=3.0, tokens=5), pool("r", "a.b")])
    assert got == {
        "a.b": Amounts(usd=3.0, tokens=5), "@p": Amounts(usd=1.0), "@q": Amounts(usd=3.0, tokens=5),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "sentences"),
    [
        (None, []),
        (Amounts(usd=1.0, calls=0), []),
        (Amounts(usd=0.99), ["the plan takes at least 1 USD, over the budget of 0.99 USD"]),
        (
            Amounts(usd=0.0, agent_s=19.5),
            [
                "the plan takes at least 1 USD, over the budget of 0 USD",
                "the plan takes at least 20 s of agents' time, over the budget of 19.5 s of agents' time",
            ],
        ),
    ],
)
def test_what_is_over_the_budget_is_said_with_the_sum(budget: Amounts | None, sentences: list[str]) -> None:
    estimate = estimated([task("a"), task("b", "a")], ESTIMATES)
    assert over_budget(estimate, budget) == sentences
    plan = Plan(playbook="p", complexity=Complexity.SIMPLE, tasks=(task("a"), task("b", "a")), deliverable="b", estimate=estimate)
    assert problems(plan, capabilities={"a.b"}, limits=FleetLimits(), budget=budget) == sentences
