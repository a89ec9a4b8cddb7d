"""What a pool's size follows, signal by signal, and what is said of it."""

import pytest
from msgspec.structs import replace

from amas.core.scaling import decide
from amas.core.scaling_check import mistakes
from amas.core.scaling_history import INTERVAL_MS, At, Mark, ScalingMemory, arrivals, oldest_s, service_s
from amas.model.scaling import (
    Observation,
    ScalingDecision,
    ScalingPace,
    ScalingSpec,
    ScalingTargets,
    ScalingWindow,
)

NOW = 1_800_000_000_000  # a Friday, 08:00 UTC
AT_ONCE = ScalingPace(count=1000, every_s=0.0)
PLAIN = ScalingSpec(min=1, max=100, up=AT_ONCE, down=AT_ONCE, tolerance=0.0)


def size(spec: ScalingSpec, *, replicas: int = 4, slots: int = 1, **seen: object) -> ScalingDecision:
    """Return what is decided of a pool of which nothing is remembered but its size."""
    memory = ScalingMemory(seen_ms=NOW - 1000, sizes=(At(NOW - 10_000_000, replicas),))
    return decide(spec, memory, Observation(at_ms=NOW, **seen), replicas=replicas, slots=slots).decision


def following(**targets: float) -> ScalingSpec:
    return replace(PLAIN, targets=ScalingTargets(**targets))


@pytest.mark.parametrize(
    ("targets", "seen", "agents"),
    [
        ({"queue_depth": 10}, {"waiting": 61, "running": 3}, 10),  # 3 work, and 7 more for what waits
        ({"queue_depth": 10}, {"waiting": 5, "running": 30}, 31),
        ({"queue_depth": 0.1}, {"waiting": 5, "running": 2}, 7),  # no more agents than there are tasks
        ({"queue_total": 1000}, {"waiting": 3000, "running": 4}, 12),
        ({"queue_total": 1000}, {"waiting": 10, "running": 4}, 4),  # those that work stay
        ({"utilisation": 0.5}, {"running": 4}, 8),
        ({"utilisation": 0.5}, {"running": 1}, 2),
        ({"cpu": 0.7}, {"cpu": 1.05}, 6),
        ({"memory_mb": 1000}, {"memory_mb": 500}, 2),
        ({"messages": 100}, {"messages": 950}, 10),
        ({"workflows": 10}, {"workflows": 41}, 5),
        ({"queue_depth": 10, "messages": 10}, {"waiting": 30, "messages": 90}, 9),  # the neediest decides
        ({"queue_depth": 10}, {"waiting": 1e6, "running": 4}, 100),
        ({"queue_depth": 10}, {}, 1),
    ],
)
def test_the_neediest_signal_sets_the_size(targets: dict[str, float], seen: dict[str, object], agents: int) -> None:
    assert size(following(**targets), **seen).replicas == agents


def test_agents_with_several_places_count_by_place() -> None:
    assert size(following(utilisation=0.5), slots=4, running=16).replicas == 8
    assert size(following(queue_depth=10), slots=4, running=16, waiting=10).replicas == 5


def test_a_little_off_is_left_alone() -> None:
    spec = replace(following(utilisation=1), tolerance=0.1)
    assert size(spec, replicas=20, running=18).replicas == 20
    assert size(spec, replicas=20, running=17).replicas == 17


def test_a_reason_is_a_sentence_with_its_figures() -> None:
    spec = replace(following(queue_depth=10), up=ScalingPace(count=3, percent=50, every_s=60))
    assert size(spec, waiting=130, running=2).reason == (
        "grows from 4 to 7: 130 tasks wait, 10 for an agent, and 2 tasks run, which takes 15 agents; "
        "it may change by 3 or 50 % in 60 s"
    )
    assert size(PLAIN, running=2).reason == "shrinks from 4 to 2: 2 tasks run, which takes 2 agents"
    assert size(PLAIN, running=4).reason == "stays at 4: 4 tasks run, which takes 4 agents"
    assert size(replace(PLAIN, max=4), running=9).reason == (
        "stays at 4: 9 tasks run, which takes 9 agents; no more than 4 are allowed"
    )


