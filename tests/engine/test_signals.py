"""Tasks that no agent gets: signals, which somebody answers, and timers; and the time until which a task has to end."""

import pytest
from tests.engine.cell import Cell, task

from amas.engine.workflows import make_signal
from amas.errors import SignalRefused, TaskUnknown, WorkflowUnknown
from amas.model.task import Submission, TaskSpec

MINUTE_MS = 60_000


def signal(task_id: str = "s", key: str = "go", **options: object) -> Submission:
    return task(task_id, queue=key, kind="signal", **options)


async def outcome(cell: Cell, task_id: str = "s") -> tuple[str, object, str]:
    """Return a task's state, result, and failure's code."""
    found = (await cell.queue.outcomes([task_id]))[task_id]
    return found.state.value, found.result, found.failure.code if found.failure else ""


async def told(cell: Cell, task_id: str = "s") -> tuple[str, bytes | None]:
    """Return state and result as the journal's readers know them."""
    last = (await cell.changes(task_id))[-1]
    return last.state.value, last.result


async def test_a_signal_task_waits_is_never_claimed_and_succeeds_with_the_payload(cell: Cell) -> None:
    await cell.submit(signal(), task("t", needs=["s"]))
    assert await cell.states("s", "t") == {"s": "waiting", "t": "waiting"}
    assert await cell.claim(5, queues=["go", "work"]) == []
    await cell.workflows.signal("s", {"n": 1}, now_ms=cell.now)
    assert await outcome(cell) == ("succeeded", {"n": 1}, "")
    assert await told(cell) == ("succeeded", b"\x81\xa1n\x01")
    assert (await cell.run("t")).attempt == 1


async def test_a_signal_said_again_is_accepted_and_another_one_is_not(cell: Cell) -> None:
    await cell.submit(signal())
    await cell.workflows.signal("s", "yes", now_ms=cell.now)
    before = await cell.dump()
    await cell.workflows.signal("s", "yes", now_ms=cell.now)
    with pytest.raises(SignalRefused, match="the first stands"):
        await cell.workflows.signal("s", "no", now_ms=cell.now)
    assert await cell.dump() == before


async def test_a_refusal_fails_the_task_with_who_and_why(cell: Cell) -> None:
    await cell.submit(signal(), task("t", needs=["s"]))
    no = {"approved": False, "by": "Ada", "comment": "too dear"}
    await cell.workflows.signal("s", no, now_ms=cell.now)
    await cell.workflows.signal("s", no, now_ms=cell.now)
    found = (await cell.queue.outcomes(["s", "t"])).values()
    assert [(one.state.value, one.failure.code, one.failure.message) for one in found if one.failure] == [
        ("failed", "refused", "Ada refused: too dear"),
        ("failed", "dependency_failed", "a task that it needs failed: s"),
    ]
    assert (await cell.changes("s"))[-1].failure == (await cell.queue.outcomes(["s"]))["s"].failure
    assert await cell.workflows.dead_letters() == []  # nothing is wrong with it


async def test_an_answer_before_the_needs_have_ended_is_kept(cell: Cell) -> None:
    await cell.submit(task("need"), signal(needs=["need"]))
    await cell.workflows.signal("s", "early", now_ms=cell.now)
    with pytest.raises(SignalRefused):
        await cell.workflows.signal("s", "other", now_ms=cell.now)
    assert await outcome(cell) == ("waiting", None, "")
    await cell.complete(await cell.run("need"))
    assert await outcome(cell) == ("succeeded", "early", "")


@pytest.mark.parametrize("payload", ["early", {"approved": False}])
async def test_an_answer_before_the_task_is_kept_for_its_workflow(cell: Cell, payload: object) -> None:
    await cell.submit(task("keeper", workflow_id="w"), workflow="w")
    await cell.workflows.signal_key("w", "go", payload, now_ms=cell.now)
    await cell.workflows.signal_key("w", "go", payload, now_ms=cell.now)
    with pytest.raises(SignalRefused):
        await cell.workflows.signal_key("w", "go", "other", now_ms=cell.now)
    await cell.submit(signal(workflow_id="w"))
    expected = ("succeeded", "early", "") if payload == "early" else ("failed", None, "refused")
    assert await outcome(cell) == expected
    assert await cell.queue.depths() == {"work": 1}  # a signal's key is no queue


