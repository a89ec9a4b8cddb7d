"""Random graphs against a plain model: repeated removal of tasks whose needs are all gone leaves exactly the cyclic ones."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from amas.core.plan import DEPTH_MAX, depth, find_cycle, needed_by, problems
from amas.model.fleet import FleetLimits
from amas.model.goal import Complexity, Plan, SubTask

Graph = dict[str, tuple[str, ...]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    keys = [f"t{i}" for i in range(draw(st.integers(1, 12)))]
    return {key: tuple(draw(st.lists(st.sampled_from(keys), max_size=3))) for key in keys}


def peeled(graph: Graph) -> tuple[bool, int]:
    """Return whether the graph has no cycle, and in how many rounds its tasks could run."""
    left, rounds = dict(graph), 0
    while left:
        ready = [key for key, needs in left.items() if not any(need in left for need in needs)]
        if not ready:
            return False, 0
        left = {key: needs for key, needs in left.items() if key not in ready}
        rounds += 1
    return True, rounds


@given(graphs())
def test_cycles_and_depth_agree_with_peeling(graph: Graph) -> None:
    sound, rounds = peeled(graph)
    cycle = find_cycle(graph)
    assert (cycle == []) is sound
    if sound:
        assert depth(graph) == rounds
    else:
        assert cycle[0] == cycle[-1]
        assert all(after in graph[key] for key, after in itertools.pairwise(cycle))


@given(graphs(), st.data())
def test_a_plan_is_refused_exactly_when_the_model_says_so(graph: Graph, data: st.DataObject) -> None:
    deliverable = data.draw(st.sampled_from(sorted(graph)))
    sound, rounds = peeled(graph)
    used, wave = {deliverable}, {deliverable}
    while wave := {need for key in wave for need in graph[key]} - used:
        used |= wave
    plan = Plan(
        playbook="p",
        complexity=Complexity.SIMPLE,
        tasks=tuple(SubTask(key=key, capability="c", needs=needs) for key, needs in graph.items()),
        deliverable=deliverable,
    )
    found = problems(plan, capabilities={"c"}, limits=FleetLimits())
    assert needed_by(deliverable, graph) == used
    assert (not found) is (sound and rounds <= DEPTH_MAX and used == set(graph))
