"""One cell of a real engine as its tests see it: short calls with a clock of their own, and a look at every key."""

from collections.abc import Sequence

from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, HostRegistry, LostHost
from amas.engine.journal import START, Journal
from amas.engine.queue import Slots, TaskQueue
from amas.engine.workflows import Workflows
from amas.model.blob import to_blob
from amas.model.journal import JournalEntry, TaskChange, WorkflowOpening, task_changes
from amas.model.states import TaskState
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, Submission, SubmitOptions, TaskSpec

LEASE_S = 6.0
BACKOFF_MS = 1000
SPEC = to_blob(TaskSpec(capability="work"))
WHY = Failure("boom", "it broke")


def task(task_id: str, *, queue: str = "work", priority: int = 1, **options: object) -> Submission:
    """Return a submission; `options` are `SubmitOptions`."""
    needs = options.get("needs") or ((options["compensates"],) if options.get("compensates") else ())
    spec = to_blob(TaskSpec(capability="work", needs=tuple(needs))) if needs else SPEC
    return Submission(task_id, queue, spec, priority, SubmitOptions(**options) if options else None)


def done(claimed: Claimed, result: object = "done") -> Completion:
    return Completion(claimed.id, claimed.attempt, to_blob(result))


def failed(claimed: Claimed, *, final: bool = False) -> FailedAttempt:
    return FailedAttempt(claimed.id, claimed.attempt, to_blob(WHY), BACKOFF_MS, final)


class Cell:
    """Calls with `now` as the time, which only tests move on."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.queue, self.hosts, self.journal = TaskQueue(engine), HostRegistry(engine), Journal(engine)
        self.workflows = Workflows(engine)
        self.now = 1_800_000_000_000

    async def submit(
        self, *batch: Submission, workflow: str = "", root: str = "", client: str = "", resend: bool = False
    ) -> None:
        opening = WorkflowOpening(workflow, to_blob(None), root) if workflow else None
        await self.queue.submit(batch, workflow=opening, client_id=client, resend=resend, now_ms=self.now)

    async def host(self, host_id: str = "h1") -> None:
        await self.hosts.register(host_id, HostAbout(1, "machine", "1", ()), lease_s=LEASE_S, now_ms=self.now)

    async def claim(self, limit: int = 1, *, host: str = "h1", queues: Sequence[str] = ("work",)) -> list[Claimed]:
        """Register the host if need be and return what it got."""
        slots = [Slots(tuple(queues), [f"agent-{n}" for n in range(limit)])]
        got = await self.queue.claim(host, slots, now_ms=self.now)
        if got is None:
            await self.host(host)
            got = await self.queue.claim(host, slots, now_ms=self.now)
        assert got is not None
        return got

    async def run(self, task_id: str, *, host: str = "h1") -> Claimed:
        """Claim the one task that is queued and return it."""
        (got,) = await self.claim(1, host=host)
        assert got.id == task_id
        return got

    async def complete(self, *claimed: Claimed) -> dict[int, str]:
        return await self.queue.complete("h1", [done(one) for one in claimed], now_ms=self.now)

    async def fail(self, *claimed: Claimed, final: bool = False) -> dict[int, str]:
        return await self.queue.fail("h1", [failed(one, final=final) for one in claimed], now_ms=self.now)

    async def suspend(self, parent: Claimed, *children: Submission, wait_for: Sequence[str] | None = None) -> str:
        ids = [child.id for child in children] if wait_for is None else wait_for
        return await self.queue.suspend("h1", parent.id, parent.attempt, wait_for=ids, children=children, now_ms=self.now)

    async def cancel(self, *task_ids: str) -> int:
        return await self.queue.cancel(task_ids, now_ms=self.now)

    async def tend(self) -> int:
        """Do all that calls have left to do and return in how many slices."""
        slices = 1
        while await self.workflows.tend(now_ms=self.now):
            slices += 1
        return slices

    async def promote(self) -> int:
        """Let every delay pass and return how many tasks were due."""
        self.now += 10 * BACKOFF_MS
        return (await self.queue.promote(now_ms=self.now))[0]

    async def reap(self) -> LostHost | None:
        """Let every lease run out and return the host that the sweep took."""
        self.now += round(LEASE_S * 1000) + 1
        return await self.hosts.reap(now_ms=self.now)

    async def held(self, task_id: str) -> dict[str, str]:
        """Return a task's hash, its last claim taken apart: a attempt, h host, g agent, t first started."""
        found: dict[bytes, bytes] = await self.engine.client.hgetall(self.engine.key("t", task_id))
        held = {name.decode(): value.decode(errors="replace") for name, value in found.items()}
        return held | dict(zip("ahgt", held["c"].split("\n"), strict=True)) if "c" in held else held

    async def states(self, *task_ids: str) -> dict[str, str]:
        outcomes = await self.queue.outcomes(task_ids)
        return {task_id: outcomes[task_id].state.value for task_id in task_ids}

    async def keys(self) -> set[str]:
        """Return every key of the cell, without its prefix."""
        pattern = self.engine.prefix.replace("[", "\\[") + ":*"
        start = len(self.engine.prefix) + 1
        return {name.decode()[start:] async for name in self.engine.client.scan_iter(pattern, count=1000)}

    async def dump(self) -> dict[str, bytes]:
        """Return the whole cell as the server would save it, to see that nothing changed."""
        return {name: await self.engine.client.dump(self.engine.key(name)) for name in await self.keys()}

    async def places(self, task_id: str) -> set[str]:
        """Return where a task stands: queues, `delayed`, and the running sets of hosts."""
        client, found = self.engine.client, set()
        for name in await self.keys():
            if name.startswith("q:") or name == "delayed":
                present = await client.zscore(self.engine.key(name), task_id) is not None
            else:
                present = name.startswith("r:") and bool(await client.hexists(self.engine.key(name), task_id))
            if present:
                found.add(name)
        return found

    async def counts(self, workflow_id: str) -> dict[str, int]:
        """Return a workflow's counters that aren't zero."""
        found = await self.queue.workflow(workflow_id)
        assert found is not None
        names = ("total", "open", "succeeded", "failed", "cancelled")
        return {name: found[name] for name in names if found[name]}

    async def workflow_state(self, workflow_id: str) -> str:
        found = await self.queue.workflow(workflow_id)
        assert found is not None
        return str(found["state"])

    async def entries(self, after: str = START) -> list[JournalEntry]:
        return await self.journal.read(after, limit=100_000)

    async def changes(self, task_id: str, after: str = START) -> list[TaskChange]:
        """Return what the journal tells of a task since an entry."""
        return [change for entry in await self.entries(after) for change in task_changes(entry) if change.task_id == task_id]

    async def told_states(self) -> dict[str, TaskState]:
        """Return every task's state as a reader of the journal knows it."""
        return {change.task_id: change.state for entry in await self.entries() for change in task_changes(entry)}
