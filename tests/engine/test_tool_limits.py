"""Limits of policies in the engine: any sequence of calls against a list of times in Python, and what is kept of refusals."""

from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.cell import Cell

from amas.engine.tools import Take, ToolLedger
from amas.model.policy import CallLimit, Refusal


def take(rule: str, calls: int, per_s: float = 60.0, whom: str = "coder-1") -> Take:
    return Take(rule, CallLimit(calls=calls, per_s=per_s, each="agent"), whom)


@pytest.fixture
def ledger(cell: Cell) -> ToolLedger:
    return ToolLedger(cell.engine)


async def test_a_limit_lets_so_many_through_and_says_when_there_is_room(cell: Cell, ledger: ToolLedger) -> None:
    limit = take("shell", 2)
    assert [(await ledger.take([], [limit], now_ms=cell.now)).granted for _ in range(3)] == [True, True, False]
    full = await ledger.take([], [limit], now_ms=cell.now)
    assert full.limit == limit and 60 <= full.retry_after_s <= 61
    assert (await ledger.take([], [take("shell", 2, whom="coder-2")], now_ms=cell.now)).granted
    just = cell.now + round(full.retry_after_s * 1000)
    assert not (await ledger.take([], [limit], now_ms=just - 1)).granted
    assert (await ledger.take([], [limit], now_ms=just)).granted


async def test_one_of_the_alternatives_is_taken_and_all_of_the_others_or_nothing(cell: Cell, ledger: ToolLedger) -> None:
    cap, small, large = take("cap", 3), take("small", 1), take("large", 5)
    found = [await ledger.take([cap], [small, large], now_ms=cell.now) for _ in range(4)]
    assert [each.limit.rule for each in found if each.limit] == ["small", "large", "large", "cap"]
    assert [each.granted for each in found] == [True, True, True, False]
    # what was refused took nothing: large has 3 of its 5 left
    assert [(await ledger.take([], [large], now_ms=cell.now)).granted for _ in range(4)] == [True, True, True, False]


async def test_a_limit_over_another_time_begins_anew(cell: Cell, ledger: ToolLedger) -> None:
    assert (await ledger.take([], [take("shell", 1)], now_ms=cell.now)).granted
    assert not (await ledger.take([], [take("shell", 1)], now_ms=cell.now)).granted
    assert (await ledger.take([], [take("shell", 1, per_s=3600.0)], now_ms=cell.now)).granted


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4), st.lists(st.integers(0, 30_000), min_size=1, max_size=25))
async def test_never_more_than_the_limit_within_any_stretch(cell: Cell, calls: int, steps: list[int]) -> None:
    ledger, limit = ToolLedger(cell.engine), take(uuid4().hex, calls)
    now, times, slot = cell.now, list[int](), 1000  # a sixtieth of a minute
    for step in steps:
        now += step
        granted = (await ledger.take([], [limit], now_ms=now)).granted
        strict = sum(at > now - 60_000 for at in times)
        generous = sum(at > now - 60_000 - 2 * slot for at in times)
        assert not granted or strict < calls
        assert granted or generous >= calls
        times += [now] if granted else []


async def test_the_newest_refusals_are_kept_and_all_are_counted(cell: Cell, ledger: ToolLedger) -> None:
    def refused(n: int) -> Refusal:
        return Refusal(at_ms=n, agent="coder-1", pool="coder", tenant="", tool="shell", arguments="{}", why="no", rules=("x",))

    await ledger.note(allowed=5, refused=3, refusals=[refused(1), refused(2)], now_ms=cell.now)
    for start in range(3, 1103, 100):
        await ledger.note(allowed=0, refused=100, refusals=[refused(n) for n in range(start, start + 100)], now_ms=cell.now)
    kept = await ledger.refusals(limit=2000)
    assert [each.at_ms for each in kept] == list(range(1102, 102, -1))
    totals = await cell.queue.totals()
    assert (totals["tool_calls_allowed"], totals["tool_calls_refused"]) == (5, 1103)
