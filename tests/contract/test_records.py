"""What the history promises, on every database, with journals that a real engine wrote."""

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from sqlalchemy.util import greenlet_spawn

from amas.clock import child_id, new_id
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, HostRegistry
from amas.engine.journal import Journal
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.engine.workflows import Workflows
from amas.errors import RecordsError
from amas.model.blob import to_blob
from amas.model.cost import ModelCall
from amas.model.goal import ROOT_CAPABILITY, Goal
from amas.model.journal import JournalEntry, ProgressNote, WorkflowOpening
from amas.model.limits import USD_MAX, Usage
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, JournaledStep, RetryPolicy, Submission, TaskSpec
from amas.records import database
from amas.records import reseal as records_reseal
from amas.records.lookup import of_tasks
from amas.records.store import Records
from amas.records.tables import metadata, steps, tasks
from amas.sealing import Seal

T0 = 1_800_000_000_000


class Fleet:
    """A cell with one host, whose clock the test owns."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.queue, self.hosts, self.journal = TaskQueue(engine), HostRegistry(engine), Journal(engine)
        self.now = T0

    async def join(self, host: str = "h1") -> None:
        await self.hosts.register(host, HostAbout(1, "m", "1", ()), lease_s=600, now_ms=self.now)

    async def submit(self, *specs: TaskSpec, **more: Any) -> list[str]:
        ids = [new_id() for _ in specs]
        await self.queue.submit([make_submission(i, spec) for i, spec in zip(ids, specs, strict=True)], now_ms=self.now, **more)
        return ids

    async def claim(self, capability: str = "work", agent: str = "worker-1", host: str = "h1") -> Claimed:
        claimed = await self.queue.claim(host, [Slots((capability,), [agent])], now_ms=self.now)
        assert claimed
        return claimed[0]

    async def complete(self, task: Claimed, result: Any = None, host: str = "h1") -> None:
        assert not await self.queue.complete(host, [Completion(task.id, task.attempt, to_blob(result))], now_ms=self.now)

    async def fail(self, task: Claimed, *, final: bool = False, delay_ms: int = 1000) -> None:
        failure = to_blob(Failure("boom", "it broke", "traceback"))
        item = FailedAttempt(task.id, task.attempt, failure, delay_ms, final)
        assert not await self.queue.fail("h1", [item], now_ms=self.now)

    async def entries(self) -> list[JournalEntry]:
        return await self.journal.read("0-0", limit=10_000)


async def test_values_in_use_are_those_of_tasks_that_are_open_or_ended_lately(fleet: Fleet, records: Records) -> None:
    (ended,) = await fleet.submit(TaskSpec(capability="work", input="first in"))
    await fleet.complete(await fleet.claim(), "first out")
    fleet.now += 10_000
    opened, also = sorted(await fleet.submit(TaskSpec(capability="work", input="second in"), TaskSpec(capability="other")))
    await records.apply(await fleet.entries())
    everything = await records.values_in_use(since_ms=T0)
    assert [(row.id, row.is_open) for row in everything] == [(ended, False), (opened, True), (also, True)]
    assert b"first in" in everything[0].values
    assert b"first out" in everything[0].values
    assert [row.id for row in await records.values_in_use(since_ms=T0 + 1)] == [opened, also]
    assert [row.id for row in await records.values_in_use(since_ms=T0, cursor=opened)] == [also]


@pytest.fixture
async def fleet(engine: Engine) -> Fleet:
    fleet = Fleet(engine)
    await fleet.join()
    return fleet


async def dump(records: Records) -> dict[str, list[tuple[Any, ...]]]:
    """Everything in the database."""
    async with records._database.reading() as connection:
        return {
            table.name: sorted(map(tuple, (await connection.execute(sa.select(table))).all()), key=repr)
            for table in metadata.sorted_tables
        }


async def busy_day(fleet: Fleet) -> None:
    """Successes, retries, dead letters, sub-tasks, progress, a workflow, a cancellation, a lost and a leaving host."""
    await fleet.submit(*[TaskSpec(capability="work", input=n) for n in range(5)])
    await fleet.complete(await fleet.claim(), {"n": 0})
    first = await fleet.claim()
    await fleet.queue.note_progress([ProgressNote(first.id, 1, 0.5, "half")], now_ms=fleet.now)
    await fleet.fail(first)
    await fleet.fail(await fleet.claim(), final=True)
    fleet.now += 5000
    await fleet.queue.promote(now_ms=fleet.now)
    await fleet.queue.cancel([(await fleet.claim()).id], now_ms=fleet.now)
    workflow = new_id()
    await fleet.submit(
        TaskSpec(capability="lead", workflow_id=workflow, layer="management"),
        workflow=WorkflowOpening(workflow, to_blob(Goal(text="do it"))),
    )
    lead = await fleet.claim("lead", "lead-1")
    child = make_submission(
        child_id(lead.id, "a"), TaskSpec(capability="work", workflow_id=workflow, parent_id=lead.id, layer="specialist")
    )
    await fleet.queue.suspend("h1", lead.id, 1, wait_for=[child.id], children=[child], now_ms=fleet.now)
    await fleet.join("h2")
    await fleet.claim(host="h2")
    await fleet.claim(host="h2")
    await fleet.hosts.leave("h2", now_ms=fleet.now)
    for _ in range(3):
        await fleet.complete(await fleet.claim(agent="worker-2"))
    await fleet.claim("lead", "lead-1")
    await fleet.hosts.reap(now_ms=fleet.now + 10**6)


async def test_a_task_is_recorded_from_its_submission_to_its_result(fleet: Fleet, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work", input={"x": [1, "é"]}, key="k", title="T", layer="specialist"))
    fleet.now += 20
    task = await fleet.claim()
    fleet.now += 30
    await fleet.complete(task, {"answer": 42})
    applied = await records.apply(await fleet.entries())
    view = await records.task(task_id)
    assert view is not None
    assert (view.state, view.input, view.result) == (TaskState.SUCCEEDED, {"x": [1, "é"]}, {"answer": 42})
    assert (view.key, view.title, view.layer, view.agent_id, view.attempt) == ("k", "T", "specialist", "worker-1", 1)
    assert (view.created_ms, view.started_ms, view.finished_ms, view.progress) == (T0, T0 + 20, T0 + 50, 1.0)
    (attempt,) = await records.attempts(task_id)
    assert (attempt.state, attempt.host_id, attempt.started_ms, attempt.finished_ms) == ("succeeded", "h1", T0 + 20, T0 + 50)
    assert applied.assignments_ms == [20]
    assert applied.position == await records.position() == (await fleet.entries())[-1].id


async def test_entry_by_entry_comes_to_the_same_as_all_at_once(fleet: Fleet, records: Records) -> None:
    await busy_day(fleet)
    entries = await fleet.entries()
    for entry in entries:
        await records.apply([entry])
    one_by_one = await dump(records)
    async with records._database.writing() as connection:
        for table in metadata.sorted_tables:
            await connection.execute(table.update().values(position=0) if table.name == "recorder" else table.delete())
    await records.apply(entries)
    assert await dump(records) == one_by_one


async def test_the_same_entries_twice_change_nothing(fleet: Fleet, records: Records) -> None:
    await busy_day(fleet)
    entries = await fleet.entries()
    await records.apply(entries)
    before = await dump(records)
    again = await records.apply(entries)
    assert await dump(records) == before
    assert (again.entries, again.assignments_ms) == (0, [])


async def test_a_recorder_that_died_goes_on_where_it_was(fleet: Fleet, records: Records, records_url: str) -> None:
    await busy_day(fleet)
    entries = await fleet.entries()
    await records.apply(entries[: len(entries) // 2])
    async with await Records.open(records_url) as reopened:
        applied = await reopened.apply(entries)
        assert applied.entries == len(entries) - len(entries) // 2
    for task in await records.tasks(limit=1000):
        held = await fleet.queue.task(task.id)
        assert held is not None and held.state is task.state


async def test_two_recorders_at_once_record_everything_once(fleet: Fleet, records: Records, records_url: str) -> None:
    await busy_day(fleet)
    entries = await fleet.entries()
    async with await Records.open(records_url) as other:
        both = await asyncio.gather(*(each.apply([entry]) for entry in entries for each in (records, other)))
    assert await records.position() == entries[-1].id
    assert sum(applied.entries for applied in both) <= len(entries)


async def test_attempts_tell_how_each_ended(fleet: Fleet, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work", retry=RetryPolicy(retries=1)))
    await fleet.fail(await fleet.claim(), delay_ms=10)
    fleet.now += 10
    await fleet.queue.promote(now_ms=fleet.now)
    task = await fleet.claim()
    await fleet.queue.give_back("h1", [(task.id, task.attempt)], now_ms=fleet.now)
    await fleet.join("h2")
    await fleet.claim(host="h2")
    await fleet.hosts.renew("h1", (await fleet.hosts.all())[0].figures, lease_s=10**4, now_ms=fleet.now)
    fleet.now += 700_000
    lost = await fleet.hosts.reap(now_ms=fleet.now)
    assert lost is not None and lost.id == "h2"
    await fleet.fail(await fleet.claim())
    await records.apply(await fleet.entries())
    attempts = await records.attempts(task_id)
    assert [attempt.state for attempt in attempts] == ["failed", "given_back", "lost", "failed"]
    assert attempts[0].failure == Failure("boom", "it broke", "traceback")
    view = await records.task(task_id)
    assert view is not None and view.failures == 2 and view.failure is not None


async def test_what_a_failed_need_took_along_failed_for_that(fleet: Fleet, records: Records) -> None:
    need = new_id()
    dependent = new_id()
    await fleet.queue.submit(
        [
            make_submission(need, TaskSpec(capability="work")),
            make_submission(dependent, TaskSpec(capability="work", needs=(need,))),
        ],
        now_ms=fleet.now,
    )
    await fleet.fail(await fleet.claim(), final=True)
    await records.apply(await fleet.entries())
    assert [task.id for task in await records.tasks(state=TaskState.FAILED) if task.attempt] == [need]
    view = await records.task(dependent)
    assert view is not None and view.failure is not None
    assert (view.state, view.failure.code, view.needs) == (TaskState.FAILED, "dependency_failed", (need,))


async def test_a_repeated_spawn_leaves_its_first_as_it_is(fleet: Fleet, records: Records) -> None:
    await fleet.submit(TaskSpec(capability="lead"))
    lead = await fleet.claim("lead", "lead-1")

    def child(key: str) -> Submission:
        return make_submission(child_id(lead.id, key), TaskSpec(capability="work", parent_id=lead.id, key=key))

    one, two = child("one"), child("two")
    await fleet.queue.suspend("h1", lead.id, 1, wait_for=[one.id], children=[one], now_ms=fleet.now)
    await fleet.complete(await fleet.claim(), "done")
    await records.apply(await fleet.entries())
    lead = await fleet.claim("lead", "lead-1")
    await fleet.queue.suspend("h1", lead.id, 2, wait_for=[one.id, two.id], children=[one, two], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    first, second, parent = [await records.task(i) for i in (one.id, two.id, lead.id)]
    assert first is not None and (first.state, first.result) == (TaskState.SUCCEEDED, "done")
    assert second is not None and second.state is TaskState.QUEUED and second.parent_id == lead.id
    assert parent is not None and parent.state is TaskState.WAITING
    assert [attempt.state for attempt in await records.attempts(lead.id)] == ["suspended", "suspended"]


async def test_a_submission_said_again_changes_nothing(fleet: Fleet, records: Records) -> None:
    old = make_submission(new_id(), TaskSpec(capability="work"))
    await fleet.queue.submit([old], now_ms=fleet.now)
    await fleet.complete(await fleet.claim(), 1)
    await records.apply(await fleet.entries())
    new = make_submission(new_id(), TaskSpec(capability="work"))
    await fleet.queue.submit([old, new], resend=True, now_ms=fleet.now)
    await fleet.complete(await fleet.claim(), 2)
    await records.apply(await fleet.entries())
    results = {task.id: (await records.task(task.id)).result for task in await records.tasks()}  # type: ignore[union-attr]
    assert results == {old.id: 1, new.id: 2}
    assert len(await records.attempts(old.id)) == 1


async def test_a_late_word_on_progress_is_dropped(fleet: Fleet, records: Records) -> None:
    (task_id,) = await fleet.submit(TaskSpec(capability="work"))
    task = await fleet.claim()
    await fleet.queue.note_progress([ProgressNote(task.id, 1, 0.25, "a quarter")], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    view = await records.task(task_id)
    assert view is not None and (view.progress, view.note) == (0.25, "a quarter")
    await fleet.complete(task)
    await fleet.queue.note_progress([ProgressNote(task.id, 1, 0.5, "half")], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    view = await records.task(task_id)
    assert view is not None and (view.progress, view.note) == (1.0, "a quarter")


async def test_a_workflow_shows_its_goal_its_counts_and_its_progress(fleet: Fleet, records: Records) -> None:
    workflow_id, root = new_id(), new_id()
    goal = Goal(text="review it", input_dir="/src", preferences={"depth": 2})
    spec = TaskSpec(capability="work", workflow_id=workflow_id)
    await fleet.queue.submit(
        [
            make_submission(root, TaskSpec(capability="lead", workflow_id=workflow_id)),  # its end would be the workflow's
            *(make_submission(new_id(), spec) for _ in range(3)),
        ],
        workflow=WorkflowOpening(workflow_id, to_blob(goal), root),
        now_ms=fleet.now,
    )
    for _ in range(2):
        await fleet.complete(await fleet.claim())
    running = await fleet.claim()
    await fleet.queue.note_progress([ProgressNote(running.id, 1, 0.5)], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    found = await records.workflow(workflow_id)
    assert found is not None and found.goal == goal
    assert (found.state, found.root_id, found.created_ms) == (WorkflowState.RUNNING, root, T0)
    assert found.tasks == {TaskState.SUCCEEDED: 2, TaskState.RUNNING: 1, TaskState.QUEUED: 1}
    assert found.progress == pytest.approx(2.5 / 4)
    fleet.now += 50
    await fleet.queue.end_workflow(workflow_id, WorkflowState.CANCELLED, now_ms=fleet.now)
    await records.apply(await fleet.entries())
    found = await records.workflow(workflow_id)
    assert found is not None and (found.state, found.finished_ms) == (WorkflowState.CANCELLED, T0 + 50)
    assert found.tasks == {TaskState.SUCCEEDED: 2, TaskState.CANCELLED: 2}


async def test_a_workflow_that_no_goal_opened_keeps_what_did(fleet: Fleet, records: Records) -> None:
    workflow_id = new_id()
    opening = WorkflowOpening(workflow_id, to_blob({"batch": 7}))
    await fleet.submit(TaskSpec(capability="work", workflow_id=workflow_id), workflow=opening)
    await records.apply(await fleet.entries())
    found = await records.workflow(workflow_id)
    assert found is not None and (found.goal, found.opening) == (None, {"batch": 7})


async def test_pages_go_by_id_and_meet_without_gap_or_overlap(fleet: Fleet, records: Records) -> None:
    ids = await fleet.submit(*[TaskSpec(capability="work") for _ in range(7)])
    for index in range(7):
        await fleet.complete(await fleet.claim(agent=f"worker-{index % 2}"))
    await records.apply(await fleet.entries())
    seen: list[str] = []
    while page := await records.tasks(limit=3, cursor=seen[-1] if seen else ""):
        seen += [task.id for task in page]
    assert seen == sorted(ids, reverse=True)
    assert [task.input for task in await records.tasks(limit=1)] == [None]
    assert await records.tasks(state=TaskState.QUEUED) == []
    worked = await records.tasks(agent_id="worker-1")
    assert len(worked) == 3
    assert {attempt.agent_id for task in worked for attempt in await records.attempts(task.id)} == {"worker-1"}


async def test_events_resume_after_the_last_one_seen(fleet: Fleet, records: Records) -> None:
    await busy_day(fleet)
    await records.apply(await fleet.entries())
    every = await records.events(limit=1000)
    assert len({(event.id, event.workflow_id) for event in every}) == len(every)
    seen = await records.events(limit=1)
    while page := await records.events(after=seen[-1].id, limit=1):
        seen += page
    assert seen == every
    (workflow,) = await records.workflows()
    mine = await records.events(workflow_id=workflow.id)
    assert mine == [event for event in every if event.workflow_id == workflow.id]
    assert mine[0].workflow_state == "running" and mine[0].tasks[0].capability == "lead"


async def test_a_batch_outside_any_workflow_is_one_event(fleet: Fleet, records: Records) -> None:
    await fleet.submit(*[TaskSpec(capability="work") for _ in range(100)])
    await records.apply(await fleet.entries())
    (event,) = [event for event in await records.events() if event.kind == "submit"]
    assert len(event.tasks) == 100


@pytest.mark.requirement("B9")
async def test_analytics_count_rates_and_durations(fleet: Fleet, records: Records) -> None:
    for duration_ms in (100, 200, 300, 4000):
        await fleet.submit(TaskSpec(capability="work", layer="specialist"))
        task = await fleet.claim()
        fleet.now += duration_ms
        await fleet.complete(task)
    await fleet.submit(TaskSpec(capability="work"))
    await fleet.fail(await fleet.claim(), final=True)
    await fleet.submit(TaskSpec(capability="other"))
    await records.apply(await fleet.entries())
    found = await records.analytics(T0)
    assert (found.total.succeeded, found.total.failed, found.total.success_rate) == (4, 1, 0.8)
    assert found.total.mean_s == 1.15
    assert (found.total.p50_s, found.total.p99_s) == (pytest.approx(0.2, rel=1 / 64), pytest.approx(4.0, rel=1 / 64))
    assert [(group.name, group.succeeded) for group in found.capabilities] == [("work", 4)]
    assert [(group.name, group.succeeded) for group in found.layers] == [("specialist", 4)]
    assert [(group.name, group.failed) for group in found.pools] == [("worker", 1)]
    assert found.open == {TaskState.QUEUED: 1}
    assert (await records.analytics(fleet.now + 1)).total.success_rate is None


async def test_planning_is_timed_from_the_attempt_to_its_journaled_plan(fleet: Fleet, records: Records) -> None:
    await fleet.submit(TaskSpec(capability=ROOT_CAPABILITY, layer="executive"))
    task = await fleet.claim(ROOT_CAPABILITY, "coordinator-1")
    await records.apply(await fleet.entries())
    fleet.now += 120
    steps = [JournaledStep(task.id, 1, "plan", to_blob({})), JournaledStep(task.id, 1, "other", to_blob({}))]
    await fleet.queue.journal_steps(steps, now_ms=fleet.now)
    applied = await records.apply(await fleet.entries())
    assert applied.decompositions_ms == [120]


async def test_a_look_into_a_broken_history_says_so_in_our_words(records: Records) -> None:
    async with records._database.writing() as connection:
        await connection.exec_driver_sql("DROP TABLE attempts")
    with pytest.raises(RecordsError, match=r"can't be read: .*attempts"):
        await records.task_in_full("t1")


async def test_a_look_sees_one_state_however_it_asks(records: Records) -> None:
    def asked(connection: sa.Connection) -> list[int]:
        rows = of_tasks(connection, sa.select(tasks.c.id).where(tasks.c.id.in_(sa.bindparam("task_ids", expanding=True))), ["t1"])
        return [len(rows), connection.execute(sa.select(sa.func.count()).select_from(tasks)).scalar_one()]

    assert await records._database.look(asked) == [0, 0]


async def test_several_processes_may_open_a_new_database_at_once(records_url: str) -> None:
    opened = await asyncio.gather(*(Records.open(records_url) for _ in range(4)))
    for each in opened:
        assert await each.position() == "0-0"
        await each.close()


async def test_a_new_file_that_another_process_holds_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """SQLite refuses one of two who turn a new file to WAL at once, without a wait: here by a connection that never waits."""
    holder = sqlite3.connect(tmp_path / "history", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    ours = sqlite3.connect(tmp_path / "history", timeout=0)
    tries: list[str] = []

    class Cursor:
        def execute(self, statement: str) -> None:
            tries.append(statement)
            if len(tries) == 3:
                holder.execute("ROLLBACK")
            ours.execute(statement)

    await greenlet_spawn(database._patiently, Cursor(), "PRAGMA journal_mode=WAL", 10.0)
    assert tries == ["PRAGMA journal_mode=WAL"] * 3
    assert ours.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    ours.close()
    holder.close()


async def test_the_history_of_another_cell_is_refused(records: Records, records_url: str) -> None:
    with pytest.raises(RecordsError, match="those of the cell 'local', not of 'north'"):
        await Records.open(records_url, cell="north")


async def test_tables_of_a_newer_version_are_refused(records: Records, records_url: str) -> None:
    async with records._database.writing() as connection:
        await connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(RecordsError, match="newer amas"):
        await Records.open(records_url)


async def test_what_runs_again_is_recorded_as_it_stands(fleet: Fleet, records: Records) -> None:
    workflow = new_id()
    first, second = new_id(), new_id()
    work, signal = (
        TaskSpec(capability="work", workflow_id=workflow),
        TaskSpec(capability="x", needs=(first,), workflow_id=workflow),
    )
    batch = [make_submission(first, work), make_submission(second, signal, kind="signal")]
    await fleet.queue.submit(batch, workflow=WorkflowOpening(workflow, to_blob(None)), now_ms=fleet.now)
    workflows, place = Workflows(fleet.engine), "0-0"

    async def recorded() -> tuple[Any, Any, Any]:
        nonlocal place
        entries = await fleet.journal.read(place, limit=100)
        place = (await records.apply(entries)).position
        return await records.workflow(workflow), await records.task(first), await records.task(second)

    await workflows.pause(workflow, now_ms=fleet.now)
    held, _, _ = await recorded()
    assert (held.state, held.finished_ms) == (WorkflowState.PAUSED, 0)
    await workflows.resume(workflow, now_ms=fleet.now)
    await fleet.complete(await fleet.claim(), "old")
    await workflows.signal(second, {"approved": True}, now_ms=fleet.now)
    held, _, answered = await recorded()
    assert (held.state, held.finished_ms) == (WorkflowState.SUCCEEDED, fleet.now)
    assert (answered.state, answered.result, answered.finished_ms) == (TaskState.SUCCEEDED, {"approved": True}, fleet.now)
    fleet.now += 1000
    assert await workflows.rerun(workflow, first, now_ms=fleet.now) == 2
    held, again, asking = await recorded()
    assert (held.state, held.finished_ms) == (WorkflowState.RUNNING, 0)
    assert (again.state, again.finished_ms, again.result, again.progress) == (TaskState.QUEUED, 0, None, 0.0)
    assert (asking.state, asking.finished_ms, asking.result) == (TaskState.WAITING, 0, None)
    await fleet.complete(await fleet.claim(), "new")
    await workflows.signal(second, {"approved": False, "by": "Ada"}, now_ms=fleet.now)
    held, again, refused = await recorded()
    assert (held.state, held.finished_ms) == (WorkflowState.FAILED, fleet.now)
    assert (again.attempt, again.result) == (2, "new")
    assert (refused.state, refused.failure) == (TaskState.FAILED, Failure("refused", "Ada refused"))
    assert [attempt.state for attempt in await records.attempts(first)] == ["succeeded"] * 2


async def test_no_text_holds_up_the_history(fleet: Fleet, records: Records) -> None:
    """PostgreSQL's texts have no NUL: an entry that can't be written is tried again for ever, and all that follow it wait."""
    nul, workflow = "a\0b", new_id()
    opening = WorkflowOpening(workflow, to_blob(Goal(text=nul, tenant=nul)))
    spec = TaskSpec(capability="work", key=nul, title=nul, tenant=nul, input=nul, workflow_id=workflow)
    (task_id,) = await fleet.submit(spec, workflow=opening)
    task = await fleet.claim()
    call = ModelCall(nul, nul, 1, 1, 0, 5, 1)
    await fleet.queue.journal_steps([JournaledStep(task_id, 1, nul, to_blob(nul), (call,))], now_ms=fleet.now)
    await fleet.queue.note_progress([ProgressNote(task_id, 1, 0.5, nul)], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    assert await records.position() == (await fleet.entries())[-1].id
    failure = to_blob(Failure(nul, nul, nul))
    await fleet.queue.fail("h1", [FailedAttempt(task_id, 1, failure, 0, True)], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    view = await records.task(task_id)
    assert view is not None and view.failure == Failure(nul, nul, nul)
    assert (view.title, view.key, view.note, view.input) == (*["a\ufffdb"] * 3, nul)
    goal = await records.workflow(workflow)
    assert goal is not None and goal.id == workflow
    assert task.id == task_id


async def test_what_agents_say_that_they_used_can_always_be_added_up(fleet: Fleet, records: Records) -> None:
    """SQLite refuses a sum that leaves 64 bits, and with it every page that shows what was spent."""
    most = Usage().plus(usd=1e12, tokens=10**18, calls=10**18)
    for _ in range(20):
        await fleet.submit(TaskSpec(capability="work"))
        task = await fleet.claim()
        done = Completion(task.id, task.attempt, to_blob(None), most)
        assert not await fleet.queue.complete("h1", [done], now_ms=fleet.now)
    await records.apply(await fleet.entries())
    assert (await records.cost()).usd == 20 * USD_MAX


async def test_a_rotation_reads_the_steps_of_open_tasks_page_by_page(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = bytes(range(32)), bytes(range(1, 33))
    encode = msgspec.msgpack.encode
    sealed, current = (encode(Seal([key]).value(encode("it"))) for key in (old, new))
    names = [("t1", "a"), ("t1", "b"), ("t1", "c"), ("t2", "a"), ("t2", "b"), ("t3", "a")]
    rows = [{"task_id": task, "name": name, "result": current if task == "t3" else sealed} for task, name in names]
    async with records._database.writing() as connection:
        await connection.execute(steps.insert(), rows)
    read, looked = records_reseal._rows, list[int]()

    async def counted(*given: Any) -> list[Any]:
        found = await read(*given)
        looked.append(len(found))
        return found

    monkeypatch.setattr(records_reseal, "PAGE", 2)
    monkeypatch.setattr(records_reseal, "_rows", counted)
    assert (await records.reseal(Seal([new, old]), held_since_ms=0)).held == 5
    assert (max(looked), sum(looked)) == (2, len(rows))
