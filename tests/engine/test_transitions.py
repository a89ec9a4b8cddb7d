"""Every transition tried from every state, by real calls, against the table in `model/states.py`."""

from collections.abc import Awaitable, Callable

import pytest
from tests.engine.cell import Cell, task

from amas.errors import SignalRefused
from amas.model.states import TERMINAL, TRANSITIONS, TaskState, Transition
from amas.model.task import Claimed

S, T = TaskState, Transition
HOSTS_LOST_MAX = 8


async def waiting(cell: Cell) -> Claimed:
    """Leave `t` waiting on `need`, which runs."""
    await cell.submit(task("need", workflow_id="w"), workflow="w")
    need = await cell.run("need")
    await cell.submit(task("keeper", queue="other", workflow_id="w"), task("t", workflow_id="w", needs=["need"]))
    return need


async def queued(cell: Cell) -> Claimed:
    need = await waiting(cell)
    await cell.complete(need)
    return need


async def running(cell: Cell) -> Claimed:
    need = await queued(cell)
    await cell.run("t")
    return need


async def delayed(cell: Cell) -> Claimed:
    need = await running(cell)
    await cell.fail(await attempt_of(cell))
    return need


async def succeeded(cell: Cell) -> Claimed:
    need = await running(cell)
    await cell.complete(await attempt_of(cell))
    return need


async def failed(cell: Cell) -> Claimed:
    need = await running(cell)
    await cell.fail(await attempt_of(cell), final=True)
    return need


async def cancelled(cell: Cell) -> Claimed:
    need = await running(cell)
    await cell.cancel("t")
    return need


REACH: dict[TaskState, Callable[[Cell], Awaitable[Claimed]]] = {
    S.WAITING: waiting,
    S.QUEUED: queued,
    S.DELAYED: delayed,
    S.RUNNING: running,
    S.SUCCEEDED: succeeded,
    S.FAILED: failed,
    S.CANCELLED: cancelled,
}


async def attempt_of(cell: Cell) -> Claimed:
    """Return `t`'s attempt under way, or the last; the first where there was none."""
    number = int((await cell.held("t")).get("a", "1"))
    view = await cell.queue.task("t")
    assert view is not None
    return Claimed("t", number, "agent-0", view.failures, False, view)


async def need_ends(cell: Cell, need: Claimed, *, well: bool) -> str:
    """End the task that `t` waits on; where that is over, another in whose list `t` was left behind."""
    if (await cell.held("t"))["s"] != S.WAITING:
        await cell.submit(task("late", queue="late"))
        (need,) = await cell.claim(queues=["late"])
        await cell.engine.client.rpush(cell.engine.key("d", "late"), "t")
        await cell.engine.client.hset(cell.engine.key("t", "late"), mapping={"D": 1, "k": 1})
    await (cell.complete(need) if well else cell.fail(need, final=True))
    return ""


async def host_dies_again_and_again(cell: Cell) -> str:
    for _ in range(HOSTS_LOST_MAX):
        assert await cell.reap()
        await cell.run("t")
    assert await cell.reap()
    return ""


async def attempt_transition(cell: Cell, transition: Transition, need: Claimed) -> str:
    """Try one transition on `t` and return the fence's refusal, or an empty word."""
    match transition:
        case T.SATISFY | T.POSTPONE:
            return await need_ends(cell, need, well=True)
        case T.ABANDON if (await cell.held("t"))["s"] == S.RUNNING:
            return await host_dies_again_and_again(cell)
        case T.ABANDON:
            return await need_ends(cell, need, well=False)
        case T.PROMOTE | T.ELAPSE:
            await cell.promote()
        case T.ANSWER | T.REFUSE:
            return await answered(cell, {"approved": transition is T.ANSWER})
        case T.EXPIRE:
            await cell.engine.client.zadd(cell.engine.key("expiring"), {"t": cell.now})
            await cell.workflows.expire(now_ms=cell.now)
        case T.RERUN | T.RESET:
            await cell.workflows.rerun("w", "t" if transition is T.RERUN else "need", now_ms=cell.now)
        case T.CLAIM:
            await cell.claim(5)
        case T.CANCEL:
            return "" if await cell.cancel("t") else "ended"
        case _:
            return await end_attempt(cell, transition)
    return ""


async def answered(cell: Cell, payload: dict[str, bool]) -> str:
    try:
        await cell.workflows.signal("t", payload, now_ms=cell.now)
    except SignalRefused:
        return "ended"
    return ""


async def prepare(cell: Cell, transition: Transition) -> None:
    """Let `t` be as if it had been submitted as what the transition is for."""
    fields: dict[Transition, dict[str, str | int]] = {
        T.POSTPONE: {"d": 5000},
        T.ELAPSE: {"W": "timer", "X": 1},
        T.ANSWER: {"W": "signal", "X": 1, "n": 0},
        T.REFUSE: {"W": "signal", "X": 1, "n": 0},
    }
    if transition in fields:
        await cell.engine.client.hset(cell.engine.key("t", "t"), mapping=fields[transition])


