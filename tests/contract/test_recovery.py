"""A lost engine's work comes back from the records, on every database: open work goes on, finished work stays done."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
from tests.engine.cell import Cell

from amas.clock import child_id, new_id
from amas.controllers.figures import Figures
from amas.controllers.recorder import Recorder
from amas.controllers.recover import Recovered, recover
from amas.engine.connection import Engine
from amas.engine.queue import make_submission
from amas.model.blob import to_blob
from amas.model.goal import Goal
from amas.model.journal import WorkflowOpening
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Claimed, JournaledStep, RetryPolicy, Submission, TaskSpec
from amas.records.store import Records


class Loss(Cell):
    """A cell whose engine can be lost, and a recorder of it."""

    def __init__(self, engine: Engine, records: Records) -> None:
        super().__init__(engine)
        self.records = records
        self.now = 0  # the server's clock: recovery reads it too

    async def record(self) -> None:
        recorder = Recorder(self.journal, self.records, Figures())
        while await self.records.position() != await self.journal.last_id():
            await recorder.run_once(wait_ms=0)

    async def lose(self) -> None:
        """Record what there is, and begin again with an engine that knows nothing."""
        await self.record()
        for name in await self.keys():
            await self.engine.client.delete(self.engine.key(name))

    async def recover(self, *, goals_at_a_time: int = 0) -> Recovered:
        await Recorder(self.journal, self.records, Figures()).run_once(wait_ms=0)
        done = await recover(
            self.engine, self.records, retention_s=3600, progress=lambda _done, _total: None, goals_at_a_time=goals_at_a_time
        )
        await self.record()
        return done

    async def recorded(self, task_id: str) -> TaskState:
        await self.record()
        found = await self.records.task(task_id)
        assert found is not None
        return found.state

    async def finish_all(self) -> list[Claimed]:
        """Claim and complete until nothing is queued; return what ran."""
        ran: list[Claimed] = []
        while got := await self.claim(10):
            await self.complete(*got)
            ran += got
        return ran


def new(**fields: object) -> Submission:
    return make_submission(new_id(), TaskSpec(capability="work", **fields))  # type: ignore[arg-type]


@pytest.fixture
async def cell(engine: Engine, records: Records) -> AsyncIterator[Loss]:
    yield Loss(engine, records)


async def test_queued_and_running_tasks_run_again_and_finished_ones_dont(cell: Loss) -> None:
    done, running, queued = new(), new(input={"n": 1}), new()
    await cell.submit(done, running, queued)
    await cell.complete(*await cell.claim(1))
    before = await cell.run(running.id)
    await cell.lose()
    assert await cell.recover() == (0, 2, 0, 0)
    ran = {task.id: task for task in await cell.finish_all()}
    assert ran.keys() == {running.id, queued.id}
    assert ran[running.id].attempt > before.attempt and ran[running.id].spec.input == {"n": 1}
    assert await cell.complete(before) == {0: "stale"}
    for submission in (done, running, queued):
        assert await cell.recorded(submission.id) is TaskState.SUCCEEDED
    assert [attempt.state for attempt in await cell.records.attempts(running.id)] == ["lost", "succeeded"]


async def test_a_claim_that_wasnt_recorded_is_fenced_off(cell: Loss) -> None:
    task = new()
    await cell.submit(task)
    await cell.record()
    unrecorded = await cell.run(task.id)
    for name in await cell.keys():
        await cell.engine.client.delete(cell.engine.key(name))
    await cell.recover()
    (again,) = await cell.claim(1)
    assert await cell.complete(unrecorded) == {0: "stale"}
    assert await cell.complete(again) == {}


async def test_recovered_goals_count_and_those_over_the_limit_wait_in_their_order(cell: Loss) -> None:
    names = sorted(new_id() for _ in range(4))  # of one millisecond, the id decides
    for name in names:
        root = make_submission(f"{name}-root", TaskSpec(capability="work", workflow_id=name))
        opening = WorkflowOpening(name, to_blob(Goal(text="Wait")), root.id, None, 2)
        await cell.queue.submit([root], workflow=opening, now_ms=cell.now)
    assert {got.id for got in await cell.claim(10)} == {f"{name}-root" for name in names[:2]}
    await cell.lose()
    assert (await cell.recover(goals_at_a_time=1)).workflows == 4
    assert [await cell.workflow_state(name) for name in names] == ["running", "waiting", "waiting", "waiting"]
    ran = await cell.finish_all()  # each end lets the next one in
    assert [got.id for got in ran] == [f"{name}-root" for name in names]
    late = new_id()
    await cell.queue.submit(
        [make_submission(f"{late}-root", TaskSpec(capability="work", workflow_id=late))],
        workflow=WorkflowOpening(late, to_blob(Goal(text="Wait")), f"{late}-root", None, 1),
        now_ms=cell.now,
    )
    assert await cell.workflow_state(late) == "running"  # nobody is counted for ever


async def test_a_workflow_goes_on_with_its_counts_and_results(cell: Loss) -> None:
    workflow, first = new_id(), new(workflow_id="")
    spec = {"workflow_id": workflow}
    first = new(**spec)
    failed = make_submission(new_id(), TaskSpec(capability="work", retry=RetryPolicy(retries=0), **spec), on_failure="skip")  # type: ignore[arg-type]
    last = new(needs=(first.id, failed.id), **spec)
    await cell.submit(first, failed, last, workflow=workflow)
    await cell.complete(await cell.run(first.id))
    await cell.lose()
    assert await cell.recover() == (1, 2, 1, 0)
    assert await cell.counts(workflow) == {"total": 3, "open": 2, "succeeded": 1}
    assert await cell.fail(await cell.run(failed.id), final=True) == {}
    outcomes = await cell.queue.outcomes([first.id])
    assert outcomes[first.id].result == "done"
    assert [task.id for task in await cell.finish_all()] == [last.id]
    assert await cell.workflow_state(workflow) == WorkflowState.SUCCEEDED
    await cell.record()
    shown = await cell.records.workflow(workflow)
    assert shown is not None and shown.state is WorkflowState.SUCCEEDED


async def test_a_workflow_ends_with_its_root_after_recovery(cell: Loss) -> None:
    workflow, root = new_id(), new_id()
    batch = [make_submission(root, TaskSpec(capability="work", workflow_id=workflow)), new(workflow_id=workflow)]
    await cell.queue.submit(batch, workflow=WorkflowOpening(workflow, to_blob({"a": 1}), root))
    await cell.lose()
    await cell.recover()
    await cell.complete(*[task for task in await cell.claim(2) if task.id == root])
    assert await cell.workflow_state(workflow) == WorkflowState.SUCCEEDED
    assert await cell.recorded(batch[1].id) is TaskState.CANCELLED


async def test_steps_are_not_repeated_and_go_when_the_task_ends(cell: Loss) -> None:
    task = new()
    await cell.submit(task)
    claimed = await cell.run(task.id)
    await cell.queue.journal_steps([JournaledStep(task.id, 1, name, to_blob(name)) for name in ("a", "b")])
    await cell.lose()
    await cell.recover()
    assert await cell.queue.steps(task.id) == {"a": b"\xa1a", "b": b"\xa1b"}
    (again,) = await cell.finish_all()
    assert again.resumed and again.id == claimed.id
    await cell.lose()
    assert await cell.recorded(task.id) is TaskState.SUCCEEDED
    async with cell.records._database.reading() as connection:
        assert (await connection.exec_driver_sql("SELECT * FROM steps")).all() == []


async def test_a_suspended_parent_finds_its_sub_tasks(cell: Loss) -> None:
    parent = new()
    await cell.submit(parent)
    claimed = await cell.run(parent.id)
    children = [
        make_submission(child_id(parent.id, key), TaskSpec(capability="child", parent_id=parent.id, key=key))
        for key in ("a", "b")
    ]
    assert await cell.suspend(claimed, *children) == ""
    (child,) = await cell.claim(1, queues=("child",))
    await cell.complete(child)
    await cell.lose()
    assert await cell.recover() == (0, 2, 1, 0)
    (again,) = await cell.claim(1)
    assert again.id == parent.id and again.resumed
    assert await cell.suspend(again, *children) == ""  # it says the same again, and waits for what is open
    (other,) = await cell.claim(2, queues=("child",))
    assert other.id != child.id
    await cell.complete(other)
    (last,) = await cell.claim(1)
    await cell.complete(last)
    assert await cell.recorded(parent.id) is TaskState.SUCCEEDED


async def test_a_delay_goes_on_where_it_was(cell: Loss) -> None:
    task = make_submission(new_id(), TaskSpec(capability="work"), delay_s=3600, priority=2)
    await cell.submit(task)
    (due_ms,) = [change.due_ms for change in await cell.changes(task.id) if change.due_ms]
    await cell.lose()
    await cell.recover()
    ((_, restored_ms),) = await cell.engine.client.zrange(cell.engine.key("delayed"), 0, -1, withscores=True)
    assert abs(restored_ms - due_ms) < 60_000
    held = await cell.held(task.id)
    assert (held["s"], held["p"]) == ("delayed", "2")


async def test_options_come_back_whatever_they_are(cell: Loss) -> None:
    plain = make_submission(new_id(), TaskSpec(capability="work", retry=RetryPolicy(retries=7)), pool="gpu")
    await cell.submit(plain)
    held = await cell.held(plain.id)
    await cell.lose()
    await cell.recover()
    again = await cell.held(plain.id)
    assert {name: again[name] for name in ("s", "q", "b", "m")} == {name: held[name] for name in ("s", "q", "b", "m")}


async def test_nothing_is_recovered_from_an_engine_that_lost_nothing(cell: Loss) -> None:
    await cell.submit(new(), new())
    await cell.record()
    assert await cell.recover() == (0, 0, 0, 0)
    assert len(await cell.finish_all()) == 2


async def test_recovering_twice_is_the_same_as_once(cell: Loss) -> None:
    task = new()
    await cell.submit(task)
    await cell.lose()
    await cell.recover()
    await cell.finish_all()
    assert await cell.recover() == (0, 0, 0, 0)
    assert await cell.finish_all() == []


async def test_a_recovery_that_died_is_taken_up_and_doubles_nothing(cell: Loss) -> None:
    workflow = new_id()
    batch = [new(workflow_id=workflow) for _ in range(3)]
    await cell.submit(*batch, workflow=workflow)
    await cell.lose()
    settle = cell.records.lost_work.settle

    async def die() -> None:
        raise ConnectionError

    cell.records.lost_work.settle = die  # type: ignore[method-assign]
    with pytest.raises(ConnectionError):
        await cell.recover()
    cell.records.lost_work.settle = settle  # type: ignore[method-assign]
    await cell.complete(*await cell.claim(1))
    await cell.record()
    assert (await cell.recover()).tasks == 0
    assert await cell.counts(workflow) == {"total": 3, "open": 2, "succeeded": 1}
    assert len(await cell.finish_all()) == 2


async def test_work_submitted_to_the_new_engine_is_left_alone(cell: Loss) -> None:
    old, fresh = new(), new()
    await cell.submit(old)
    await cell.lose()
    await cell.submit(fresh)
    assert (await cell.recover()).tasks == 1
    assert {task.id for task in await cell.finish_all()} == {old.id, fresh.id}


async def test_a_new_engine_whose_clock_is_behind_is_recorded_from_its_first_entry(cell: Loss) -> None:
    await cell.engine.client.xadd(cell.engine.key("journal"), {"k": "left", "t": 1}, id="4000000000000-0")
    await cell.lose()
    task = new()
    await cell.submit(task)
    await cell.finish_all()
    assert await cell.recorded(task.id) is TaskState.SUCCEEDED


async def test_an_engine_that_lost_its_last_words_is_stepped_back_to(cell: Loss) -> None:
    """As a replica that took over: the same data, but its journal ends before what is recorded."""
    ended, running = new(), new()
    await cell.submit(ended, running)
    await cell.record()
    before = {name: await cell.engine.client.dump(cell.engine.key(name)) for name in await cell.keys()}
    unheard = new()
    await cell.submit(unheard)
    await cell.complete(*await cell.claim(1))
    await cell.run(running.id)
    await cell.lose()
    for name, value in before.items():
        await cell.engine.client.restore(cell.engine.key(name), 0, value)
    assert await cell.recover() == (0, 1, 0, 1)
    assert (await cell.claim(1))[0].id == ended.id  # its end was lost; the engine's word stands
    assert await cell.recorded(ended.id) is TaskState.RUNNING
    view = await cell.records.task(ended.id)
    assert view is not None and (view.finished_ms, view.result) == (0, None)
    assert {task.id for task in await cell.finish_all()} == {running.id, unheard.id}


async def test_another_cell_is_another_engine(engine_url: str, records: Records) -> None:
    async with Engine(engine_url, cell=uuid4().hex) as one, Engine(engine_url, cell=uuid4().hex) as other:
        assert await Loss(one, records).journal.mark() != await Loss(other, records).journal.mark()
