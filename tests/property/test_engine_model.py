"""A random life of tasks on a real engine, step by step beside a plain model in Python that must agree.

A seed makes a run repeatable: a failure prints it, and `AMAS_SEED=<n>` runs that one alone. The model below is written from
`model/states.py` and knows nothing of keys.
"""

import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.engine.cell import LEASE_S, Cell, failed, task

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.model.states import TERMINAL, TaskState
from amas.model.task import Claimed

S = TaskState
SEEDS = [int(os.environ["AMAS_SEED"])] if "AMAS_SEED" in os.environ else list(range(8))
STEPS = 120
HOSTS = ("h1", "h2", "h3")
RETRIES_MAX = 2


@dataclass
class Modelled:
    """A task as the model knows it."""

    id: str
    workflow: str
    needs: set[str]
    retries: int
    skip: bool
    parent: str = ""
    state: TaskState = S.QUEUED
    attempt: int = 0
    failures: int = 0
    host: str = ""
    children: set[str] = field(default_factory=set)
    awaits: set[str] = field(default_factory=set)


class Model:
    """What must be true, in dicts."""

    def __init__(self) -> None:
        self.tasks: dict[str, Modelled] = {}
        self.closed: dict[str, str] = {}

    def add(self, new: Modelled) -> None:
        self.tasks[new.id] = new
        ended = [self.tasks[need] for need in new.needs if self.tasks[need].state in TERMINAL]
        new.needs = {need for need in new.needs if self.tasks[need].state not in TERMINAL}
        new.state = S.WAITING if new.needs else S.QUEUED
        if any(need.state is not S.SUCCEEDED and not need.skip for need in ended):
            self.end(new, S.FAILED)

    def end(self, one: Modelled, state: TaskState) -> None:
        """End a task, and all that follows from it."""
        one.state = state
        for child in one.children:
            if self.tasks[child].state not in TERMINAL:
                self.end(self.tasks[child], S.CANCELLED)
        for other in self.tasks.values():
            if other.state is not S.WAITING:
                continue
            if one.id in other.awaits:
                other.awaits.discard(one.id)
                self.satisfy(other)
            elif one.id in other.needs:
                other.needs.discard(one.id)
                if state is S.SUCCEEDED or one.skip:
                    self.satisfy(other)
                else:
                    self.end(other, S.FAILED)

    def satisfy(self, one: Modelled) -> None:
        if not one.needs and not one.awaits:
            one.state = S.QUEUED

    def open(self, workflow: str) -> list[Modelled]:
        return [one for one in self.tasks.values() if one.workflow == workflow and one.state not in TERMINAL]

    def settle(self) -> None:
        """Note which workflows have ended."""
        for workflow in {one.workflow for one in self.tasks.values()} - self.closed.keys() - {""}:
            members = [one for one in self.tasks.values() if one.workflow == workflow and not one.parent]
            if not self.open(workflow):
                bad = any(one.state is S.FAILED and not one.skip for one in members)
                halted = any(one.state is S.CANCELLED for one in members)
                self.closed[workflow] = "failed" if bad else "cancelled" if halted else "succeeded"


