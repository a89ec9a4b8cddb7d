"""Free capacity: who is asked for, in what shares, and when a pool falls silent."""

from collections import Counter

from amas.agents.slots import FreeSlots


def two_pools(*, batch_max: int = 100, threads: int = 100, blocking: bool = False) -> FreeSlots:
    slots = FreeSlots(batch_max=batch_max, threads=threads)
    slots.add_pool(("x", "@a"), ["a-1", "a-2"], each=2, blocking=blocking)
    slots.add_pool(("y", "@b"), ["b-1", "b-2", "b-3"], each=1, blocking=False)
    return slots


def asked(slots: FreeSlots) -> list[str]:
    ask = slots.ask()
    return [agent_id for group in ask.groups for agent_id in group.agent_ids] if ask else []


def test_all_free_slots_are_asked_for_round_by_round() -> None:
    ask = two_pools().ask()
    assert ask is not None
    assert [(group.queues, group.agent_ids) for group in ask.groups] == [
        (("x", "@a"), ["a-1", "a-2", "a-1", "a-2"]),
        (("y", "@b"), ["b-1", "b-2", "b-3"]),
    ]


def test_what_is_under_way_is_not_asked_for_twice() -> None:
    slots = two_pools()
    assert len(asked(slots)) == 7
    assert slots.ask() is None


def test_a_small_batch_is_shared_between_pools() -> None:
    slots = two_pools(batch_max=2)
    assert asked(slots) == ["a-1", "b-1"]
    slots.ring_all()
    assert asked(slots) == ["a-2", "b-2"]


def test_one_slot_goes_to_each_pool_in_turn() -> None:
    slots, turns = two_pools(batch_max=1), []
    for _ in range(4):
        turns += asked(slots)
        slots.ring_all()
    assert turns == ["a-1", "b-1", "a-2", "b-2"]


def test_a_pool_that_got_less_than_it_asked_for_is_silent_until_a_bell() -> None:
    slots = two_pools()
    ask = slots.ask()
    assert ask is not None
    slots.answered(ask, ["a-1", "b-1", "b-2", "b-3"])
    assert slots.ask() is None
    slots.give("b-1")
    assert asked(slots) == ["b-1"]  # it got all that it asked for, so there may be more
    assert slots.ring(["nobody", "x"])
    assert Counter(asked(slots)) == {"a-1": 1, "a-2": 2}
    assert not slots.ring(["nobody"])


def test_a_bell_during_the_claim_is_not_forgotten() -> None:
    slots = two_pools()
    ask = slots.ask()
    assert ask is not None
    slots.ring(["x"])
    slots.answered(ask, [])
    assert len(asked(slots)) == 4


def test_a_second_claim_goes_beside_the_first_only_after_another_bell() -> None:
    slots = two_pools(batch_max=2)
    first = slots.ask()
    assert first is not None and slots.ask() is None
    slots.ring(["x"])
    second = slots.ask()
    assert second is not None and second.groups[0].agent_ids == ["a-2", "a-1"] and slots.ask() is None
    slots.answered(first, ["a-1", "b-1"])
    assert asked(slots) == ["b-2", "b-3"]  # it got all; what `a` hasn't been told is the second's to find out
    slots.answered(second, ["a-2"])
    assert slots.ask() is None
    slots.ring(["x"])
    assert asked(slots) == ["a-2", "a-1"]


def test_blocking_agents_are_asked_for_only_while_threads_are_free() -> None:
    slots = two_pools(threads=3, blocking=True)
    ask = slots.ask()
    assert ask is not None
    assert [len(group.agent_ids) for group in ask.groups] == [3, 3]
    slots.ring_all()
    assert slots.ask() is None
    slots.give("a-1")
    assert asked(slots) == ["a-2"]  # one thread, and the slot that waited longest


def test_a_withheld_agent_gets_nothing_until_restored() -> None:
    slots = two_pools()
    slots.withhold(["a-1"])
    ask = slots.ask()
    assert ask is not None and ask.groups[0].agent_ids == ["a-2", "a-2"]
    slots.withhold(["a-2"])
    slots.answered(ask, [])
    slots.ring_all()
    assert asked(slots) == ["b-1", "b-2", "b-3"]
    slots.restore("a-2")
    slots.restore("a-1")
    slots.ring_all()
    assert Counter(asked(slots)) == {"a-1": 2, "a-2": 2}


def test_who_goes_has_left_when_the_last_slot_is_back() -> None:
    left: list[str] = []
    slots = FreeSlots(batch_max=100, threads=10, left=left.append)
    pool = slots.add_pool(("x", "@a"), ["a-1", "a-2", "a-3"], each=2, blocking=True)
    slots.withhold(["a-3"])
    ask = slots.ask()
    assert ask is not None
    slots.answered(ask, ["a-1", "a-1", "a-2"])
    slots.move(["a-1", "a-2", "a-3"], None)
    assert left == ["a-3"]
    slots.drop_pool(pool)
    slots.give("a-2")
    slots.give("a-1")
    assert left == ["a-3", "a-2"] and slots.left_soon == {pool}
    slots.give("a-1")
    assert left == ["a-3", "a-2", "a-1"] and slots.pool_of("a-1") is None and not slots.left_soon
    slots.ring_all()
    assert slots.ask() is None
    assert slots._threads == 10


def test_who_changes_pools_is_offered_there_once_it_has_done_what_it_does() -> None:
    slots = FreeSlots(batch_max=100, threads=10)
    slots.add_pool(("x", "@a"), ["a-1", "a-2"], each=1, blocking=True)
    under_way = slots.ask()
    assert under_way is not None
    slots.answered(under_way, ["a-1"])
    new = slots.add_pool(("y", "@a"), (), each=2, blocking=False)
    slots.move(["a-1", "a-2", "a-4"], new)
    assert asked(slots) == ["a-4", "a-2", "a-4", "a-2"]
    slots.withhold(["a-1"])  # its last task fails, and its agent, which goes, is asked how it is
    slots.give("a-1")
    slots.ring_all()
    assert asked(slots) == ["a-1", "a-1"]
    assert slots._threads == 10


def test_a_claim_under_way_for_agents_that_went_gives_nothing_back_to_their_pool() -> None:
    slots = two_pools()
    ask = slots.ask()
    assert ask is not None
    slots.move(["b-1", "b-2", "b-3"], None)
    slots.answered(ask, ["b-2"])
    slots.ring_all()
    assert Counter(asked(slots)) == {"a-1": 2, "a-2": 2}
    slots.give("b-2")
    assert slots.pool_of("b-2") is None