def test_a_pool_grows_when_it_was_asked_for_all_the_time() -> None:
    spec = replace(PLAIN, up=ScalingPace(count=100, after_s=60))
    memory, made = ScalingMemory(), []
    for at_s, running in ((0, 4), (10, 9), (40, 8), (60, 9), (69, 9)):
        turn = decide(spec, memory, Observation(at_ms=NOW + at_s * 1000, running=running), replicas=4)
        memory = turn.memory
        made.append(turn.decision)
    assert [one.replicas for one in made] == [4, 4, 4, 4, 8]
    assert made[1].reason.endswith("more have to be asked for during 60 s")


def test_a_pool_without_agents_gets_some_at_once() -> None:
    spec = ScalingSpec(min=0, max=10, targets=ScalingTargets(queue_depth=10))
    woken = size(spec, replicas=0, waiting=95)
    assert woken.replicas == 3
    assert woken.reason == (
        "grows from 0 to 3: 95 tasks wait, 10 for an agent, and nothing runs, which takes 10 agents; "
        "it had none, and it may change by 3 or 50 % in 60 s"
    )
    assert size(spec, replicas=0).replicas == 0


def test_the_last_agent_goes_when_there_was_nothing_to_do_for_long_enough() -> None:
    spec = replace(PLAIN, min=0, idle_s=100)
    memory, sizes, replicas = ScalingMemory(), [], 1
    for at_s, running in ((0, 1), (10, 0), (100, 0), (109, 0), (110, 0)):
        turn = decide(spec, memory, Observation(at_ms=NOW + at_s * 1000, running=running), replicas=replicas)
        memory, replicas = turn.memory, turn.decision.replicas
        sizes.append(replicas)
    assert sizes == [1, 1, 1, 1, 0]


def test_money_stops_growth_and_takes_nobody_away() -> None:
    spec = replace(following(utilisation=1), usd_per_hour=3.0)

    def sized(replicas: int, usd: float | None, spec: ScalingSpec = spec) -> ScalingDecision:
        memory = ScalingMemory(seen_ms=NOW - 1000, sizes=(At(0, replicas),))
        return decide(spec, memory, Observation(at_ms=NOW, running=9), replicas=replicas, agent_usd_per_hour=usd).decision

    assert sized(4, 0.5).replicas == 6
    assert sized(8, 0.5).replicas == 8
    assert sized(8, 0.5).reason.endswith("3 USD an hour pay for 6 at 0.5 USD each")
    assert sized(4, None).replicas == 9, "nothing is known of what an agent costs"
    assert sized(1, 0.5, replace(spec, agent_usd_per_hour=1.5)).replicas == 2, "what is declared goes before what was learned"


def test_the_fleet_s_limit_stops_growth() -> None:
    made = decide(PLAIN, ScalingMemory(), Observation(at_ms=NOW, running=9), replicas=4, room=0).decision
    assert made.replicas == 4
    assert made.reason.endswith("the fleet has no room for more (max_total_agents)")


def test_a_window_changes_the_bounds_at_its_hour() -> None:
    day = ScalingWindow(when="Mon-Fri 08:00-20:00", min=5)
    night = ScalingWindow(when="daily 20:00-08:00", max=2)
    spec = replace(PLAIN, windows=(day, night))
    assert size(spec, replicas=1).replicas == 5
    assert size(spec, replicas=1).reason == (
        "grows from 1 to 5: nothing runs, which takes 0 agents; 5 are to be there at least at this time"
    )
    at_eight_pm = Observation(at_ms=NOW + 12 * 3_600_000, running=50)
    assert decide(spec, ScalingMemory(), at_eight_pm, replicas=50).decision.replicas == 2


