"""Schedules on a real engine: fired once, moved on in the same instant, whoever leads."""

import msgspec
import pytest
from tests.engine.cell import Cell, done
from tests.engine.test_resources import keyed

from amas.cli.seal import _reseal_schedules
from amas.controllers.cron import Cron
from amas.controllers.figures import Figures
from amas.engine.limits import Limits
from amas.engine.schedules import Firing, Schedules
from amas.errors import SubmissionError
from amas.model.fleet import FleetLimits
from amas.model.goal import ROOT_CAPABILITY, Goal
from amas.model.schedule import Overlap, Schedule, ScheduledTask
from amas.model.states import TaskState
from amas.sealing import Seal

HOUR_MS = 3_600_000


def nightly(name: str = "nightly", *, overlap: Overlap = "allow", cron: str = "0 3 * * *", paused: bool = False) -> Schedule:
    return Schedule(name=name, cron=cron, task=ScheduledTask(capability="work", input={"n": 1}), overlap=overlap, paused=paused)


@pytest.fixture
def schedules(cell: Cell) -> Schedules:
    return Schedules(cell.engine)


@pytest.fixture
def duty(schedules: Schedules) -> Cron:
    return Cron(schedules, Figures(), limits=FleetLimits())


async def put_due(schedules: Schedules, schedule: Schedule, *, ago_ms: int = 1) -> int:
    """Put a schedule that is due since so long ago, by the server's clock; return when that was."""
    at = schedules._engine.now_ms() - ago_ms
    await schedules.put(schedule, next_ms=at)
    return at


async def test_a_due_schedule_submits_once_and_moves_on(cell: Cell, schedules: Schedules, duty: Cron) -> None:
    await put_due(schedules, nightly())
    await duty.run_once()
    await duty.run_once()
    (got,) = await cell.claim(5)
    assert (got.spec.capability, got.spec.input) == ("work", {"n": 1})
    view = await schedules.get("nightly")
    assert view is not None
    assert (view.fired, view.last_id) == (1, got.id)
    assert view.next_ms > cell.engine.now_ms()


async def test_schedules_and_limits_each_have_a_list_of_their_own_of_what_is_due(
    cell: Cell, schedules: Schedules, duty: Cron
) -> None:
    await put_due(schedules, nightly())
    await cell.submit(keyed("t", ("k", 1)))
    await cell.complete(await cell.run("t"))  # when its key may be forgotten, stands in the list of limits
    await duty.run_once()
    await put_due(schedules, nightly())
    await Limits(cell.engine).refill(now_ms=cell.now + 2 * HOUR_MS)
    await duty.run_once()
    view = await schedules.get("nightly")
    assert view is not None
    assert view.fired == 2


async def test_two_leaders_at_once_submit_once(cell: Cell, schedules: Schedules) -> None:
    await put_due(schedules, nightly())
    (mine,), (theirs,) = (await schedules.due(limit=5)).due, (await schedules.due(limit=5)).due
    duty = Cron(schedules, Figures(), limits=FleetLimits())
    firing = duty._firing(mine.schedule, mine.due_ms, mine.due_ms)
    assert await schedules.fire(mine, firing, next_ms=mine.due_ms + HOUR_MS) == "fired"
    assert await schedules.fire(theirs, firing, next_ms=theirs.due_ms + HOUR_MS) == "moved"
    assert len(await cell.claim(5)) == 1


async def test_a_schedule_that_was_changed_meanwhile_is_not_fired_as_it_was(cell: Cell, schedules: Schedules) -> None:
    await put_due(schedules, nightly())
    (found,) = (await schedules.due(limit=5)).due
    await schedules.put(nightly(paused=True), next_ms=1)
    duty = Cron(schedules, Figures(), limits=FleetLimits())
    assert (
        await schedules.fire(found, duty._firing(found.schedule, found.due_ms, found.due_ms), next_ms=found.due_ms + 1) == "moved"
    )
    assert await cell.claim(5) == []


async def test_a_paused_schedule_is_never_due(schedules: Schedules) -> None:
    await put_due(schedules, nightly(paused=True))
    assert (await schedules.due(limit=5)).due == []
    view = await schedules.get("nightly")
    assert view is not None
    assert view.next_ms == 0


