from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from amas.core.assignment import Crew, assigned, assignment_problems
from amas.model.goal import SubTask
from amas.model.limits import Amounts


def crew(pool: str, *capabilities: str, slots: int = 1, usd: float = 0.0) -> Crew:
    return Crew(pool=pool, capabilities=capabilities, slots=slots, usd=usd)


def tasks(count: int, capability: str = "a", **more: object) -> list[SubTask]:
    return [SubTask(key=f"{capability}{number}", capability=capability, **more) for number in range(count)]  # type: ignore[arg-type]


def test_work_is_dealt_out_by_size() -> None:
    found = assigned(tasks(12), [crew("big", "a", slots=3), crew("small", "a"), crew("other", "b")], {})
    assert Counter(pool for pools in found.pools.values() for pool in pools) == {"big": 9, "small": 3}


def test_of_two_that_are_free_the_cheaper_one_gets_it() -> None:
    assert assigned(tasks(1), [crew("dear", "a", usd=1.0), crew("cheap", "a", usd=0.1)], {}).pools == {"a0": ("cheap",)}


def test_a_pool_that_two_capabilities_share_is_not_counted_twice() -> None:
    both = [*tasks(4), *tasks(4, "b")]
    found = assigned(both, [crew("both", "a", "b"), crew("only-b", "b")], {})
    assert [found.pools[f"b{n}"] for n in range(4)] == [("only-b",)] * 4


def test_what_a_lead_spawns_is_assigned_too_and_a_named_pool_is_kept_to() -> None:
    lead = SubTask(key="part", capability="lead", spawns=("a", "nobody"))
    pinned = SubTask(key="pinned", capability="a", pool="second")
    found = assigned([lead, pinned], [crew("boss", "lead"), crew("first", "a"), crew("second", "a")], {})
    assert found.pools["part"] == ("boss", "first")
    assert found.pools["pinned"] == ("second",)
    assert found.unassigned == ()


def test_nobody_and_too_late_are_problems() -> None:
    found = assigned(tasks(4), [crew("pool", "a", slots=2)], {"a": Amounts(agent_s=30)})
    assert (found.busiest, found.busiest_s) == ("pool", 60.0)
    assert assignment_problems(found, deadline_s=60) == []
    assert assignment_problems(found, deadline_s=59) == [
        "the pool 'pool' is busy with the plan for at least 60 s, over the deadline of 59 s"
    ]
    assert assignment_problems(assigned(tasks(1), [], {}), deadline_s=0) == ["there is nobody for task 'a0'"]


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_nobody_gets_more_than_the_fairest_share_and_one_task(seconds: list[int], slots: list[int]) -> None:
    """The bound of list scheduling: a pool got its last task because nobody was done sooner."""
    work = [SubTask(key=str(n), capability="a", estimate=Amounts(agent_s=each)) for n, each in enumerate(seconds)]
    found = assigned(work, [crew(f"p{n}", "a", slots=each) for n, each in enumerate(slots)], {})
    assert len(found.pools) == len(work)
    assert found.busiest_s <= sum(seconds) / sum(slots) + max(seconds)