async def test_a_signal_is_found_by_its_key(cell: Cell) -> None:
    spec = TaskSpec(capability="approval", key="approve", workflow_id="w")
    await cell.submit(make_signal("a", spec), signal("b", "other", workflow_id="w"), workflow="w")
    await cell.workflows.signal_key("w", "approve", {"approved": True}, now_ms=cell.now)
    assert await cell.states("a", "b") == {"a": "succeeded", "b": "waiting"}
    await cell.workflows.signal("b", now_ms=cell.now)
    assert await cell.workflow_state("w") == "succeeded"
    with pytest.raises(WorkflowUnknown, match="no open workflow 'w'"):
        await cell.workflows.signal_key("w", "third", now_ms=cell.now)


async def test_signals_that_nobody_waits_for_are_refused(cell: Cell) -> None:
    await cell.submit(task("t"), signal())
    await cell.cancel("s")
    before = await cell.dump()
    with pytest.raises(TaskUnknown):
        await cell.workflows.signal("nobody", now_ms=cell.now)
    with pytest.raises(SignalRefused, match="no signal"):
        await cell.workflows.signal("t", now_ms=cell.now)
    with pytest.raises(SignalRefused, match="ended without an answer"):
        await cell.workflows.signal("s", now_ms=cell.now)
    assert await cell.dump() == before


async def test_a_signal_expires_a_time_after_it_began_to_wait(cell: Cell) -> None:
    await cell.submit(task("need"), signal(needs=["need"], expires_ms=MINUTE_MS, on_failure="skip"), task("t", needs=["s"]))
    need = await cell.run("need")
    cell.now += 10 * MINUTE_MS
    assert await cell.workflows.expire(now_ms=cell.now) == (0, 0)
    await cell.complete(need)
    assert await cell.workflows.expire(now_ms=cell.now + MINUTE_MS - 1) == (0, cell.now + MINUTE_MS)
    cell.now += MINUTE_MS
    assert await cell.workflows.expire(now_ms=cell.now) == (1, 0)
    assert await outcome(cell) == ("failed", None, "expired")
    assert (await cell.run("t")).id == "t"
    with pytest.raises(SignalRefused):
        await cell.workflows.signal("s", "late", now_ms=cell.now)


async def test_what_was_answered_does_not_expire(cell: Cell) -> None:
    await cell.submit(signal(expires_ms=MINUTE_MS))
    await cell.workflows.signal("s", now_ms=cell.now)
    assert await cell.workflows.expire(now_ms=cell.now + MINUTE_MS) == (0, 0)


@pytest.mark.parametrize("state", ["waiting", "queued", "delayed", "running"])
async def test_work_that_has_not_ended_in_time_fails_wherever_it_stands(cell: Cell, state: str) -> None:
    options = {"needs": ["need"]} if state == "waiting" else {"delay_ms": 2 * MINUTE_MS} if state == "delayed" else {}
    await cell.submit(task("need", queue="other"), task("t", expires_ms=MINUTE_MS, **options))
    stops = cell.engine.client.pubsub()
    await stops.subscribe(cell.engine.key("host", "h1"))
    running = await cell.run("t") if state == "running" else None
    assert await cell.states("t") == {"t": state}
    cell.now += MINUTE_MS
    await cell.workflows.expire(now_ms=cell.now)
    assert await outcome(cell, "t") == ("failed", None, "deadline_exceeded")
    assert await cell.places("t") == set()
    assert [letter.task_id for letter in await cell.workflows.dead_letters()] == ["t"]
    if running:
        assert await cell.complete(running) == {0: "stale"}
        messages = [await stops.get_message(timeout=60) for _ in range(2)]
        assert messages[1] and messages[1]["data"] == b"t"
    await stops.aclose()


async def test_work_that_ended_in_time_is_left_alone(cell: Cell) -> None:
    await cell.submit(task("t", expires_ms=MINUTE_MS))
    await cell.complete(await cell.run("t"))
    assert await cell.workflows.expire(now_ms=cell.now + MINUTE_MS) == (0, 0)
    assert await cell.states("t") == {"t": "succeeded"}


@pytest.mark.parametrize("delay_ms", [1, 5000])
async def test_a_timer_succeeds_with_null_when_its_delay_is_over(cell: Cell, delay_ms: int) -> None:
    await cell.submit(task("need"), task("timer", kind="timer", delay_ms=delay_ms, needs=["need"]), task("t", needs=["timer"]))
    await cell.complete(await cell.run("need"))
    assert await cell.states("timer", "t") == {"timer": "delayed", "t": "waiting"}
    cell.now += delay_ms
    assert (await cell.queue.promote(now_ms=cell.now))[0] == 1
    assert await outcome(cell, "timer") == ("succeeded", None, "")
    assert await told(cell, "timer") == ("succeeded", b"\xc0")
    assert [got.id for got in await cell.claim(5)] == ["t"]