async def test_an_overlapping_turn_is_passed_over_until_the_last_has_ended(cell: Cell, schedules: Schedules, duty: Cron) -> None:
    schedule = nightly(overlap="skip", cron="* * * * *")
    await put_due(schedules, schedule, ago_ms=2 * 60_000)
    await duty.run_once()
    await put_due(schedules, schedule)
    await duty.run_once()
    (got,) = await cell.claim(5)
    assert await cell.queue.complete("h1", [done(got)]) == {}
    at = await put_due(schedules, schedule, ago_ms=0)
    (found,) = (await schedules.due(limit=5)).due
    assert await schedules.fire(found, duty._firing(schedule, at, at), next_ms=at + HOUR_MS) == "fired"
    view = await schedules.get("nightly")
    assert view is not None
    assert (view.fired, view.passed_over) == (2, 1)


async def test_a_goal_opens_a_workflow(cell: Cell, schedules: Schedules, duty: Cron) -> None:
    goal = Goal(text="Review the code", tenant="acme")
    await put_due(schedules, Schedule(name="review", cron="0 3 * * *", goal=goal))
    await duty.run_once()
    (got,) = await cell.claim(5, queues=(ROOT_CAPABILITY,))
    view = await schedules.get("review")
    assert view is not None
    workflow = await cell.queue.workflow(view.last_id)
    assert workflow is not None
    assert workflow["goal"]["text"] == "Review the code"
    assert (got.spec.workflow_id, got.spec.tenant) == (view.last_id, "acme")


async def test_a_refused_submission_leaves_the_schedule_due(cell: Cell, schedules: Schedules, duty: Cron) -> None:
    await put_due(schedules, nightly())
    (found,) = (await schedules.due(limit=5)).due
    firing = duty._firing(found.schedule, found.due_ms, found.due_ms)
    twice = Firing(firing.at_ms, firing.id, [*firing.batch, *firing.batch])
    before = await cell.dump()
    with pytest.raises(SubmissionError, match="schedule 'nightly' can't submit: duplicate"):
        await schedules.fire(found, twice, next_ms=found.due_ms + HOUR_MS)
    assert await cell.dump() == before


async def test_one_schedules_trouble_is_no_others(cell: Cell, schedules: Schedules, duty: Cron) -> None:
    await put_due(schedules, Schedule(name="empty", cron="0 3 * * *", goal=Goal(text=" ")), ago_ms=50)
    await put_due(schedules, nightly())
    await duty.run_once()
    assert [got.spec.input for got in await cell.claim(5)] == [{"n": 1}]
    empty = await schedules.get("empty")
    assert empty is not None
    assert empty.next_ms > cell.engine.now_ms()
    assert empty.fired == 0


async def test_a_dropped_schedule_leaves_nothing_but_what_it_submitted(cell: Cell, schedules: Schedules, duty: Cron) -> None:
    await put_due(schedules, nightly())
    await duty.run_once()
    assert await schedules.drop("nightly")
    assert not await schedules.drop("nightly")
    assert await schedules.all() == []
    assert not {name for name in await cell.keys() if name.startswith(("sched", "due"))}
    (got,) = await cell.claim(5)
    assert (await cell.states(got.id))[got.id] == TaskState.RUNNING


async def test_a_schedule_that_is_over_stays_over_when_it_is_sealed_anew(schedules: Schedules) -> None:
    old, new = bytes(range(32)), bytes(range(1, 33))
    task = ScheduledTask(capability="work", input=Seal([old]).value(msgspec.msgpack.encode({"n": 1})))
    await put_due(schedules, Schedule(name="once", cron="0 3 * * *", task=task))
    (found,) = (await schedules.due(limit=1)).due
    await schedules.fire(found, None, next_ms=0)
    before = (await schedules.blobs())["once"]
    rotated = Seal([new, old])
    assert await _reseal_schedules(schedules, rotated) == 1
    assert await _reseal_schedules(schedules, rotated) == 0
    view = await schedules.get("once")
    assert view is not None and view.schedule.task is not None
    assert rotated.is_current(view.schedule.task.input)
    assert (view.next_ms, (await schedules.due(limit=1)).due) == (0, [])
    assert not await schedules.instead("once", before, b""), "it was changed meanwhile"
