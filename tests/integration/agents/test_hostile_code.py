"""Agents' code that misuses what a task offers: each attempt ends with a failure that says so, and harms nobody beside it.

A host that took such a word into a call with others' would fail with it, and so would the next host that gets the task.
"""

from typing import Any

import hostile_agents
import pytest
from host_bench import Bench, pool

from amas.engine.journal import START, Journal
from amas.model.journal import progress_notes, usages
from amas.model.limits import MICRO, USD_MAX, USED_MAX
from amas.model.states import TaskState
from amas.model.task import RetryPolicy

ONCE = RetryPolicy(retries=0)
LATER = ("later, never", "a provider that can't be encoded")
"""What waits for a year."""
WELL = {
    "dollars without end", "tokens without end", "calls that never were", "dollars that were earned",
    "a log that can't be encoded", "a log that holds itself", "progress that is no number",
}  # fmt: skip
"""What is bounded, or spelt out, and not refused."""
FAILS = {
    "a text that can't be encoded": ("agent_error", r"no such file: \udcff"),
    "no text at all": ("agent_error", "Unspeakable"),
    "a code that can't be encoded": (r"\udcff", "no"),
    "later, nowhen": ("retry_later", ""),
    "later, long ago": ("retry_later", ""),
    "bare": ("agent_error", "Bare: bare"),
    "an interrupt": ("agent_error", "KeyboardInterrupt"),
    "a result that can't be encoded": ("submission_error", "the result is not a JSON value"),
    "a result that is too wide": ("submission_error", "the result is not a JSON value"),
    "a result that is too deep": ("submission_error", "nested too deeply"),
    "a result that holds itself": ("submission_error", "nested too deeply, or holds itself"),
    "dollars that are no number": ("agent_error", "NaN"),
    "a step that can't be named": ("submission_error", "a step's name is a text"),
    "a step with a book for a name": ("submission_error", "a step's name is a text of up to 1000 characters"),
    "a step that is too wide": ("submission_error", "the result of step 'wide' is not a JSON value"),
    "a sub-task at the end of time": ("submission_error", ""),
    "a sub-task that is no time": ("submission_error", ""),
}


def hostile(**changes: Any) -> Any:
    return pool("hostile", **{"agent": "hostile_agents:hostile", "replicas": 2, "tasks_per_agent": 30, **changes})


async def test_the_lists_above_have_all_that_the_agents_do() -> None:
    assert {*FAILS, *WELL, *LATER} == set(hostile_agents.ACTS)


async def test_what_an_agent_does_ends_its_own_attempt_and_nothing_beside_it(bench: Bench) -> None:
    beside = pool("beside", agent="hostile_agents:beside", replicas=4)
    async with bench.host([hostile(), beside]) as host:
        well = [await bench.submit("test.beside") for _ in range(4)]
        ids = {act: await bench.submit("test.hostile", act, retry=ONCE) for act in FAILS.keys() | WELL}
        later = {act: await bench.submit("test.hostile", act) for act in LATER}
        ended = {act: await bench.ended(task_id) for act, task_id in ids.items()}
        waits = await bench.state(later["later, never"], TaskState.DELAYED)
        assert [(await bench.ended(task_id)).result for task_id in well] == ["well"] * 4
        views = [await bench.queue.task(task_id) for task_id in well]
        assert all(view and view.attempt == 1 for view in views), "nobody beside them had to begin anew"
        assert host.state.name == "WORKING"
        await bench.until(lambda: _free(host))
    for act, (code, message) in FAILS.items():
        failure = ended[act].failure
        assert failure is not None, f"{act} succeeded with {ended[act].result!r}"
        assert failure.code == code and message in failure.message, (act, failure)
    assert {act for act, view in ended.items() if view.state is TaskState.SUCCEEDED} == WELL
    assert waits.attempt == 1


async def _free(host: Any) -> bool:
    return all(seat.running == 0 for seat in host.seats.values())


async def test_what_an_agent_says_that_it_used_stays_within_what_can_be_added_up(bench: Bench) -> None:
    acts = ("dollars without end", "tokens without end", "calls that never were", "dollars that were earned")
    async with bench.host([hostile()]):
        ids = {await bench.submit("test.hostile", act): act for act in acts}
        for task_id in ids:
            await bench.ended(task_id)
    found: dict[str, tuple[int, int, int]] = {}
    for entry in await Journal(bench.engine).read(START, limit=1000):
        for one in usages(entry):
            found[ids[one.task_id]] = (one.usage.usd_micro, one.usage.tokens, one.usage.calls)
    told = await _completed(bench, ids)
    assert {**found, **told} == {
        "dollars without end": (round(USD_MAX * MICRO), 0, 0),
        "tokens without end": (0, USED_MAX, 0),
        "calls that never were": (0, 0, 0),
        "dollars that were earned": (0, 0, 0),
    }


async def _completed(bench: Bench, ids: dict[str, str]) -> dict[str, tuple[int, int, int]]:
    from amas.records.taken import take_apart

    found = {}
    for entry in await Journal(bench.engine).read(START, limit=1000):
        for done in take_apart(entry).completed:
            assert done.usage is not None
            found[ids[done.id]] = (done.usage.usd_micro, done.usage.tokens, done.usage.calls)
    return found


async def test_progress_that_is_no_number_is_none(bench: Bench) -> None:
    async with bench.host([hostile()]):
        await bench.ended(await bench.submit("test.hostile", "progress that is no number"))

        async def noted() -> list[Any]:
            return [note for entry in await Journal(bench.engine).read(START, limit=1000) for note in progress_notes(entry)]

        (note,) = await bench.until(noted)
    assert (note.fraction, note.note) == (0.0, "\\udcff\0")


async def test_a_line_that_json_cannot_say_is_spelt_out(bench: Bench) -> None:
    async with bench.host([hostile()]):
        for act in ("a log that can't be encoded", "a log that holds itself"):
            await bench.ended(await bench.submit("test.hostile", act))
    lines = [line for line in bench.log_lines("h1") if line["message"] == r"\udcff"]
    assert len(lines) == 2 and all(line["agent_id"].startswith("hostile-") and line["level"] == "info" for line in lines)
    assert r"\udcff" in lines[0]["more"] and "..." in lines[1]["value"]


@pytest.mark.parametrize("act", ["a text that can't be encoded", "tokens without end", "later, nowhen", "bare"])
async def test_an_isolated_agent_harms_nobody_either(bench: Bench, act: str) -> None:
    async with bench.host([hostile(isolation="process", replicas=1)]) as host:
        view = await bench.ended(await bench.submit("test.hostile", act, retry=ONCE))
        assert host.state.name == "WORKING"
    assert view.state is TaskState.FAILED and view.failure is not None
    assert view.failure.code == ("process_crashed" if act == "bare" else FAILS.get(act, ("agent_error",))[0])
