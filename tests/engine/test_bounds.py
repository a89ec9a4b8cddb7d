"""Bounded queues: what counts, what is refused, what never is."""

import asyncio

import msgspec
import pytest
from tests.engine.cell import Cell, task

from amas.engine.bounds import QueueBounds
from amas.engine.queue import Idempotency
from amas.errors import DependencyUnknown, QueueFull
from amas.model.fleet import DELAYED
from amas.model.limits import Reserve


@pytest.fixture
async def bounded(cell: Cell) -> Cell:
    """Ten tasks fit in `work`, three may be delayed."""
    await QueueBounds(cell.engine).set({"work": 10, DELAYED: 3, "free": 0})
    return cell


def tasks(count: int, *, prefix: str = "t", **options: object) -> list[msgspec.Struct]:
    return [task(f"{prefix}{n}", **options) for n in range(count)]


async def test_bounds_are_set_together_and_read(cell: Cell) -> None:
    bounds = QueueBounds(cell.engine)
    assert await bounds.read() == {}
    await bounds.set({"a": 5, "b": 0, "c": 7})
    assert await bounds.read() == {"a": 5, "c": 7}
    await bounds.set({"b": 1})
    assert await bounds.read() == {"b": 1}
    await bounds.set({})
    assert await bounds.read() == {}


async def test_a_full_queue_refuses_the_whole_batch_and_changes_nothing(bounded: Cell) -> None:
    await bounded.submit(*tasks(10))
    before = await bounded.dump()
    with pytest.raises(QueueFull, match=r"'work' holds 10 tasks and takes at most 10, so 2 more don't fit") as caught:
        await bounded.submit(*tasks(2, prefix="more"), task("other", queue="elsewhere"), workflow="w")
    full = caught.value
    assert (full.queue, full.depth, full.bound, full.wanted, full.room_in_s) == ("work", 10, 10, 2, None)
    after = await bounded.dump()
    assert {name for name in after if after[name] != before.get(name)} <= {"pace:work"}
    assert after.keys() - before.keys() == {"pace:work"}


async def test_there_is_room_again_as_soon_as_tasks_are_claimed(bounded: Cell) -> None:
    await bounded.submit(*tasks(10))
    await bounded.claim(3)
    with pytest.raises(QueueFull):
        await bounded.submit(*tasks(4, prefix="more"))
    await bounded.submit(*tasks(3, prefix="more"))
    assert await bounded.queue.depths() == {"work": 10}


async def test_other_queues_have_no_bound(bounded: Cell) -> None:
    await bounded.submit(*tasks(50, queue="free"), *tasks(50, prefix="o", queue="other"))
    assert await bounded.queue.depths() == {"free": 50, "other": 50}


async def test_tasks_that_wait_for_others_need_room_when_they_are_submitted(bounded: Cell) -> None:
    await bounded.submit(task("first", queue="free"), *tasks(10, needs=["first"]))
    await bounded.submit(*tasks(10, prefix="more"))  # the others aren't queued yet
    await bounded.complete(*await bounded.claim(1, queues=["free"]))
    assert (await bounded.queue.depths())["work"] == 20  # what was accepted comes, bound or not
    with pytest.raises(QueueFull):
        await bounded.submit(task("waits", needs=["t0"]))


async def test_delayed_tasks_have_a_bound_of_their_own_for_all_queues(bounded: Cell) -> None:
    await bounded.submit(*tasks(2, delay_ms=5), task("o", queue="other", delay_ms=5))
    with pytest.raises(QueueFull, match="'delayed' holds 3 tasks and takes at most 3"):
        await bounded.submit(task("more", queue="other", delay_ms=5))
    assert await bounded.promote() == 3
    await bounded.submit(task("more", queue="other", delay_ms=5))


async def test_what_comes_back_or_is_spawned_is_never_refused(bounded: Cell) -> None:
    await bounded.submit(*tasks(10))
    parent, failing, lost = await bounded.claim(3)
    await bounded.submit(*tasks(3, prefix="more"))
    assert await bounded.suspend(parent, *tasks(20, prefix="child")) == ""
    await bounded.fail(failing)
    await bounded.promote()
    assert await bounded.reap() is not None
    assert (await bounded.states(lost.id))[lost.id] == "queued"
    assert await bounded.queue.depths() == {"work": 32}


