"""Whatever happens to tasks in a real engine, and however the recorder stumbles, the history ends where the engine does."""

import asyncio
from collections.abc import Awaitable, Callable
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from amas.clock import child_id, new_id
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, HostFigures, HostRegistry
from amas.engine.journal import Journal
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.model.blob import to_blob
from amas.model.journal import ProgressNote, WorkflowOpening
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, RetryPolicy, Submission, TaskSpec
from amas.records.store import Records

LEASE_S = 60
HOSTS = ("h1", "h2")

Step = tuple[str, int]
KINDS = (
    *("submit", "chain", "resend", "workflow", "claim", "claim", "claim", "complete", "fail", "give_up", "give_back"),
    *("suspend", "note", "cancel", "end", "later", "die", "leave"),
)
steps = st.tuples(st.sampled_from(KINDS), st.integers(0, 1000))


class World:
    """A cell that steps are done to; each step picks what it does it to by a number."""

    def __init__(self, engine: Engine) -> None:
        self.queue, self.hosts, self.journal = TaskQueue(engine), HostRegistry(engine), Journal(engine)
        self.now = 1_800_000_000_000
        self.sent: list[Submission] = []
        self.claimed: list[tuple[str, Claimed]] = []  # stale ones stay: the fence must keep them out
        self.workflows: list[str] = []

    async def join(self) -> None:
        for host in HOSTS:
            await self.hosts.register(host, HostAbout(1, "m", "1", ()), lease_s=LEASE_S, now_ms=self.now)

    def _new(self, **fields: object) -> Submission:
        spec = TaskSpec(capability="work", retry=RetryPolicy(retries=1), **fields)  # type: ignore[arg-type]
        self.sent.append(make_submission(new_id(), spec))
        return self.sent[-1]

    async def do(self, step: Step) -> None:
        what, number = step
        self.now += 1
        if what in {"complete", "fail", "give_up", "give_back", "suspend", "note"}:
            if self.claimed:
                host, task = self.claimed[number % len(self.claimed)]
                await getattr(self, f"_{what}")(host, task)
        else:
            await getattr(self, f"_{what}")(number)

    async def _submit(self, number: int) -> None:
        await self.queue.submit([self._new(input=n) for n in range(1 + number % 3)], now_ms=self.now)

    async def _chain(self, number: int) -> None:
        first = self._new()
        on_failure = "skip" if number % 2 else "fail"
        first = make_submission(first.id, TaskSpec(capability="work", retry=RetryPolicy(retries=0)), on_failure=on_failure)
        self.sent[-1] = first
        await self.queue.submit([first, self._new(needs=(first.id,))], now_ms=self.now)

    async def _resend(self, number: int) -> None:
        plain = [old for old in self.sent if not (old.options and (old.options.needs or old.options.workflow_id))]
        if plain:
            old = plain[number % len(plain)]
            await self.queue.submit([old, self._new()], resend=True, now_ms=self.now)

    async def _workflow(self, number: int) -> None:
        self.workflows.append(new_id())
        batch = [self._new(workflow_id=self.workflows[-1]) for _ in range(1 + number % 3)]
        opening = WorkflowOpening(self.workflows[-1], to_blob({"n": number}), batch[0].id)
        await self.queue.submit(batch, workflow=opening, now_ms=self.now)

    async def _claim(self, number: int) -> None:
        host = HOSTS[number % 2]
        found = await self.queue.claim(host, [Slots(("work",), [f"worker-{number}"])], now_ms=self.now)
        self.claimed += [(host, task) for task in found or ()]

    async def _complete(self, host: str, task: Claimed) -> None:
        await self.queue.complete(host, [Completion(task.id, task.attempt, to_blob(task.attempt))], now_ms=self.now)

    async def _fail(self, host: str, task: Claimed, *, final: bool = False) -> None:
        item = FailedAttempt(task.id, task.attempt, to_blob(Failure("boom", "it broke")), 1000, final)
        await self.queue.fail(host, [item], now_ms=self.now)

    async def _give_up(self, host: str, task: Claimed) -> None:
        await self._fail(host, task, final=True)

    async def _give_back(self, host: str, task: Claimed) -> None:
        await self.queue.give_back(host, [(task.id, task.attempt)], now_ms=self.now)

    async def _suspend(self, host: str, task: Claimed) -> None:
        spec = TaskSpec(capability="work", parent_id=task.id, workflow_id=task.spec.workflow_id)
        child = make_submission(child_id(task.id, "child"), spec)
        refusal = await self.queue.suspend(host, task.id, task.attempt, wait_for=[child.id], children=[child], now_ms=self.now)
        if not refusal:
            self.sent.append(child)

    async def _note(self, _host: str, task: Claimed) -> None:
        await self.queue.note_progress([ProgressNote(task.id, task.attempt, 0.5, "half")], now_ms=self.now)

    async def _cancel(self, number: int) -> None:
        if self.sent:
            await self.queue.cancel([self.sent[number % len(self.sent)].id], now_ms=self.now)

    async def _end(self, number: int) -> None:
        if self.workflows:
            workflow_id = self.workflows[number % len(self.workflows)]
            await self.queue.end_workflow(workflow_id, WorkflowState.FAILED, now_ms=self.now)

    async def _later(self, _number: int) -> None:
        self.now += 2000
        await self.queue.promote(now_ms=self.now)

    async def _die(self, number: int) -> None:
        self.now += LEASE_S * 1000 + 1
        await self.hosts.renew(HOSTS[number % 2], HostFigures(), lease_s=LEASE_S, now_ms=self.now)
        while await self.hosts.reap(now_ms=self.now):
            pass
        await self.join()

    async def _leave(self, number: int) -> None:
        await self.hosts.leave(HOSTS[number % 2], now_ms=self.now)
        await self.join()


