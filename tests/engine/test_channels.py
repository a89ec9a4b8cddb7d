"""Who is told what: bells for hosts, outcomes for submitters, stops for hosts; and what the journal's readers get."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from tests.engine.cell import WHY, Cell, task

from amas.engine.bell import Bell
from amas.engine.connection import Engine
from amas.engine.queue import TaskQueue
from amas.model.journal import EntryKind, ProgressNote, progress_notes
from amas.model.states import TaskState, WorkflowState
from amas.model.task import TaskOutcome

WAIT_S = 60.0


class Heard:
    """Messages of one channel as they come."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[bytes] = asyncio.Queue()

    def __call__(self, message: bytes) -> None:
        self._messages.put_nowait(message)

    async def next(self) -> bytes:
        async with asyncio.timeout(WAIT_S):
            return await self._messages.get()

    async def names(self) -> list[str]:
        return sorted((await self.next()).decode().split("\n"))

    async def outcomes(self) -> list[TaskOutcome]:
        return msgspec.msgpack.decode(await self.next(), type=list[TaskOutcome])

    @property
    def silent(self) -> bool:
        return self._messages.empty()


@asynccontextmanager
async def listening(engine: Engine, channel: str) -> AsyncIterator[Heard]:
    heard = Heard()
    connected: Callable[[], None] = lambda: None  # noqa: E731
    bell = Bell(engine, {channel: heard}, connected=connected)
    async with asyncio.TaskGroup() as group:
        run = group.create_task(bell.run())
        async with asyncio.timeout(WAIT_S):
            await bell.listening.wait()
        yield heard
        run.cancel()


@pytest.mark.parametrize("turns", range(1, 30, 2))
async def test_a_bell_that_is_cancelled_ends_whatever_it_is_doing(engine: Engine, turns: int) -> None:
    """The driver may swallow a cancellation as it ends a write: in one of these turns of the loop it is about to."""
    run = asyncio.create_task(Bell(engine, {"bell": Heard()}, connected=lambda: None).run())
    for _ in range(turns):
        await asyncio.sleep(0)
    run.cancel()
    ended, _ = await asyncio.wait([run], timeout=WAIT_S)
    run.cancel()
    assert ended and run.cancelled()


async def test_the_bell_rings_whenever_a_queue_gets_something(cell: Cell) -> None:
    async with listening(cell.engine, "bell") as bell:
        await cell.submit(task("a"), task("b", queue="other"), task("c", needs=["a"], queue="third"))
        assert await bell.names() == ["other", "work"]
        a = await cell.run("a")
        await cell.queue.give_back("h1", [("a", a.attempt)], now_ms=cell.now)
        assert await bell.names() == ["work"]
        await cell.fail(await cell.run("a"))
        await cell.promote()
        assert await bell.names() == ["work"]
        await cell.run("a")
        await cell.reap()
        assert await bell.names() == ["work"]
        await cell.suspend(await cell.run("a"), task("child", queue="sub", parent_id="a"))
        assert await bell.names() == ["sub"]
        (child,) = await cell.claim(queues=["sub"])
        await cell.complete(child)
        assert await bell.names() == ["work"]
        await cell.complete(await cell.run("a"))
        assert await bell.names() == ["third"]
        (b,) = await cell.claim(queues=["other"])
        await cell.complete(b)
        await cell.cancel("c")
        assert bell.silent


async def test_a_submitter_hears_how_its_tasks_ended(cell: Cell) -> None:
    async with listening(cell.engine, "reply:me") as reply:
        await cell.submit(task("good"), task("bad"), task("gone"), task("behind", needs=["bad"]), client="me")
        await cell.submit(task("other"))
        good, bad, _, _ = await cell.claim(4)
        await cell.complete(good)
        assert await reply.outcomes() == [TaskOutcome("good", TaskState.SUCCEEDED, "done")]
        await cell.fail(bad, final=True)
        first, second = await reply.outcomes()
        assert first == TaskOutcome("bad", TaskState.FAILED, None, WHY)
        assert (second.id, second.state, second.failure and second.failure.code) == ("behind", "failed", "dependency_failed")
        await cell.cancel("gone", "other")
        assert await reply.outcomes() == [TaskOutcome("gone", TaskState.CANCELLED)]
        assert reply.silent


async def test_a_workflows_submitter_hears_of_the_workflow_alone(cell: Cell) -> None:
    async with listening(cell.engine, "reply:me") as reply:
        await cell.submit(task("r", workflow_id="w"), workflow="w", root="r", client="me")
        await cell.complete(await cell.run("r"))
        assert await reply.outcomes() == [TaskOutcome("w", TaskState.SUCCEEDED, "done")]
        await cell.submit(task("r2", workflow_id="w2"), workflow="w2", root="r2", client="me")
        await cell.fail(await cell.run("r2"), final=True)
        assert await reply.outcomes() == [TaskOutcome("w2", TaskState.FAILED, None, WHY)]
        assert reply.silent


async def test_a_host_hears_which_tasks_to_stop(cell: Cell) -> None:
    async with listening(cell.engine, "host:h1") as stop:
        await cell.submit(task("a", workflow_id="w"), task("b", workflow_id="w"), task("c"), workflow="w")
        await cell.complete(*[got for got in await cell.claim(3) if got.id == "c"])
        await cell.cancel("a", "c")
        assert await stop.names() == ["a"]
        await cell.queue.end_workflow("w", WorkflowState.CANCELLED, now_ms=cell.now)
        assert await stop.names() == ["b"]
        assert await cell.hosts.running("h1") == []


async def test_a_broken_connection_is_mended_by_the_bell(cell: Cell) -> None:
    async with listening(cell.engine, "bell") as bell:
        await cell.engine.client.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(WAIT_S):
            while bell.silent:  # a message that falls into the gap is lost, as the module says
                await cell.engine.client.publish(cell.engine.key("bell"), "work")
        assert await bell.names() == ["work"]


async def test_readers_follow_the_journal(cell: Cell) -> None:
    assert await cell.journal.last_id() == await cell.journal.first_id() == "0-0"
    await cell.submit(task("t"))
    await cell.run("t")
    await cell.queue.note_progress([ProgressNote("t", 1, 0.5, "half")], now_ms=cell.now)
    kinds = [entry.kind for entry in await cell.entries()]
    assert kinds == [EntryKind.SUBMIT, EntryKind.HOST, EntryKind.CLAIM, EntryKind.PROGRESS]
    last = (await cell.entries())[-1]
    assert progress_notes(last) == [ProgressNote("t", 1, 0.5, "half")]
    assert (last.id, last.at_ms) == (await cell.journal.last_id(), cell.now)
    assert await cell.journal.read(last.id, wait_ms=1) == []
    assert [entry.id for entry in await cell.journal.read(last.id, limit=1)] == []
    await cell.journal.trim(last.id, keep=2)
    assert [entry.kind for entry in await cell.entries()] == kinds[-2:]
    await cell.journal.trim(await cell.journal.first_id(), keep=1)
    assert await cell.journal.length() == 2  # what the records don't hold stays


async def test_a_reader_that_waits_wakes_with_the_first_entry(cell: Cell, engine_url: str) -> None:
    async with Engine(engine_url, cell=cell.engine.prefix[6:-1]) as other, asyncio.TaskGroup() as group:
        read = group.create_task(cell.journal.read("0-0", wait_ms=5000))
        await TaskQueue(other).submit([task("t")])
        assert [entry.kind for entry in await read] == [EntryKind.SUBMIT]
