"""Each duty by itself, one sweep at a time, and who leads them, on a real engine and a real database."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from amas.clock import new_id, now_ms
from amas.controllers import timers
from amas.controllers.deadlines import Deadlines
from amas.controllers.figures import Figures
from amas.controllers.reaper import Reaper
from amas.controllers.recorder import Recorder
from amas.controllers.recovering import Recovering
from amas.controllers.run import PAUSE_MAX_S, Controllers, keep_at, make_duties
from amas.controllers.timers import Timers
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.hosts import HostAbout, HostFigures, HostRegistry
from amas.engine.journal import Journal
from amas.engine.limits import Limits
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.engine.recoveries import Recoveries
from amas.engine.workflows import SLICE, Workflows
from amas.errors import EngineUnreachable, RecordsError
from amas.model.blob import to_blob
from amas.model.fleet import FleetSpec
from amas.model.goal import Goal
from amas.model.journal import WorkflowOpening
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Completion, TaskSpec
from amas.records.store import Records

LIMIT_S = 60.0


@pytest.fixture
def queue(engine: Engine) -> TaskQueue:
    return TaskQueue(engine)


@pytest.fixture
async def records(sqlite_url: str) -> AsyncIterator[Records]:
    async with await Records.open(sqlite_url, busy_timeout_s=0.05) as opened:
        yield opened


async def submit(queue: TaskQueue, count: int = 1, delay_s: float = 0.0, workflow_id: str = "") -> list[str]:
    spec = TaskSpec(capability="work", workflow_id=workflow_id)
    batch = [make_submission(new_id(), spec, delay_s=delay_s) for _ in range(count)]
    await queue.submit(batch)
    return [each.id for each in batch]


async def state_of(queue: TaskQueue, task_id: str) -> TaskState:
    task = await queue.task(task_id)
    assert task is not None
    return task.state


async def open_workflow(queue: TaskQueue, opening: object, *, at_ms: int = 0) -> str:
    workflow_id = new_id()
    task = make_submission(new_id(), TaskSpec(capability="work", workflow_id=workflow_id))
    await queue.submit([task], workflow=WorkflowOpening(workflow_id, to_blob(opening)), now_ms=at_ms)
    return workflow_id


# timers


async def test_a_delayed_task_is_queued_when_its_time_has_come(engine: Engine, queue: TaskQueue) -> None:
    figures = Figures()
    now = now_ms()
    due = make_submission(new_id(), TaskSpec(capability="work"), delay_s=1)
    later = make_submission(new_id(), TaskSpec(capability="work"), delay_s=3600)
    await queue.submit([due, later], now_ms=now - 2000)
    pause_s = await Timers(queue, Workflows(engine), Limits(engine), figures).run_once()
    assert await state_of(queue, due.id) is TaskState.QUEUED
    assert await state_of(queue, later.id) is TaskState.DELAYED
    assert (pause_s, figures.tasks_promoted) == (timers.PAUSE_MAX_S, 1)


async def test_the_timers_wake_for_the_next_due_task(engine: Engine, queue: TaskQueue) -> None:
    await submit(queue, delay_s=0.1)
    pause_s = await Timers(queue, Workflows(engine), Limits(engine), Figures()).run_once()
    assert 0 <= pause_s <= 0.1


async def test_more_than_a_batch_that_is_due_goes_in_one_sweep(engine: Engine, queue: TaskQueue) -> None:
    figures = Figures()
    batch = [make_submission(new_id(), TaskSpec(capability="work"), delay_s=0.001) for _ in range(1500)]
    await queue.submit(batch, now_ms=now_ms() - 1000)
    await Timers(queue, Workflows(engine), Limits(engine), figures).run_once()
    assert figures.tasks_promoted == 1500


async def test_the_timers_fail_what_is_overdue_and_finish_what_calls_left_to_do(engine: Engine, queue: TaskQueue) -> None:
    workflows, workflow_id = Workflows(engine), await open_workflow(queue, {})
    overdue = make_submission(new_id(), TaskSpec(capability="work"), expires_s=1)
    await queue.submit([overdue], now_ms=now_ms() - 2000)
    await submit(queue, 3 * SLICE, workflow_id=workflow_id)
    await queue.end_workflow(workflow_id, WorkflowState.CANCELLED)
    assert await Timers(queue, workflows, Limits(engine), Figures()).run_once() == timers.PAUSE_MAX_S
    assert await state_of(queue, overdue.id) is TaskState.FAILED
    found = await queue.workflow(workflow_id)
    assert found is not None and (found["open"], found["cancelled"]) == (0, 3 * SLICE + 1)


async def test_an_ended_workflow_is_forgotten_after_its_retention(engine: Engine) -> None:
    queue = TaskQueue(engine, retention_s=60)
    old = await open_workflow(queue, {})
    new = await open_workflow(queue, {})
    await queue.end_workflow(old, WorkflowState.SUCCEEDED, now_ms=now_ms() - 61_000)
    await queue.end_workflow(new, WorkflowState.SUCCEEDED)
    await Timers(queue, Workflows(engine), Limits(engine), Figures()).run_once()
    assert await queue.workflow(old) is None
    assert await queue.workflow(new) is not None


# reaper


async def test_a_silent_hosts_tasks_are_given_back_and_its_recovery_is_timed(engine: Engine, queue: TaskQueue) -> None:
    hosts, figures = HostRegistry(engine), Figures()
    (task_id,) = await submit(queue)
    now = now_ms()
    await hosts.register("dead", HostAbout(1, "m", "1", ()), lease_s=6, now_ms=now - 7000)
    await hosts.register("alive", HostAbout(1, "m", "1", ()), lease_s=600)
    assert await queue.claim("dead", [Slots(("work",), ["worker-1"])], now_ms=now - 7000)
    await Reaper(hosts, figures, lease_s=6).run_once()
    assert await state_of(queue, task_id) is TaskState.QUEUED
    assert [host.id for host in await hosts.all()] == ["alive"]
    assert (figures.hosts_lost, figures.tasks_given_back) == (1, 1)
    recovering, recoveries = Recovering(Recoveries(engine), engine="here"), Recoveries(engine)
    await recovering.run_once()
    assert not await recoveries.newest()  # it is queued again, but nobody works on it
    assert await queue.claim("alive", [Slots(("work",), ["worker-2"])])
    await recovering.run_once()
    await recovering.run_once()
    (found,) = await recoveries.newest()
    assert (found.cause, found.subject, found.tasks) == ("host_lost", "dead", 1)
    assert found.duration_ms >= 7000
    counted = (await recoveries.figures())["host_lost"]
    assert (counted.count, counted.sum_s) == (1, found.duration_ms / 1000)


async def test_silence_while_the_engine_was_away_costs_no_host_its_lease(tmp_path: Path) -> None:
    server, figures = EmbeddedEngine(tmp_path / "engine"), Figures()
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await engine.wait_until_ready(timeout_s=LIMIT_S, load=True)
            hosts = HostRegistry(engine)
            reaper = Reaper(hosts, figures, lease_s=6)
            await hosts.register("h1", HostAbout(1, "m", "1", ()), lease_s=6, now_ms=now_ms() - 60_000)
            await server.stop()
            with pytest.raises(EngineUnreachable):
                await reaper.run_once()
            await server.start()
            await engine.wait_until_ready(timeout_s=LIMIT_S)
            assert await reaper.run_once() == 6
            assert await hosts.renew("h1", HostFigures(), lease_s=600)
            await reaper.run_once()
            assert figures.hosts_lost == 0
    finally:
        await server.stop()


# deadlines


@pytest.mark.requirement("A11")
async def test_workflows_end_when_their_time_is_up(queue: TaskQueue) -> None:
    figures, now = Figures(), now_ms()
    overdue = await open_workflow(queue, Goal(text="x", deadline_s=5), at_ms=now - 6000)
    timed_out = await open_workflow(queue, Goal(text="x"), at_ms=now - 101_000)
    no_goal = await open_workflow(queue, [1], at_ms=now - 101_000)
    in_time = await open_workflow(queue, Goal(text="x", deadline_s=200), at_ms=now - 101_000)
    fresh = await open_workflow(queue, Goal(text="x"), at_ms=now)
    await Deadlines(queue, figures, timeout_s=100).run_once()
    states = [await queue.workflow(workflow_id) for workflow_id in (overdue, timed_out, no_goal, in_time, fresh)]
    assert [held and held["state"] for held in states] == ["failed", "failed", "failed", "running", "running"]
    assert figures.workflows_overdue == 3


async def test_a_workflow_that_is_opened_again_has_its_time_anew(engine: Engine, queue: TaskQueue) -> None:
    figures, now, workflows = Figures(), now_ms(), Workflows(engine)
    workflow_id = await open_workflow(queue, Goal(text="x", deadline_s=60), at_ms=now - 61_000)
    (task_id,) = await submit(queue, workflow_id=workflow_id)
    deadlines = Deadlines(queue, figures, timeout_s=100)
    await deadlines.run_once()
    assert await state_of(queue, task_id) is TaskState.CANCELLED
    await workflows.rerun(workflow_id, task_id)
    for _ in range(2):
        await deadlines.run_once()
        assert await state_of(queue, task_id) is TaskState.QUEUED
    assert figures.workflows_overdue == 1


# recorder


async def test_the_recorder_records_and_trims_behind_itself(engine: Engine, queue: TaskQueue, records: Records) -> None:
    journal, figures = Journal(engine), Figures()
    ids = [(await submit(queue))[0] for _ in range(30)]
    last = await journal.last_id()
    await Recorder(journal, records, figures, keep=10).run_once()
    assert sorted(task.id for task in await records.tasks()) == sorted(ids)
    assert await records.position() == last
    assert await journal.length() == 10
    assert (figures.entries_recorded, figures.recorder_lag_s(now_ms())) == (30, 0.0)


async def test_what_is_not_recorded_is_never_trimmed(engine: Engine, queue: TaskQueue) -> None:
    journal = Journal(engine)
    for _ in range(40):
        await submit(queue)
    entries = await journal.read("0-0")
    recorded = entries[9].id
    assert await journal.trim(recorded, keep=4) == 6
    assert (await journal.read("0-0"))[0].id == entries[6].id
    assert await journal.trim("0-0", keep=1) == 0
    assert await journal.length() == 34


async def test_many_unrecorded_entries_put_the_trimming_off(engine: Engine, queue: TaskQueue) -> None:
    journal = Journal(engine)
    for _ in range(110):
        await submit(queue)
    first = (await journal.read("0-0", limit=1))[0].id
    assert await journal.trim(first, keep=0) == 0
    assert await journal.length() == 110


async def test_a_recorder_without_its_database_keeps_its_place(
    engine: Engine, queue: TaskQueue, records: Records, tmp_path: Path
) -> None:
    figures = Figures()
    recorder = Recorder(Journal(engine), records, figures, keep=0)
    first = await submit(queue)
    await recorder.run_once()
    held = sqlite3.connect(tmp_path / "records.sqlite3", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    second = await submit(queue)
    for _ in range(2):
        with pytest.raises(RecordsError, match="locked"):
            await recorder.run_once()
    assert figures.recorder_lag_s(now_ms() + 1000) >= 1
    held.execute("ROLLBACK")
    held.close()
    await recorder.run_once()
    assert sorted(task.id for task in await records.tasks()) == sorted(first + second)
    assert (figures.entries_recorded, figures.recorder_lag_s(now_ms())) == (2, 0.0)


async def test_a_full_batch_is_followed_at_once(engine: Engine, queue: TaskQueue, records: Records) -> None:
    recorder = Recorder(Journal(engine), records, Figures())
    for _ in range(501):
        await submit(queue)
    assert await recorder.run_once() == 0.0
    assert await recorder.run_once() > 0.0
    assert await records.position() == await Journal(engine).last_id()


# who leads


class Beacon:
    """A duty that shows whether it runs."""

    name = "beacon"

    def __init__(self) -> None:
        self.running = asyncio.Event()
        self.stopped = asyncio.Event()

    async def run_once(self) -> float:
        self.running.set()
        self.stopped.clear()
        try:
            await asyncio.Event().wait()
        finally:
            self.stopped.set()
            self.running.clear()
        return 0.0


async def test_one_leads_and_the_next_takes_over_at_once_when_it_leaves(engine: Engine) -> None:
    beacons, figures = [Beacon(), Beacon()], [Figures(), Figures()]
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        pair = [Controllers(engine, [beacons[i]], figures[i], holder=f"p{i}", lease_s=0.6) for i in range(2)]
        first = group.create_task(pair[0].run())
        await beacons[0].running.wait()
        second = group.create_task(pair[1].run())
        assert not beacons[1].running.is_set()
        first.cancel()
        await beacons[1].running.wait()
        assert beacons[0].stopped.is_set()
        assert (figures[0].epoch, figures[1].epoch) == (0, 2)
        second.cancel()


async def test_a_leader_that_finds_another_stops_its_duties(engine: Engine) -> None:
    beacon, figures = Beacon(), Figures()
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        running = group.create_task(Controllers(engine, [beacon], figures, holder="p0", lease_s=0.6).run())
        await beacon.running.wait()
        now = now_ms() + 3_600_000  # an hour later by another's clock: the lease is over
        assert await engine.call("lead", now, "controllers", "p1", 1000) == 2
        await beacon.stopped.wait()
        running.cancel()


async def test_a_duty_in_trouble_pauses_longer_and_longer_and_goes_on() -> None:
    figures, pauses = Figures(), []

    class Troubled:
        name = "troubled"
        sweeps = 0

        async def run_once(self) -> float:
            self.sweeps += 1
            if self.sweeps <= 12:
                raise RecordsError("the database is away")
            return 0.125

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) == 14:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await keep_at(Troubled(), figures, sleep=sleep)
    assert figures.troubles == {"troubled": 12}
    assert max(pauses[:3]) < 0.5 < PAUSE_MAX_S / 2 <= min(pauses[9:12])
    assert pauses[12:] == [0.125, 0.125]


async def test_all_duties_together_finish_a_delayed_task_and_record_it(
    engine: Engine, queue: TaskQueue, records: Records
) -> None:
    figures = Figures()
    controllers = Controllers(
        engine, make_duties(engine, records, figures, fleet=FleetSpec(name="small", pools=())), figures, holder="p0"
    )
    await HostRegistry(engine).register("h1", HostAbout(1, "m", "1", ()), lease_s=600)
    (task_id,) = await submit(queue, delay_s=0.05)
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        running = group.create_task(controllers.run())
        while not (claimed := await queue.claim("h1", [Slots(("work",), ["worker-1"])])):
            await asyncio.sleep(0.01)
        await queue.complete("h1", [Completion(task_id, claimed[0].attempt, to_blob("done"))])
        while (view := await records.task(task_id)) is None or view.state is not TaskState.SUCCEEDED:
            await asyncio.sleep(0.01)
        running.cancel()
    assert view.result == "done"


def test_durations_fall_into_cumulative_buckets() -> None:
    figures = Figures()
    for seconds in (0.005, 0.3, 10_000):
        figures.decompositions.add(seconds)
    buckets = dict(figures.decompositions.buckets())
    assert (buckets[0.005], buckets[0.25], buckets[0.5], buckets[float("inf")]) == (1, 1, 2, 3)
    assert figures.decompositions.sum_s == pytest.approx(10_000.305)
