"""A random life of tasks and workflows: each call goes to a real engine and to the rules in Python, and both must agree."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from tests.engine.cell import BACKOFF_MS, LEASE_S, Cell, failed, task
from tests.property.rules import AT_A_TIME, REFUSAL, Flow, Plain, Rules

from amas.errors import SignalRefused, SubmissionError, TaskUnknown, WorkflowUnknown
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.states import TERMINAL, TaskState, WorkflowState
from amas.model.task import Claimed, Submission

S = TaskState
HOSTS = ("h1", "h2", "h3")
RETRIES_MAX = 2
NEAR = 12
ENDLESS = {"journal", "totals", "queues", "qs:work", "lobby:turns", "recovering", "recovered", "recoveries"}
"""Keys that outlive all work: the cell's own, a field for each host, leader, cause or queue, or with a bound."""
"""Tasks and workflows that calls choose from are the latest ones, so that they meet each other."""
KEYS = ("yes", "no", "go")
PAYLOADS: tuple[Any, ...] = (1, {"approved": True}, REFUSAL)


class Life:
    """Random calls on the engine and the same on the rules."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.cell, self.chance, self.rules = cell, random.Random(seed), Rules()
        self.stale: list[Claimed] = []
        self.live: dict[str, Claimed] = {}
        self.counter = 0
        self.taken: set[tuple[str, str]] = set()
        """Workflows and the keys of their signals."""
        self.story: list[str] = []
        """What was called, for whoever looks for the fault that a failure shows."""
        self.calls: dict[Callable[[], Awaitable[None]], int] = {
            self.submit: 4,
            self.claim: 7,
            self.complete: 6,
            self.fail: 3,
            self.suspend: 3,
            self.say_something_stale: 2,
            self.cancel: 1,
            self.promote: 2,
            self.expire: 2,
            self.give_back: 1,
            self.die: 1,
            self.signal: 2,
            self.signal_key: 2,
            self.pause: 1,
            self.resume: 1,
            self.end_workflow: 1,
            self.rerun: 2,
            self.put_back: 2,
        }

    async def step(self) -> None:
        (call,) = self.chance.choices(list(self.calls), list(self.calls.values()))
        await self.do(call)

    async def do(self, call: Callable[[], Awaitable[None]]) -> None:
        self.pass_time(50)
        self.story.append(call.__name__)
        await call()
        self.follow()

    def tell(self, *words: object) -> None:
        self.story[-1] += "".join(f" {word}" for word in words)

    def follow(self) -> None:
        """Let the rules settle what the call began; what ran until then has a late word left."""
        self.rules.settle()
        gone = {name for name in self.live if self.rules.tasks[name].state is not S.RUNNING}
        self.stale += [self.live.pop(name) for name in gone]

    def pass_time(self, most_ms: int) -> None:
        self.cell.now += self.chance.randrange(most_ms)
        self.rules.now = self.cell.now

    def near(self, among: list[Any]) -> list[Any]:
        return among[-NEAR:]

    # Submissions

    def name(self) -> str:
        self.counter += 1
        return f"t{self.counter}"

    async def submit(self) -> None:
        flow, opening = self.some_flow()
        if flow and flow.ended:
            with pytest.raises(SubmissionError):
                await self.cell.submit(task(self.name(), workflow_id=flow.id))
            return
        batch, news = [], []
        known = [] if flow and flow.root else self.near([one.id for one in self.rules.tasks.values() if not one.parent])
        for _ in range(1 if flow and flow.root else self.chance.randrange(1, 6)):
            new = self.some_task(flow, known)
            if flow and opening and flow.root:
                new = Plain(flow.root, flow.id, retries=new.retries, expires_ms=new.expires_ms)
            known.append(new.id)
            news.append(new)
            batch.append(self.said(new))
        self.tell(flow, *news)
        for resend in (False, True)[: self.chance.choice((1, 1, 2))]:
            await self.cell.queue.submit(batch, workflow=opening, resend=resend, now_ms=self.cell.now)
        for new in news:
            self.rules.add(new)

    def some_flow(self) -> tuple[Flow | None, WorkflowOpening | None]:
        """Return where a batch goes: nowhere, into a workflow that there is, or into a new one, with its opening."""
        kind = self.chance.choices(("none", "old", "new"), (2, 1, 3))[0]
        rootless = [flow for flow in self.rules.flows.values() if not flow.root]
        if kind == "none" or (kind == "old" and not rootless):
            return None, None
        if kind == "old":
            return self.chance.choice(self.near(rootless)), None
        flow = Flow(f"w{self.counter}", in_turn=self.chance.random() < 0.4)
        if self.chance.random() < 0.3:
            flow.root = self.name()
        self.rules.open_flow(flow)
        at_a_time = AT_A_TIME if flow.in_turn else None
        return flow, WorkflowOpening(flow.id, to_blob(None), flow.root, None, at_a_time)

    def some_task(self, flow: Flow | None, known: list[str], *, parent: str = "") -> Plain:
        needs = frozenset(self.chance.sample(known, min(len(known), self.chance.randrange(4))))
        kind = self.chance.choices(("work", "signal", "timer"), (8, 1, 1))[0]
        new = Plain(self.name(), flow.id if flow else "", needs, kind=kind, parent=parent)
        new.retries, new.skip = self.chance.randrange(RETRIES_MAX + 1), self.chance.random() < 0.3
        if needs and self.chance.random() < 0.4:
            new.quorum = self.chance.randrange(1, len(needs) + 1)
        if kind == "timer" or self.chance.random() < 0.1:
            new.delay_ms = self.chance.choice((0, 500))
        if self.chance.random() < 0.2 and not (parent and needs):
            new.expires_ms = self.chance.randrange(1, 20_000)
        new.key = new.id
        if kind == "signal" and flow and not parent:
            new.key = next((key for key in KEYS if (flow.id, key) not in self.taken), new.id)
            self.taken.add((flow.id, new.key))
        return new

    def said(self, new: Plain) -> Submission:
        """Return a task as its submitter says it."""
        options: dict[str, object] = {
            "needs": sorted(new.needs) or None,
            "retries": new.retries,
            "on_failure": "skip" if new.skip else "fail",
            "quorum": new.quorum,
            "kind": new.kind,
            "delay_ms": new.delay_ms,
            "expires_ms": new.expires_ms,
            "workflow_id": new.workflow,
            "parent_id": new.parent,
        }
        queue = new.key if new.kind == "signal" else "work"
        return task(new.id, queue=queue, priority=self.chance.randrange(4), **options)

    # Attempts

    async def claim(self) -> None:
        host, limit = self.chance.choice(HOSTS), self.chance.randrange(1, 6)
        got = await self.cell.claim(limit, host=host)
        self.tell(host, *(claimed.id for claimed in got))
        there = self.rules.claimable()
        assert len(got) == min(limit, len(there)), f"{limit} of {sorted(there)} were asked for"
        for claimed in got:
            one = self.rules.tasks[claimed.id]
            assert one.id in there, f"{one.id} was claimed while {one.state}"
            one.state, one.attempt, one.host = S.RUNNING, one.attempt + 1, host
            assert (claimed.attempt, claimed.failures) == (one.attempt, one.failures)
            assert claimed.generation not in one.past, "its sub-tasks would be those of an earlier life"
            one.generation = claimed.generation
            self.live[claimed.id] = claimed

    def pick(self) -> list[Claimed]:
        """Return some running attempts; none whose parent is among them, for that one's end would decide theirs."""
        picked = self.chance.sample(list(self.live.values()), min(len(self.live), self.chance.randrange(1, 4)))
        ids = {claimed.id for claimed in picked}
        picked = [claimed for claimed in picked if not self.ancestors(claimed.id) & ids]
        self.tell(*(claimed.id for claimed in picked))
        return picked

    def ancestors(self, name: str) -> set[str]:
        found = set()
        while parent := self.rules.tasks[name].parent:
            found.add(parent)
            name = parent
        return found

    async def complete(self) -> None:
        picked = self.pick()
        assert await self.cell.complete(*picked) == {}
        for claimed in picked:
            self.rules.end(self.rules.tasks[claimed.id], S.SUCCEEDED)

    async def fail(self) -> None:
        picked, final = self.pick(), self.chance.random() < 0.4
        assert await self.cell.queue.fail("h1", [failed(got, final=final) for got in picked], now_ms=self.cell.now) == {}
        for claimed in picked:
            self.rules.fail(self.rules.tasks[claimed.id], final=final, delay_ms=BACKOFF_MS)

    async def suspend(self) -> None:
        for parent in self.pick()[:1]:
            one = self.rules.tasks[parent.id]
            news: list[Plain] = []
            for _ in range(self.chance.randrange(4)):
                news.append(self.some_task(self.rules.flows.get(one.workflow), [new.id for new in news], parent=one.id))
            self.tell(*news)
            children = [self.said(new) for new in news]
            one.children |= {new.id for new in news}
            wait_for = [name for name in sorted(one.children) if self.chance.random() < 0.7]
            assert await self.cell.suspend(parent, *children, wait_for=wait_for) == ""
            for new in news:
                self.rules.add(new)
            one.awaits, one.state, one.host = set(wait_for), S.WAITING, ""

    async def say_something_stale(self) -> None:
        for old in self.chance.sample(self.stale, min(len(self.stale), 3)):
            one = self.rules.tasks[old.id]
            if (one.attempt, one.state) == (old.attempt, S.RUNNING):
                continue
            said_before = (one.attempt, one.state) == (old.attempt, S.SUCCEEDED)
            wanted = {} if said_before else {0: "cancelled" if one.state is S.CANCELLED else "stale"}
            assert await self.cell.complete(old) == wanted

    async def give_back(self) -> None:
        picked = self.pick()
        pairs = [(got.id, got.attempt) for got in picked]
        assert await self.cell.queue.give_back("h1", pairs, now_ms=self.cell.now) == {}
        for claimed in picked:
            self.rules.tasks[claimed.id].state = S.QUEUED

    async def die(self) -> None:
        """Let every host that holds a lease die, one after the other."""
        self.cell.now += round(LEASE_S * 1000) + 1
        self.rules.now = self.cell.now
        while lost := await self.cell.hosts.reap(now_ms=self.cell.now):
            ran = [one for one in self.rules.tasks.values() if one.state is S.RUNNING and one.host == lost.id]
            assert lost.tasks == len(ran)
            for one in ran:
                self.rules.lose(one)
            self.follow()

    # Time

    async def promote(self) -> None:
        self.pass_time(2 * BACKOFF_MS)
        count, _ = await self.cell.queue.promote(now_ms=self.cell.now)
        assert count == self.rules.promote()

    async def expire(self) -> None:
        self.pass_time(2 * BACKOFF_MS)
        count, _ = await self.cell.workflows.expire(now_ms=self.cell.now)
        assert count == self.rules.expire()

    # Words from outside

    async def cancel(self) -> None:
        for one in self.some(list(self.rules.tasks.values())):
            assert await self.cell.cancel(one.id) == int(one.open)
            if one.open:
                self.rules.end(one, S.CANCELLED)

    def some(self, among: list[Any]) -> list[Any]:
        """Return one of the latest, or nothing where there is none."""
        picked = [self.chance.choice(self.near(among))] if among else []
        self.tell(*(one.id for one in picked))
        return picked

    async def signal(self) -> None:
        signals = [one for one in self.rules.tasks.values() if one.kind == "signal"]
        chosen = signals if self.chance.random() < 0.9 else list(self.rules.tasks.values())
        for one in self.some(chosen) or [None]:
            payload = self.chance.choice(PAYLOADS)
            heard = await self.hear(self.cell.workflows.signal(one.id if one else "nobody", payload, now_ms=self.cell.now))
            assert heard == self.rules.answer(one, payload)

    async def signal_key(self) -> None:
        key, payload = self.chance.choice(KEYS), self.chance.choice(PAYLOADS)
        for flow in self.some(list(self.rules.flows.values())) or [None]:
            self.tell(key, payload)
            name = flow.id if flow else "nowhere"
            heard = await self.hear(self.cell.workflows.signal_key(name, key, payload, now_ms=self.cell.now))
            assert heard == self.rules.answer_key(flow, key, payload)

    async def hear(self, call: Awaitable[None]) -> str:
        try:
            await call
        except SignalRefused:
            return "refused"
        except (TaskUnknown, WorkflowUnknown):
            return "unknown"
        return ""

    async def pause(self) -> None:
        for flow in self.some(list(self.rules.flows.values())):
            assert await self.cell.workflows.pause(flow.id, now_ms=self.cell.now) == (not flow.ended and not flow.paused)
            flow.paused = not flow.ended

    async def resume(self) -> None:
        for flow in self.some([flow for flow in self.rules.flows.values() if flow.paused or self.chance.random() < 0.1]):
            assert await self.cell.workflows.resume(flow.id, now_ms=self.cell.now) == flow.paused
            flow.paused = False

    async def end_workflow(self) -> None:
        state = self.chance.choice((WorkflowState.CANCELLED, WorkflowState.FAILED))
        for flow in self.some(list(self.rules.flows.values())):
            assert await self.cell.queue.end_workflow(flow.id, state, now_ms=self.cell.now) == (not flow.ended)
            if not flow.ended:
                self.rules.close(flow, state.value)

    async def rerun(self) -> None:
        for one in self.some([one for one in self.rules.tasks.values() if one.workflow]):
            reset: int | None = None
            with suppress(TaskUnknown):
                reset = await self.cell.workflows.rerun(one.workflow, one.id, now_ms=self.cell.now)
            assert reset == self.rules.rerun(one)

    async def put_back(self) -> None:
        """Put back up to two dead letters of one workflow, and sometimes a task that is none."""
        letters = [one for one in self.rules.tasks.values() if one.id in self.rules.dead or self.chance.random() < 0.01]
        for first in self.some(letters):
            ids = {first.id, self.chance.choice([one.id for one in letters if one.workflow == first.workflow])}
            self.tell(ids)
            refused = await self.cell.workflows.put_back(sorted(ids), now_ms=self.cell.now)
            assert sorted(refused) == self.rules.put_back(sorted(ids))

    # Comparing

    async def agrees(self) -> None:
        """Compare the engine with the rules, in a few round trips."""
        tasks = self.rules.tasks
        outcomes = await self.cell.queue.outcomes(list(tasks))
        found = {
            name: (one.state, one.failure.code if one.failure and one.state is S.FAILED else "") for name, one in outcomes.items()
        }
        wanted = {name: (one.state, one.why) for name, one in tasks.items()}
        drift = {name: (found.get(name), wanted[name]) for name in wanted if found.get(name) != wanted[name]}
        assert not drift, f"found, wanted: {drift}"
        await self.everything_in_one_place()
        for flow in self.near(list(self.rules.flows.values())):
            await self.figures_agree(flow)

    async def figures_agree(self, flow: Flow) -> None:
        members = self.rules.members[flow.id]
        wanted = {state.value: sum(one.state is state for one in members) for state in TERMINAL}
        wanted |= {"total": len(members), "open": sum(one.open for one in members)}
        found = await self.cell.queue.workflow(flow.id)
        assert found is not None
        assert found["state"] == flow.state
        assert {name: found[name] for name in wanted} == wanted

    async def everything_in_one_place(self) -> None:
        key = self.cell.engine.key
        paused = [("ZRANGE", key("wp", flow), 0, -1) for flow in self.rules.flows]
        ranges = [("ZRANGE", key(*name), 0, -1) for name in (("q", "work"), ("delayed",), ("dead",))]
        running = [("HKEYS", key("r", host)) for host in HOSTS]
        deadlines = ("ZRANGE", key("expiring"), 0, -1, "WITHSCORES")
        (queued, delayed, dead), aside, ran, expiring = (
            await self.cell.engine.read(ranges),
            await self.cell.engine.read(paused) if paused else [],
            await self.cell.engine.read(running),
            (await self.cell.engine.read([deadlines]))[0],
        )
        tasks = self.rules.tasks.values()
        for state, lists in ((S.QUEUED, [queued, *aside]), (S.DELAYED, [delayed]), (S.RUNNING, ran)):
            assert sorted(name.decode() for names in lists for name in names) == sorted(
                one.id for one in tasks if one.state is state
            )
        assert {name.decode() for name in dead} == self.rules.dead
        times = {expiring[at].decode(): int(float(expiring[at + 1])) for at in range(0, len(expiring), 2)}
        assert times == {one.id: one.deadline_ms for one in tasks if one.deadline_ms}

    async def finish(self) -> None:
        """Bring everything to its end, and see that only what is meant to stay has no end of its own."""
        for _ in range(1000):
            if not any(one.open for one in self.rules.tasks.values()):
                break
            for flow in [flow for flow in self.rules.flows.values() if flow.paused]:
                await self.cell.workflows.resume(flow.id, now_ms=self.cell.now)
                flow.paused = False
            for one in [one for one in self.rules.tasks.values() if one.kind == "signal" and one.open and not one.answers]:
                await self.cell.workflows.signal(one.id, 1, now_ms=self.cell.now)
                self.rules.answer(one, 1)
                self.follow()
            for call in (self.promote, self.claim, self.complete):
                await self.do(call)
        await self.agrees()
        assert await self.cell.told_states() == {name: one.state for name, one in self.rules.tasks.items()}
        await self.die()
        while await self.cell.queue.forget(now_ms=self.cell.now + 3_600_000):
            pass
        left = await self.cell.keys()
        endless = {name for name in left if await self.cell.engine.client.pttl(self.cell.engine.key(name)) == -1}
        assert endless <= ENDLESS