async def end_attempt(cell: Cell, transition: Transition) -> str:
    """Say how the attempt ended, as a host does, and return the fence's refusal."""
    attempt = await attempt_of(cell)
    match transition:
        case T.SUSPEND:
            return await cell.suspend(attempt, task("child", parent_id="t", workflow_id="w"))
        case T.COMPLETE:
            return (await cell.complete(attempt)).get(0, "")
        case T.GIVE_BACK:
            return (await cell.queue.give_back("h1", [("t", attempt.attempt)], now_ms=cell.now)).get(0, "")
        case _:
            return (await cell.fail(attempt, final=transition is T.FAIL)).get(0, "")


def refusal(state: TaskState, transition: Transition) -> str:
    """Return what the fence says to a pair that is missing from the table."""
    if transition in {T.SATISFY, T.POSTPONE, T.ABANDON, T.PROMOTE, T.ELAPSE, T.CLAIM, T.EXPIRE, T.RERUN}:
        return ""  # nobody is there to be told
    if transition in {T.CANCEL, T.ANSWER, T.REFUSE}:
        return "ended"
    said_twice = {
        (S.SUCCEEDED, T.COMPLETE),
        (S.FAILED, T.FAIL),
        (S.FAILED, T.RETRY),
        (S.DELAYED, T.FAIL),
        (S.DELAYED, T.RETRY),
    }
    if (state, transition) in said_twice:
        return ""  # the answer may have been lost
    return "cancelled" if state is S.CANCELLED else "stale"


async def standing(cell: Cell, state: TaskState) -> set[str]:
    """Return where a task in `state` belongs."""
    held = await cell.held("t")
    return {S.QUEUED: {"q:work"}, S.DELAYED: {"delayed"}, S.RUNNING: {f"r:{held.get('h')}"}}.get(state, set())


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("transition", Transition)
@pytest.mark.parametrize("state", TaskState)
async def test_every_transition_from_every_state(cell: Cell, state: TaskState, transition: Transition) -> None:
    need = await REACH[state](cell)
    if (transition, state) != (T.POSTPONE, S.DELAYED):  # it would be another delay, which is over
        await prepare(cell, transition)
    before, marker = await cell.held("t"), await cell.journal.last_id()
    assert before["s"] == state
    answer = await attempt_transition(cell, transition, need)
    after, wanted = await cell.held("t"), TRANSITIONS.get((state, transition))
    end = wanted or state
    assert after["s"] == end
    assert await cell.places("t") == await standing(cell, end)
    told = [change.state for change in await cell.changes("t", marker)]
    if wanted is None:
        assert after == before
        assert answer == refusal(state, transition)
        assert told == []
    else:
        assert answer == ""
        assert told[-1] == wanted
        assert_numbers(before, after, transition, state)
    states = [outcome.state for outcome in (await cell.queue.outcomes(["keeper", "need", "t", "child"])).values()]
    ended = {state.value: states.count(state) for state in TERMINAL if state in states}
    assert await cell.counts("w") == {"total": len(states), "open": len(states) - sum(ended.values())} | ended


def assert_numbers(before: dict[str, str], after: dict[str, str], transition: Transition, state: TaskState) -> None:
    """A claim raises the attempt and a failed attempt the failures; nothing else does."""
    claims = {T.CLAIM: 1, T.ABANDON: HOSTS_LOST_MAX if state is S.RUNNING else 0}.get(transition, 0)
    assert int(after.get("a", 0)) == int(before.get("a", 0)) + claims
    again = transition in {T.RERUN, T.RESET}
    assert int(after.get("f", 0)) == (0 if again else int(before.get("f", 0)) + (transition in {T.RETRY, T.FAIL}))
    assert ("z" in after) == (TaskState(after["s"]) in TERMINAL)


@pytest.mark.parametrize("way", ["give_back", "leave", "reap"])
async def test_the_ways_back_into_the_queue(cell: Cell, way: str) -> None:
    await running(cell)
    match way:
        case "give_back":
            assert await cell.queue.give_back("h1", [("t", 1)], now_ms=cell.now) == {}
        case "leave":
            assert await cell.hosts.leave("h1", now_ms=cell.now) == 1
        case _:
            lost = await cell.reap()
            assert lost is not None and (lost.id, lost.tasks) == ("h1", 1)
    held = await cell.held("t")
    assert (held["s"], held["a"], held.get("l", "0")) == ("queued", "1", "1" if way == "reap" else "0")
    assert await cell.places("t") == {"q:work"}
    assert (await cell.run("t", host="h2")).attempt == 2


async def test_a_task_that_asked_for_a_delay_gets_it_after_its_needs(cell: Cell) -> None:
    await cell.submit(task("need"), task("t", needs=["need"], delay_ms=5000))
    await cell.complete(await cell.run("need"))
    assert await cell.states("t") == {"t": TRANSITIONS[S.WAITING, T.POSTPONE]}
    assert (await cell.changes("t"))[-1].due_ms == cell.now + 5000
    assert await cell.queue.promote(now_ms=cell.now + 4999) == (0, cell.now + 5000)
    assert await cell.queue.promote(now_ms=cell.now + 5000) == (1, 0)
    assert (await cell.run("t")).attempt == 1