def test_the_wait_is_told_from_what_came_and_what_has_gone() -> None:
    marks = (Mark(NOW, 0, 0, 0), Mark(NOW + 30_000, 100, 100, 0), Mark(NOW + 60_000, 100, 40, 5))
    memory = ScalingMemory(empty_ms=NOW, marks=marks)

    def waited(after_ms: int, **seen: int) -> float | None:
        return oldest_s(memory, Observation(at_ms=NOW + after_ms, **seen))

    assert waited(90_000, arrived=100, backlog=50) == pytest.approx(90 - 15.15)  # half of what came in the first 30 s is left
    assert waited(90_000, arrived=120, backlog=10) == pytest.approx(90 - 75.75)
    assert waited(90_000, arrived=100, backlog=0) == 0
    assert waited(90_000, backlog=5) is None
    empty = replace(memory, empty_ms=NOW + 85_000)
    assert oldest_s(empty, Observation(at_ms=NOW + 90_000, arrived=101, backlog=50)) == 5, "nothing is older than the queue"


def test_an_old_wait_asks_for_more() -> None:
    marks = (Mark(NOW - 60_000, 0, 0, 0),)
    memory = ScalingMemory(seen_ms=NOW - 1000, empty_ms=NOW - 60_000, marks=marks, sizes=(At(NOW - 90_000, 4),))
    seen = Observation(at_ms=NOW, waiting=100, backlog=100, arrived=100, running=4)
    made = decide(following(oldest_s=30), memory, seen, replicas=4).decision
    assert made.replicas == 8
    assert made.signals[0].words == "the next task has waited 59.7 s, 30 s are meant"


def test_work_and_arrivals_are_told_from_the_marks() -> None:
    marks = tuple(Mark(NOW + index * INTERVAL_MS, index * 60, 10, 6) for index in range(10))
    assert arrivals(marks) == [60.0] * 9
    assert service_s(marks) == pytest.approx(3.0)  # 6 at work, 2 begun a second
    assert service_s(marks[:1]) is None


def test_a_forecast_provides_before_they_come() -> None:
    """Arrivals rise by 12 each interval; agents that are asked for now are there three intervals later."""
    marks, arrived = [], 0
    for index in range(12):
        arrived += 120 + index * 12
        marks.append(Mark(NOW - (11 - index) * INTERVAL_MS, arrived, 0, (120 + index * 12) // 15))
    memory = ScalingMemory(seen_ms=NOW - 1000, marks=tuple(marks), sizes=(At(NOW - 10_000_000, 17),))
    seen = Observation(at_ms=NOW, arrived=arrived, running=16)
    spec = following(utilisation=1)
    assert decide(spec, memory, seen, replicas=17).decision.replicas == 16
    ahead = decide(replace(spec, forecast=True, up=replace(AT_ONCE, after_s=60.0)), memory, seen, replicas=17).decision
    assert ahead.signals[0].name == "forecast"
    assert ahead.signals[0].agents > 17


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"min": -1}, "min"),
        ({"max": 0}, "max"),
        ({"min": 9, "max": 8}, "max"),
        ({"targets": ScalingTargets(utilisation=1.1)}, "targets.utilisation"),
        ({"targets": ScalingTargets(oldest_s=0)}, "targets.oldest"),
        ({"targets": ScalingTargets()}, "targets"),
        ({"up": ScalingPace(count=0)}, "up.count"),
        ({"down": ScalingPace(count=1, percent=-1)}, "down.percent"),
        ({"down": ScalingPace(count=1, after_s=90_000)}, "down.after"),
        ({"tolerance": 1.0}, "tolerance"),
        ({"usd_per_hour": 0.0}, "usd_per_hour"),
        ({"windows": (ScalingWindow(when="noon", min=1),)}, "schedules[0].when"),
        ({"windows": (ScalingWindow(when="Mon 08:00-09:00", zone="Moon/Crater", min=1),)}, "schedules[0].zone"),
        ({"windows": (ScalingWindow(when="Mon 08:00-09:00"),)}, "schedules[0]"),
        ({"windows": (ScalingWindow(when="Mon 08:00-09:00", min=101),)}, "schedules[0]"),
    ],
)
def test_a_mistake_is_named(change: dict[str, object], field: str) -> None:
    sound = following(queue_depth=10)
    assert not list(mistakes(sound))
    assert [name for name, _ in mistakes(replace(sound, **change))] == [field]