async def test_a_submission_said_again_is_accepted_though_the_queue_is_full_of_it(bounded: Cell) -> None:
    await bounded.submit(*tasks(10))
    await bounded.submit(*tasks(10), resend=True)
    await bounded.claim(1)
    await bounded.submit(*tasks(10), task("new"), resend=True)
    assert await bounded.queue.depths() == {"work": 10}
    with pytest.raises(QueueFull) as caught:
        await bounded.submit(*tasks(10), task("newer"), resend=True)
    assert caught.value.wanted == 1


async def test_an_answer_that_is_remembered_needs_no_room(bounded: Cell) -> None:
    key = Idempotency("key", "digest", b"answer")
    assert await bounded.queue.submit(tasks(10), idempotency=key, now_ms=bounded.now) is None
    assert await bounded.queue.submit(tasks(10, prefix="x"), idempotency=key, now_ms=bounded.now) == b"answer"
    with pytest.raises(QueueFull):
        await bounded.queue.submit(tasks(1, prefix="y"), idempotency=Idempotency("k2", "d", b"a"), now_ms=bounded.now)
    await bounded.claim(10)
    assert await bounded.queue.submit(tasks(1, prefix="y"), idempotency=Idempotency("k2", "d", b"a"), now_ms=bounded.now) is None


async def test_the_estimate_is_how_fast_the_queue_drained_net_of_what_came(bounded: Cell) -> None:
    async def refused(wanted: int) -> float | None:
        with pytest.raises(QueueFull) as caught:
            await bounded.submit(*tasks(wanted, prefix="refused"))
        return caught.value.room_in_s

    await bounded.submit(*tasks(10))
    assert await refused(1) is None  # nothing is known yet
    bounded.now += 1000
    await bounded.claim(4)
    await bounded.submit(*tasks(4, prefix="a"))
    assert await refused(2) == 0.5  # 4 a second have gone
    bounded.now += 100
    assert await refused(8) == 2.0  # too early to measure anew
    bounded.now += 900
    assert await refused(2) == 1.0  # none since: the mean of 4 and 0
    bounded.now += 1000 * 3600 * 24
    assert await refused(10) <= 3600


async def test_refusals_for_other_reasons_dont_count_as_let_in(bounded: Cell) -> None:
    await bounded.submit(*tasks(8))
    for n in range(5):
        with pytest.raises(DependencyUnknown):
            await bounded.submit(task(f"no{n}", needs=["nobody"]))
    found = await bounded.engine.client.hget(bounded.engine.key("let_in"), "work")
    assert int(found) == 8


async def test_many_submitters_at_once_never_exceed_the_bound(bounded: Cell) -> None:
    async def submit(n: int) -> int:
        try:
            await bounded.submit(*tasks(3, prefix=f"s{n}-"))
        except QueueFull:
            return 0
        return 3

    accepted = await asyncio.gather(*(submit(n) for n in range(40)))
    assert sum(accepted) == 9
    assert await bounded.queue.depths() == {"work": 9}


async def test_a_bound_below_what_is_queued_drops_nothing(bounded: Cell) -> None:
    await bounded.submit(*tasks(10))
    await QueueBounds(bounded.engine).set({"work": 2})
    assert len(await bounded.claim(9)) == 9
    with pytest.raises(QueueFull):
        await bounded.submit(*tasks(2, prefix="more"))
    await bounded.submit(task("one"))


async def test_parked_tasks_take_room_until_they_run(bounded: Cell) -> None:
    one_at_a_time = [Reserve("slots:customer", 1, 1)]
    await bounded.submit(*tasks(10, reserves=one_at_a_time))
    (running,) = await bounded.claim(20)  # the other nine are parked now, and stand in no queue
    await bounded.submit(task("fits"))
    with pytest.raises(QueueFull):
        await bounded.submit(task("too-many"))
    await bounded.complete(running)  # wakes one, which is queued again
    await bounded.complete(*await bounded.claim(20))
    await bounded.submit(*tasks(2, prefix="later"))
    with pytest.raises(QueueFull):
        await bounded.submit(task("too-many"))
    await bounded.cancel(*(f"t{n}" for n in range(10)))
    await bounded.submit(*tasks(8, prefix="again"))
    assert await bounded.engine.client.exists(bounded.engine.key("parked")) == 0
