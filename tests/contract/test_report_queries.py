"""What a report's window adds up to, on every database, with journals that a real engine wrote."""

import pytest
import sqlalchemy as sa
from tests.contract.test_records import T0, Fleet

from amas.clock import new_id
from amas.core.report import Slots, Spent, Work, availability, response
from amas.engine.connection import Engine
from amas.model.blob import to_blob
from amas.model.cost import ModelCall
from amas.model.task import JournaledStep, TaskSpec
from amas.records.report import OPEN_MAX
from amas.records.store import Records
from amas.records.tables import tasks

WINDOW = Slots(T0, T0 + 60_000, 1000)


@pytest.fixture
async def fleet(engine: Engine) -> Fleet:
    fleet = Fleet(engine)
    await fleet.join()
    return fleet


async def found(fleet: Fleet, records: Records, slots: Slots = WINDOW) -> Work:
    await records.apply(await fleet.entries())
    return await records.work_in(slots)


async def test_tasks_are_counted_by_pool_and_state_with_their_times(fleet: Fleet, records: Records) -> None:
    await fleet.submit(*[TaskSpec(capability="work") for _ in range(4)])
    fleet.now += 500
    first, second, third = [await fleet.claim(agent=agent) for agent in ("coder-1", "coder-22", "coder~2-1")]
    fleet.now += 1234
    await fleet.complete(first)
    await fleet.complete(second)
    await fleet.fail(third, final=True)
    work = await found(fleet, records)
    ended = [("coder", "", -1, 0, 3702), ("coder", "failed", -1, 1, 0), ("coder", "succeeded", 1743, 2, 0)]
    assert sorted(work.ended) == ended, "1734 ms, as near as is said"
    assert (work.accepted, work.open, work.first_ms) == (4, {"queued": 1}, T0)
    assert response(work.ended).p99_s == pytest.approx(1.734, rel=1 / 64)
    assert (work.failed[:3], work.succeeded[:3], sum(work.failed), sum(work.succeeded)) == ([0, 1, 0], [0, 2, 0], 1, 2)


async def test_seconds_are_answered_while_attempts_run_and_down_while_tasks_only_wait(fleet: Fleet, records: Records) -> None:
    await fleet.submit(TaskSpec(capability="work"))
    fleet.now += 5500
    task = await fleet.claim()
    fleet.now += 2000
    await fleet.complete(task)
    seen = availability(await found(fleet, records), [])
    assert (seen.down_s, seen.answered_s, seen.idle_s) == (5.0, 3.0, 52.0), "0 to 4 waited, 5 to 7 ran"


async def test_a_slot_of_several_seconds_is_asked_in_when_each_of_them_was(fleet: Fleet, records: Records) -> None:
    await fleet.submit(TaskSpec(capability="work"))
    fleet.now += 5500
    task = await fleet.claim()
    fleet.now += 2000
    await fleet.complete(task)
    work = await found(fleet, records, Slots(T0, T0 + 12_000, 3000))
    assert (work.asked, work.worked, work.succeeded) == ([1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 1, 0])


async def test_a_task_hangs_while_its_host_is_lost_and_counts_to_its_last_attempt(fleet: Fleet, records: Records) -> None:
    await fleet.join("h2")
    await fleet.submit(TaskSpec(capability="work"))
    await fleet.claim(agent="coder-1", host="h2")
    fleet.now += 10_300
    await fleet.hosts.leave("h1", now_ms=fleet.now)  # so that the reaper finds one only
    await fleet.hosts.reap(now_ms=T0 + 700_000)  # the lease of 600 s is over
    fleet.now = T0 + 701_000
    await fleet.join()
    again = await fleet.claim(agent="coder-2")
    fleet.now += 1000
    await fleet.complete(again)
    work = await found(fleet, records, Slots(T0, T0 + 710_000, 1000))
    seen = availability(work, [])
    assert (seen.down_s, seen.answered_s) == (700.0, 2.0), "from its first second until it ran again"
    (ended,) = [each for each in work.ended if each.tasks]
    assert (ended.pool, ended.response_ms) == ("coder", pytest.approx(702_000, rel=1 / 64)), "since it was accepted"
    assert sum(each.busy_ms for each in work.ended) == 701_000


async def test_running_tasks_are_answered_until_now(fleet: Fleet, records: Records) -> None:
    await fleet.submit(TaskSpec(capability="work"))
    await fleet.claim()
    seen = availability(await found(fleet, records), [])
    assert (seen.answered_s, seen.share) == (60.0, 1.0)


async def test_what_nobody_claims_asks_for_nothing(fleet: Fleet, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work"))
    fleet.now += 5000
    await fleet.queue.cancel([task_id], now_ms=fleet.now)
    work = await found(fleet, records)
    assert availability(work, []).share is None
    assert work.ended == [("", "cancelled", -1, 1, 0)]


async def test_only_what_ended_in_the_window_counts(fleet: Fleet, records: Records) -> None:
    (old, _) = await fleet.submit(TaskSpec(capability="work"), TaskSpec(capability="work"))
    await fleet.complete(await fleet.claim())
    fleet.now += 30_000
    await fleet.complete(await fleet.claim())
    work = await found(fleet, records, Slots(T0 + 10_000, T0 + 40_000, 1000))
    assert (sum(each.tasks for each in work.ended), work.accepted, work.first_ms) == (1, 0, T0)
    assert availability(work, []).share == pytest.approx(1 / 21), "it waited from before the window until it ran"
    assert old not in await records.open_ids(limit=OPEN_MAX)


async def test_what_models_cost_is_added_up_by_pool(fleet: Fleet, records: Records) -> None:
    await fleet.submit(TaskSpec(capability="work"))
    task = await fleet.claim(agent="coder~2-1")
    step = JournaledStep(task.id, 1, "model/1", to_blob({}), (ModelCall("small", "openai", 100, 20, 60, 2000, 1500),))
    assert not await fleet.queue.journal_steps([step], now_ms=fleet.now)
    assert (await found(fleet, records)).spent == {"coder": Spent(0.002, 120)}


async def test_open_tasks_are_named_oldest_first(fleet: Fleet, records: Records) -> None:
    ids = await fleet.submit(*[TaskSpec(capability="work") for _ in range(3)])
    await records.apply(await fleet.entries())
    assert await records.open_ids(limit=2) == sorted(ids)[:2]


async def test_a_million_tasks_that_ended_before_cost_nothing(records: Records) -> None:
    """The database's own plan says so: each query begins with an index on the window or on open tasks."""
    seen: list[str] = []
    engine = records._database._looking or records._database._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", lambda *told: seen.append((told[2], told[3])))
    async with records._database.writing() as connection:
        row = {
            "state": "succeeded",
            "capability": "work",
            "spec": b"",
            "created_ms": 1,
            "started_ms": 1,
            "attempt": 1,
            "agent_id": "a-1",
        }
        rows = [{**row, "id": new_id(), "finished_ms": n + 1} for n in range(2000)]
        await connection.execute(sa.insert(tasks), rows)
    seen.clear()
    await records.work_in(WINDOW)
    reads = [(sql, told) for sql, told in seen if sql.startswith("SELECT")]
    assert len(reads) > 5
    if engine.dialect.name != "sqlite":
        return  # PostgreSQL's planner rightly reads a table of a few pages as a whole
    async with records._database.reading() as connection:
        for sql, told in reads:
            steps = (await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", told)).all()
            scans = [step[-1] for step in steps if step[-1].startswith(("SCAN tasks", "SCAN attempts", "SCAN costs"))]
            assert not [scan for scan in scans if "INDEX" not in scan], sql
