"""Whatever the load does, a pool keeps to its bounds and its pace, and never goes up, down and up again within its windows."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from amas.core.scaling import Turn, decide
from amas.core.scaling_history import At, ScalingMemory
from amas.model.scaling import Observation, ScalingPace, ScalingSpec, ScalingTargets

STEP_MS = 5_000
START_MS = 1_800_000_000_000


@st.composite
def specs(draw: st.DrawFn) -> ScalingSpec:
    low = draw(st.integers(0, 4))
    share = st.one_of(st.none(), st.floats(0.05, 1))
    amount = st.one_of(st.none(), st.floats(0.1, 50))
    targets = ScalingTargets(
        queue_depth=draw(amount), queue_total=draw(amount), oldest_s=draw(amount), utilisation=draw(share), cpu=draw(share)
    )
    return ScalingSpec(
        min=low,
        max=draw(st.integers(max(low, 1), 60)),
        targets=targets,
        up=draw(paces()),
        down=draw(paces()),
        tolerance=draw(st.sampled_from((0.0, 0.1))),
        idle_s=draw(st.sampled_from((0.0, 20.0))),
        forecast=draw(st.booleans()),
    )


@st.composite
def paces(draw: st.DrawFn) -> ScalingPace:
    times = st.sampled_from((0.0, 5.0, 20.0, 30.0))
    return ScalingPace(
        count=draw(st.integers(1, 5)),
        percent=draw(st.sampled_from((0.0, 10.0, 50.0))),
        every_s=draw(times),
        after_s=draw(times),
        cooldown_s=draw(times),
    )


@st.composite
def loads(draw: st.DrawFn) -> list[Observation]:
    """Return looks at a pool, a step apart; what arrived never gets less."""
    arrived, looks = 0, []
    for index in range(draw(st.integers(2, 60))):
        arrived += draw(st.integers(0, 200))
        backlog = draw(st.integers(0, min(arrived, 300)))
        looks.append(
            Observation(
                at_ms=START_MS + index * STEP_MS,
                waiting=backlog,
                backlog=backlog,
                arrived=arrived,
                running=draw(st.integers(0, 80)),
                cpu=draw(st.floats(0, 2)),
            )
        )
    return looks


def followed(spec: ScalingSpec, looks: Sequence[Observation], *, start: int) -> list[Turn]:
    """Return the decisions of a pool that is always made what was decided."""
    memory, size, turns = ScalingMemory(), start, []
    for seen in looks:
        turn = decide(spec, memory, seen, replicas=size)
        memory, size = turn.memory, turn.decision.replicas
        turns.append(turn)
    return turns


@given(specs(), loads(), st.integers(0, 80))
@settings(deadline=None, max_examples=50)
def test_a_pool_stays_within_its_bounds(spec: ScalingSpec, looks: list[Observation], start: int) -> None:
    for turn in followed(spec, looks, start=start):
        assert spec.min <= turn.decision.replicas <= spec.max
        assert turn.decision.reason


@given(specs(), loads())
@settings(deadline=None, max_examples=50)
def test_it_never_turns_round_within_its_windows(spec: ScalingSpec, looks: list[Observation]) -> None:
    grew_ms = shrank_ms = None
    for turn in followed(spec, looks, start=max(spec.min, 1)):
        made = turn.decision
        if made.replicas > made.before:
            if shrank_ms is not None and made.before:  # a pool without agents is woken at once
                assert made.at_ms - shrank_ms > spec.up.after_s * 1000
            grew_ms = made.at_ms
        elif made.replicas < made.before:
            if grew_ms is not None:
                assert made.at_ms - grew_ms > spec.down.after_s * 1000
            shrank_ms = made.at_ms


@given(specs(), loads())
@settings(deadline=None, max_examples=50)
def test_it_is_never_faster_than_its_pace(spec: ScalingSpec, looks: list[Observation]) -> None:
    start = max(spec.min, 1)
    sizes = [At(0, start)]
    for turn in followed(spec, looks, start=start):
        made = turn.decision
        for pace, sign in ((spec.up, 1), (spec.down, -1)):
            earlier = [at.agents for at in sizes if at.at_ms >= made.at_ms - pace.every_s * 1000] + [sizes[-1].agents]
            for base in earlier:
                assert sign * (made.replicas - base) <= max(pace.count, base * pace.percent / 100)
        sizes.append(At(made.at_ms, made.replicas))


@given(specs(), loads())
@settings(deadline=None, max_examples=50)
def test_it_rests_after_a_change(spec: ScalingSpec, looks: list[Observation]) -> None:
    changed_ms = None
    for turn in followed(spec, looks, start=max(spec.min, 1)):
        made = turn.decision
        if made.replicas != made.before:
            pace = spec.up if made.replicas > made.before else spec.down
            if changed_ms is not None and made.before:
                assert made.at_ms - changed_ms >= pace.cooldown_s * 1000
            changed_ms = made.at_ms


@given(specs(), loads(), st.integers(0, 60), st.integers(0, 200), st.integers(0, 50))
@settings(deadline=None, max_examples=50)
def test_more_work_never_asks_for_fewer_agents(
    spec: ScalingSpec, looks: list[Observation], start: int, more_waiting: int, more_running: int
) -> None:
    *before, last = looks
    turns = followed(spec, before, start=start)
    memory, size = turns[-1].memory, turns[-1].decision.replicas
    assert last.arrived is not None
    more_waiting = min(more_waiting, last.arrived - last.backlog)
    fuller = Observation(
        at_ms=last.at_ms,
        waiting=last.waiting + more_waiting,
        backlog=last.backlog + more_waiting,
        arrived=last.arrived,
        running=last.running + more_running,
        cpu=last.cpu,
    )
    assert decide(spec, memory, fuller, replicas=size).decision.replicas >= (
        decide(spec, memory, last, replicas=size).decision.replicas
    )


@given(specs(), loads(), st.integers(0, 80))
@settings(deadline=None, max_examples=50)
def test_what_stays_as_it_is_moves_it_one_way_and_then_no_more(spec: ScalingSpec, looks: list[Observation], start: int) -> None:
    spec = replace(spec, targets=replace(spec.targets, oldest_s=None))  # a wait that grows doesn't stay as it is
    last = looks[-1]
    later = [replace(last, at_ms=last.at_ms + index * STEP_MS) for index in range(200)]
    sizes = [turn.decision.replicas for turn in followed(spec, later, start=start)]
    moves = {after > before for before, after in pairwise(sizes) if after != before}
    assert len(moves) <= 1, sizes
    assert len(set(sizes[-20:])) == 1, sizes


@given(specs(), st.floats(0.0, 4.0), st.integers(1, 20), st.integers(0, 60))
@settings(deadline=None, max_examples=20, derandomize=True)
def test_under_a_constant_load_it_settles_and_stays(spec: ScalingSpec, per_step: float, service: int, start: int) -> None:
    """Arrivals a step and steps of work are always the same, what agents can't begin waits: the size follows, and stays.

    A forecast may waver between two sizes, though never within the windows.
    """
    targets = replace(spec.targets, cpu=None, queue_depth=spec.targets.queue_depth or 5.0)
    spec = replace(spec, down=replace(spec.down, after_s=300.0), idle_s=300.0, targets=targets, forecast=False)
    size, memory, waiting, running = start, ScalingMemory(), 0.0, [0.0] * service
    arrived, moves, settled = 0.0, set(), 1000
    for index in range(1400):
        arrived += per_step
        begun = min(waiting + per_step, max(0.0, size - sum(running[1:])))
        waiting += per_step - begun
        running = [*running[1:], begun]
        seen = Observation(
            at_ms=START_MS + index * STEP_MS,
            waiting=ceil(waiting - 1e-6),
            backlog=ceil(waiting - 1e-6),
            arrived=ceil(arrived),
            running=ceil(sum(running) - 1e-6),
        )
        made, memory = decide(spec, memory, seen, replicas=size)
        if made.replicas != size and index >= settled:
            moves.add(made.replicas > size)
        size = made.replicas
    assert len(moves) <= 1
