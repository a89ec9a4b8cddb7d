"""Submissions: idempotency keys, order by priority and age, delays, payload limits."""

import pytest
from tests.engine.cell import Cell, task

from amas.engine.payload import INLINE_BYTES_MAX, SPEC_BYTES_MAX, encode_payload
from amas.engine.queue import Idempotency, Slots, make_submission
from amas.errors import DependencyUnknown, IdempotencyConflict, PayloadTooLarge, SubmissionError
from amas.model.blob import blob_bytes
from amas.model.task import RetryPolicy, TaskSpec

MINUTE = 60_000


async def test_an_idempotency_key_answers_as_the_first_time(cell: Cell) -> None:
    key = Idempotency("order-1", "digest", b"answer")
    assert await cell.queue.submit([task("a")], idempotency=key, now_ms=cell.now) is None
    before = await cell.dump()
    again = Idempotency("order-1", "digest", b"another answer")
    assert await cell.queue.submit([task("b")], idempotency=again, now_ms=cell.now) == b"answer"
    with pytest.raises(IdempotencyConflict, match="used before with another body"):
        await cell.queue.submit([task("c")], idempotency=Idempotency("order-1", "other", b""), now_ms=cell.now)
    assert await cell.dump() == before
    assert await cell.engine.client.pttl(cell.engine.key("idem", "order-1")) > 23 * 60 * MINUTE


async def test_a_refused_submission_does_not_use_up_its_key(cell: Cell) -> None:
    key = Idempotency("order-1", "digest", b"answer")
    with pytest.raises(DependencyUnknown):
        await cell.queue.submit([task("a", needs=["nobody"])], idempotency=key, now_ms=cell.now)
    assert await cell.queue.submit([task("a")], idempotency=key, now_ms=cell.now) is None


async def order(cell: Cell, count: int, *queues: str) -> list[str]:
    return [got.id for got in await cell.claim(count, queues=queues or ("work",))]


async def test_a_higher_priority_goes_first_and_equals_by_age(cell: Cell) -> None:
    for name, priority in (("n1", 1), ("l", 0), ("n2", 1), ("c", 3), ("h", 2)):
        await cell.submit(task(name, priority=priority))
        cell.now += 1
    assert await order(cell, 5) == ["c", "h", "n1", "n2", "l"]


async def test_begun_work_goes_before_new_work(cell: Cell) -> None:
    await cell.submit(task("begun"))
    await cell.run("begun")
    cell.now += MINUTE
    await cell.submit(task("new"))
    cell.now += MINUTE
    await cell.queue.give_back("h1", [("begun", 1)], now_ms=cell.now)
    assert await order(cell, 2) == ["begun", "new"]


async def test_each_free_slot_gets_one_task_from_its_own_queues(cell: Cell) -> None:
    await cell.host()
    await cell.submit(task("a1", queue="a"), task("a2", queue="a"), task("a3", queue="a"), task("b1", queue="b"))
    slots = [Slots(("a",), ["x", "x"]), Slots(("b", "a"), ["y", "z"])]
    got = await cell.queue.claim("h1", slots, now_ms=cell.now)
    assert got is not None
    assert [(one.id, one.agent_id) for one in got] == [("a1", "x"), ("a2", "x"), ("b1", "y"), ("a3", "z")]
    assert sorted(await cell.hosts.running("h1")) == ["a1", "a2", "a3", "b1"]


async def test_a_delayed_task_waits_for_its_time(cell: Cell) -> None:
    await cell.submit(task("late", delay_ms=2000), task("soon", delay_ms=1000))
    assert await cell.states("late", "soon") == {"late": "delayed", "soon": "delayed"}
    assert await cell.claim(5) == []
    assert await cell.queue.promote(now_ms=cell.now + 1500) == (1, cell.now + 2000)
    assert await order(cell, 5) == ["soon"]
    assert [change.due_ms for change in await cell.changes("late")] == [0, cell.now + 2000]


async def test_promotion_comes_in_bounded_pieces(cell: Cell) -> None:
    await cell.submit(*(task(f"t{n}", delay_ms=1 + n) for n in range(5)))
    later = cell.now + 100
    assert await cell.queue.promote(limit=3, now_ms=later) == (3, cell.now + 4)
    assert await cell.queue.promote(limit=3, now_ms=later) == (2, 0)
    marker = await cell.journal.last_id()
    assert await cell.queue.promote(now_ms=later) == (0, 0)
    assert await cell.entries(marker) == []


async def test_the_servers_own_clock_serves_who_has_none(cell: Cell) -> None:
    await cell.queue.submit([task("t", delay_ms=60_000)])
    (_, due_ms) = await cell.queue.promote()
    (seconds, _) = await cell.engine.client.time()
    assert 0 < due_ms - seconds * 1000 <= 61_000


async def test_a_view_shows_what_was_submitted(cell: Cell) -> None:
    spec = TaskSpec(capability="work", key="k", title="T", input={"a": [1]}, retry=RetryPolicy(retries=7))
    await cell.queue.submit([make_submission("t", spec, priority=2)], now_ms=cell.now)
    view = await cell.queue.task("t")
    assert view is not None
    assert (view.key, view.title, view.input, view.priority, view.attempt) == ("k", "T", {"a": [1]}, 2, 0)
    assert (await cell.held("t"))["m"] == "7"
    assert await cell.queue.task("nobody") is None
    assert await cell.queue.workflow("nobody") is None


async def test_a_large_batch_fits_and_a_large_payload_does_not(cell: Cell) -> None:
    await cell.submit(task("first"), *(task(f"t{n}", needs=["first"]) for n in range(9_999)))
    await cell.complete(await cell.run("first"))
    await cell.tend()
    assert await cell.queue.depths() == {"work": 9_999}
    encode_payload("x" * (INLINE_BYTES_MAX - 3), "the input")
    with pytest.raises(PayloadTooLarge, match="the input is 65537 bytes; more than 65536 go to the artifact store"):
        encode_payload("x" * (INLINE_BYTES_MAX - 2), "the input")
    with pytest.raises(SubmissionError, match="not a JSON value"):
        encode_payload(object(), "the input")


def test_what_a_task_needs_may_be_long_though_its_input_may_not() -> None:
    id_ = "0" * 36
    many = TaskSpec(capability="work", input="x", needs=(id_,) * 100_000)
    assert blob_bytes(make_submission("t", many).spec) > 3 << 20
    with pytest.raises(PayloadTooLarge, match="the input of task work is 65541 bytes"):
        make_submission("t", TaskSpec(capability="work", input="x" * INLINE_BYTES_MAX))
    with pytest.raises(PayloadTooLarge, match="let it need fewer tasks"):
        make_submission("t", TaskSpec(capability="work", needs=(id_,) * (SPEC_BYTES_MAX // 36)))