async def agree(world: World, records: Records) -> None:
    """The history says of every task and workflow what the engine says."""
    for task_id in {submission.id for submission in world.sent}:
        held, recorded = await world.queue.task(task_id), await records.task(task_id)
        assert held is not None and recorded is not None
        for name in ("state", "attempt", "failures", "agent_id", "host_id", "started_ms", "finished_ms", "result", "failure"):
            assert getattr(recorded, name) == getattr(held, name), f"{name} of {task_id}"
        attempts = await records.attempts(task_id)
        assert [attempt.attempt for attempt in attempts] == list(range(1, held.attempt + 1))
        running = [attempt.attempt for attempt in attempts if attempt.state == "running"]
        assert running == ([held.attempt] if held.state is TaskState.RUNNING else [])
    for workflow_id in world.workflows:
        known, shown = await world.queue.workflow(workflow_id), await records.workflow(workflow_id)
        assert known is not None and shown is not None
        assert (shown.state, shown.finished_ms) == (known["state"], known["finished_ms"])
        assert sum(shown.tasks.values()) == known["total"]


# Two loops would share a fixture's connection; each example has its own, and its own cell and database.
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(steps, min_size=5, max_size=60), st.lists(st.integers(1, 12), min_size=1, max_size=5), st.integers(0, 4))
def test_the_history_ends_where_the_engine_does(
    engine_url: str, new_records_url: Callable[[], Awaitable[str]], steps: list[Step], sizes: list[int], repeat: int
) -> None:
    async def run() -> None:
        async with Engine(engine_url, cell=uuid4().hex) as engine, await Records.open(await new_records_url()) as records:
            world = World(engine)
            await world.join()
            for step in steps:
                await world.do(step)
            entries, done, turn = await world.journal.read("0-0", limit=10_000), 0, 0
            while done < len(entries):
                size = sizes[turn % len(sizes)]
                await records.apply(entries[max(0, done - repeat) : done + size])  # some of them for the second time
                done, turn = done + size, turn + 1
            await agree(world, records)

    asyncio.run(run())