class Life:
    """Random calls on the engine and the same on the model."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.cell, self.chance, self.model = cell, random.Random(seed), Model()
        self.stale: list[Claimed] = []
        self.live: dict[str, Claimed] = {}
        self.counter = 0
        self.calls: list[tuple[Callable[[], Awaitable[None]], int]] = [
            (self.submit, 4),
            (self.claim, 6),
            (self.complete, 5),
            (self.fail, 3),
            (self.suspend, 2),
            (self.say_something_stale, 2),
            (self.cancel, 1),
            (self.promote, 2),
            (self.give_back, 1),
            (self.die, 1),
        ]

    async def step(self) -> None:
        call = self.chance.choices([call for call, _ in self.calls], [weight for _, weight in self.calls])[0]
        self.cell.now += self.chance.randrange(50)
        await call()
        self.model.settle()
        self.live = {name: got for name, got in self.live.items() if self.model.tasks[name].state is S.RUNNING}

    def name(self) -> str:
        self.counter += 1
        return f"t{self.counter}"

    async def submit(self) -> None:
        workflow = self.chance.choice(["", f"w{self.counter}"])
        batch, known = [], [one.id for one in self.model.tasks.values() if one.workflow not in self.model.closed]
        for _ in range(self.chance.randrange(1, 6)):
            name = self.name()
            needs = self.chance.sample(known, min(len(known), self.chance.randrange(3)))
            new = Modelled(name, workflow, set(needs), self.chance.randrange(RETRIES_MAX + 1), self.chance.random() < 0.3)
            options = {"needs": needs or None, "retries": new.retries, "on_failure": "skip" if new.skip else "fail"}
            batch.append(task(name, priority=self.chance.randrange(4), workflow_id=workflow, **options))
            known.append(name)
            self.model.add(new)
        await self.cell.submit(*batch, workflow=workflow)
        if self.chance.random() < 0.3:
            await self.cell.submit(*batch, workflow=workflow, resend=True)

    async def claim(self) -> None:
        host, limit = self.chance.choice(HOSTS), self.chance.randrange(1, 4)
        got = await self.cell.claim(limit, host=host)
        assert len(got) == min(limit, sum(one.state is S.QUEUED for one in self.model.tasks.values()))
        for claimed in got:
            one = self.model.tasks[claimed.id]
            assert one.state is S.QUEUED, f"{one.id} was claimed while {one.state}"
            one.state, one.attempt, one.host = S.RUNNING, one.attempt + 1, host
            assert (claimed.attempt, claimed.failures) == (one.attempt, one.failures)
            self.live[claimed.id] = claimed

    def pick(self) -> list[Claimed]:
        """Return some running attempts; none whose parent is among them, for that one's end would decide theirs."""
        picked = self.chance.sample(list(self.live.values()), min(len(self.live), self.chance.randrange(1, 4)))
        ids = {claimed.id for claimed in picked}
        return [claimed for claimed in picked if not self.ancestors(claimed.id) & ids]

    def ancestors(self, name: str) -> set[str]:
        found = set()
        while parent := self.model.tasks[name].parent:
            found.add(parent)
            name = parent
        return found

    async def complete(self) -> None:
        picked = self.pick()
        self.apply(picked, lambda one: self.model.end(one, S.SUCCEEDED))
        assert await self.cell.complete(*picked) == {}

    def apply(self, picked: list[Claimed], change: Callable[[Modelled], None]) -> None:
        self.stale += picked
        for claimed in picked:
            change(self.model.tasks[claimed.id])

    async def fail(self) -> None:
        picked, final = self.pick(), self.chance.random() < 0.2

        def change(one: Modelled) -> None:
            one.failures += 1
            if final or one.failures > one.retries:
                self.model.end(one, S.FAILED)
            else:
                one.state = S.DELAYED

        self.apply(picked, change)
        assert await self.cell.queue.fail("h1", [failed(got, final=final) for got in picked], now_ms=self.cell.now) == {}

    async def suspend(self) -> None:
        for parent in self.pick()[:1]:
            one = self.model.tasks[parent.id]
            names = [self.name() for _ in range(self.chance.randrange(3))]
            for name in names:
                self.model.add(Modelled(name, one.workflow, set(), RETRIES_MAX, skip=False, parent=one.id))
            one.children |= set(names)
            wait_for = {name for name in sorted(one.children) if self.chance.random() < 0.7}
            one.awaits = {name for name in wait_for if self.model.tasks[name].state not in TERMINAL}
            one.state = S.WAITING
            self.model.satisfy(one)
            self.stale.append(parent)
            children = [task(name, workflow_id=one.workflow, parent_id=one.id, retries=RETRIES_MAX) for name in names]
            assert await self.cell.suspend(parent, *children, wait_for=sorted(wait_for)) == ""

    async def say_something_stale(self) -> None:
        for old in self.chance.sample(self.stale, min(len(self.stale), 3)):
            one = self.model.tasks[old.id]
            if (one.attempt, one.state) == (old.attempt, S.RUNNING):
                continue
            said_before = (one.attempt, one.state) == (old.attempt, S.SUCCEEDED)
            wanted = {} if said_before else {0: "cancelled" if one.state is S.CANCELLED else "stale"}
            assert await self.cell.complete(old) == wanted

    async def cancel(self) -> None:
        if self.model.tasks:
            one = self.chance.choice(list(self.model.tasks.values()))
            is_open = one.state not in TERMINAL
            if is_open:
                self.model.end(one, S.CANCELLED)
            assert await self.cell.cancel(one.id) == int(is_open)

    async def promote(self) -> None:
        delayed = [one for one in self.model.tasks.values() if one.state is S.DELAYED]
        assert await self.cell.promote() == len(delayed)
        for one in delayed:
            one.state = S.QUEUED

    async def give_back(self) -> None:
        picked = self.pick()
        self.apply(picked, lambda one: setattr(one, "state", S.QUEUED))
        pairs = [(got.id, got.attempt) for got in picked]
        assert await self.cell.queue.give_back("h1", pairs, now_ms=self.cell.now) == {}

    async def die(self) -> None:
        """Let every host that holds a lease die, one after the other."""
        self.cell.now += round(LEASE_S * 1000) + 1
        while lost := await self.cell.hosts.reap(now_ms=self.cell.now):
            ran = [one for one in self.model.tasks.values() if one.state is S.RUNNING and one.host == lost.id]
            assert lost.tasks == len(ran)
            for one in ran:
                one.state = S.QUEUED
            self.stale += [self.live[one.id] for one in ran]

    async def agrees(self) -> None:
        """Compare the engine, and what its journal tells, with the model."""
        cell, tasks = self.cell, self.model.tasks
        wanted = {name: str(one.state) for name, one in tasks.items()}
        assert await cell.states(*tasks) == wanted
        await self.everything_in_one_place()
        for workflow in {one.workflow for one in tasks.values()} - {""}:
            assert await cell.workflow_state(workflow) == self.model.closed.get(workflow, "running")
            counts = await cell.counts(workflow)
            assert counts.get("open", 0) == len(self.model.open(workflow))
            assert counts["total"] == sum(one.workflow == workflow for one in tasks.values())

    async def everything_in_one_place(self) -> None:
        client, key = self.cell.engine.client, self.cell.engine.key
        places = {
            S.QUEUED: {name.decode() for name in await client.zrange(key("q", "work"), 0, -1)},
            S.DELAYED: {name.decode() for name in await client.zrange(key("delayed"), 0, -1)},
            S.RUNNING: {name for host in HOSTS for name in await self.cell.hosts.running(host)},
        }
        for state, found in places.items():
            assert found == {one.id for one in self.model.tasks.values() if one.state is state}

    async def finish(self) -> None:
        """Bring everything to its end, and see that only what is meant to stay has no end of its own."""
        while any(one.state not in TERMINAL for one in self.model.tasks.values()):
            await self.promote()
            await self.claim()
            await self.complete()
            self.model.settle()
            self.live = {name: got for name, got in self.live.items() if self.model.tasks[name].state is S.RUNNING}
        await self.agrees()
        assert await self.cell.told_states() == {name: one.state for name, one in self.model.tasks.items()}
        await self.die()
        while await self.cell.queue.forget(now_ms=self.cell.now + 3_600_000):
            pass
        left = await self.cell.keys()
        endless = {name for name in left if await self.cell.engine.client.pttl(self.cell.engine.key(name)) == -1}
        assert endless <= {"journal", "totals", "queues", "qs:work"}


@pytest.mark.requirement("T6")
@pytest.mark.parametrize("seed", SEEDS)
async def test_the_engine_agrees_with_the_model(engine: Engine, seed: int) -> None:
    life = Life(Cell(engine), seed)
    for _ in range(STEPS):
        await life.step()
        await life.agrees()
    await life.finish()


@pytest.mark.soak
@pytest.mark.parametrize("seed", SEEDS[:2] if os.environ.get("AMAS_SOAK") != "full" else range(100, 130))
async def test_it_agrees_after_kill_9_too(tmp_path: Path, seed: int) -> None:
    """The server is killed between calls: whatever was acknowledged is there, with nothing else."""
    server = EmbeddedEngine(tmp_path / "data")
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await engine.check(load=True)
            life = Life(Cell(engine), seed)
            for _ in range(5):
                for _ in range(STEPS // 6):
                    await life.step()
                assert server.pid is not None
                os.kill(server.pid, signal.SIGKILL)
                await server.stop()
                await server.start()
                await engine.client.connection_pool.disconnect()
                await engine.wait_until_ready(timeout_s=30)
                await life.agrees()
            await life.finish()
    finally:
        await server.stop()
