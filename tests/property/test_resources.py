"""Random tasks with random resources on random hosts that fail and die: no limit is ever exceeded and nothing waits for nothing.

What is held and was spent is added up here, from what the engine handed out and was told, and never read back from it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.engine.cell import Cell, task

from amas.engine.connection import Engine
from amas.engine.limits import Limits
from amas.errors import BudgetExhausted
from amas.model.blob import to_blob
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts, Reserve, Usage
from amas.model.states import TERMINAL, WorkflowState
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, Submission

KEYS = {"a": 1, "b": 2, "c": 3}
RATES = {"p": (4, 100), "q": (3, 50)}
BUDGET = 20
"""Calls that a workflow may make."""
QUEUES, HOSTS, WORKFLOWS = ("work", "other"), ("h1", "h2"), ("w1", "w2", "")
WINDOW_MS = 60_000
ROUNDS_MAX = 3000

KINDS = (
    *("submit", "submit", "claim", "claim", "claim", "complete", "complete", "fail"),
    *("spend", "cancel", "give_back", "die", "wait", "refuse"),
)
steps = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 10**6)), min_size=20, max_size=90)


@dataclass
class Running:
    """An attempt as this test knows it."""

    claimed: Claimed
    host: str
    reserves: list[Reserve]
    workflow: str
    at_ms: int
    used: int = 0
    """Calls, as the agent announced."""
    made: list[list[int]] = field(default_factory=list)
    """Its entries of `World.requests`."""

    def estimate(self) -> int:
        return sum(each.amount for each in self.reserves if each.resource == "calls")


@dataclass
class World:
    """A cell that steps are done to; each picks what it does it to by a number."""

    cell: Cell
    limits: Limits
    running: dict[str, Running] = field(default_factory=dict)
    sent: dict[str, tuple[str, list[Reserve]]] = field(default_factory=dict)
    spent: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests: dict[str, list[list[int]]] = field(default_factory=lambda: defaultdict(list))
    """Provider -> [when, calls, tokens] of every attempt that was let through."""
    closed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def begin(self) -> None:
        for provider, (requests, tokens) in RATES.items():
            await self.limits.set_rate(provider, requests_per_min=requests, tokens_per_min=tokens, now_ms=self.cell.now)
        for workflow in WORKFLOWS[:2]:
            opening = WorkflowOpening(workflow, to_blob(None), "", Amounts(calls=BUDGET).units())
            first = task(f"{workflow}-first", workflow_id=workflow, reserves=[Reserve("calls", 1)])
            self.sent[first.id] = (workflow, [Reserve("calls", 1)])
            await self.cell.queue.submit([first], workflow=opening, now_ms=self.cell.now)

    async def step(self, kind: str, number: int) -> None:
        self.cell.now += number % 700
        does: Callable[[int], Awaitable[None]] = getattr(self, kind)
        await does(number)
        self.check()

    def check(self) -> None:
        """Look at every limit from outside."""
        for key, limit in KEYS.items():
            held = [one for one in self.running.values() if any(each.resource == f"slots:{key}" for each in one.reserves)]
            assert len(held) <= limit, f"{key} is held by {len(held)}"
        for workflow in WORKFLOWS[:2]:
            reserved = sum(max(one.used, one.estimate()) for one in self.running.values() if one.workflow == workflow)
            assert self.spent[workflow] + reserved <= BUDGET

    def submission(self, number: int, name: str, workflow: str) -> Submission:
        reserves = [Reserve(f"slots:{key}", 1, limit) for bit, (key, limit) in enumerate(KEYS.items()) if number >> bit & 1]
        if provider := ("", "p", "q", "")[number >> 3 & 3]:
            reserves.append(Reserve(f"rate:{provider}", 1 + (number >> 5) % 50))
        reserves.append(Reserve("calls", 1 + (number >> 11) % 3))
        self.sent[name] = (workflow, reserves)
        return task(name, queue=QUEUES[number >> 13 & 1], workflow_id=workflow, reserves=reserves, priority=number % 4, retries=1)

    async def submit(self, number: int) -> None:
        workflow = WORKFLOWS[number % 3]
        if workflow and await self.cell.workflow_state(workflow) != "running":
            workflow = ""
        batch = [self.submission(number * 7 + n * 977, f"t{len(self.sent)}", workflow) for n in range(1 + number % 4)]
        await self.cell.submit(*batch)

    async def claim(self, number: int) -> None:
        host, now = HOSTS[number % 2], self.cell.now
        queues = (QUEUES, QUEUES[:1], QUEUES[1:])[number % 3]
        for claimed in await self.cell.claim(1 + number % 4, host=host, queues=queues):
            workflow, reserves = self.sent[claimed.id]
            assert claimed.id not in self.running
            self.running[claimed.id] = Running(claimed, host, reserves, workflow, now)
            for each in reserves:
                if each.resource.startswith("rate:"):
                    self.let_through(self.running[claimed.id], each.resource[5:], each.amount)

    def let_through(self, one: Running, provider: str, tokens: int) -> None:
        """Note an attempt that takes a provider's requests and tokens, and look at the minute before it."""
        now = self.cell.now
        assert self.closed[provider] <= now, "a closed provider got a request"
        one.made.append([now, one.estimate(), tokens])
        self.requests[provider].append(one.made[-1])
        minute = [each for each in self.requests[provider] if each[0] > now - WINDOW_MS]
        assert sum(each[1] for each in minute) <= RATES[provider][0]
        assert sum(each[2] for each in minute) <= RATES[provider][1]

    def pick(self, number: int) -> Running | None:
        names = sorted(self.running)
        return self.running.pop(names[number % len(names)]) if names else None

    async def complete(self, number: int) -> None:
        if one := self.pick(number):
            used = one.used or number % (one.estimate() + 1)
            self.spent[one.workflow] += used
            # What it used of a rate is what it reserved: refunds would be another test's business.
            tokens = sum(each.amount for each in one.reserves if each.resource.startswith("rate:"))
            done = Completion(one.claimed.id, one.claimed.attempt, to_blob(None), Usage(0, tokens, used))
            self.keep_requests(one, used)
            await self.cell.queue.complete(one.host, [done], now_ms=self.cell.now)

    def keep_requests(self, one: Running, used: int) -> None:
        """Requests that weren't made are free again."""
        for each in one.reserves:
            if each.resource.startswith("rate:"):
                one.made[0][1] = min(max(used, 1), one.estimate())
                if used > one.estimate():
                    self.requests[each.resource[5:]].append([self.cell.now, used - one.estimate(), 0])

    async def fail(self, number: int) -> None:
        if one := self.pick(number):
            self.spent[one.workflow] += max(one.used, one.estimate())
            why = to_blob(Failure("boom", "it broke"))
            await self.cell.queue.fail(
                one.host, [FailedAttempt(one.claimed.id, one.claimed.attempt, why, 500, number % 5 == 0)], now_ms=self.cell.now
            )
            await self.drop_what_was_stopped()

    async def refuse(self, number: int) -> None:
        """A provider says: come back later."""
        held = [one for one in self.running.values() if any(each.resource.startswith("rate:") for each in one.reserves)]
        if held and (one := self.running.pop(held[number % len(held)].claimed.id)):
            self.spent[one.workflow] += max(one.used, one.estimate())
            provider = next(each.resource[5:] for each in one.reserves if each.resource.startswith("rate:"))
            wait_ms = 1000 + number % 90_000
            self.closed[provider] = max(self.closed[provider], self.cell.now + wait_ms)
            why = to_blob(Failure("rate_limited", "later"))
            failed = FailedAttempt(one.claimed.id, one.claimed.attempt, why, wait_ms, provider="")
            await self.cell.queue.fail(one.host, [failed], now_ms=self.cell.now)

    async def spend(self, number: int) -> None:
        names = sorted(self.running)
        if names:
            one = self.running[names[number % len(names)]]
            wanted = max(one.used, one.estimate()) + number % 4
            try:
                await self.limits.spend(one.claimed.id, one.claimed.attempt, Usage(0, 0, wanted), now_ms=self.cell.now)
            except BudgetExhausted:
                assert one.workflow
            else:
                one.used = wanted

    async def cancel(self, number: int) -> None:
        names = sorted(self.sent)
        name = names[number % len(names)]
        await self.cell.cancel(name)
        if one := self.running.pop(name, None):
            self.spent[one.workflow] += max(one.used, one.estimate())

    async def give_back(self, number: int) -> None:
        if one := self.pick(number):
            for made in one.made:  # it never began, so only its request counts
                made[1], made[2] = 1, 0
            await self.cell.queue.give_back(one.host, [(one.claimed.id, one.claimed.attempt, Usage())], now_ms=self.cell.now)

    async def die(self, number: int) -> None:
        host = HOSTS[number % 2]
        for name in [name for name, one in self.running.items() if one.host == host]:
            one = self.running.pop(name)
            self.spent[one.workflow] += max(one.used, one.estimate())
        await self.cell.host(host)  # it comes back under its name

    async def wait(self, number: int) -> None:
        """Time goes by, and the timers sweep."""
        self.cell.now += number % 30_000
        while (await self.cell.queue.promote(now_ms=self.cell.now))[0]:
            pass
        await self.sweep()

    async def sweep(self) -> None:
        for _ in range(100):
            if not (await self.limits.refill(now_ms=self.cell.now))[0]:
                break
        await self.drop_what_was_stopped()

    async def drop_what_was_stopped(self) -> None:
        """Forget attempts of trees that were stopped; what they had reserved is spent."""
        if self.running:
            states = await self.cell.states(*self.running)
            for name in [name for name in self.running if states[name] == "cancelled"]:
                one = self.running.pop(name)
                self.spent[one.workflow] += max(one.used, one.estimate())

    async def finish(self) -> None:
        """Bring everything to its end: with hosts that do what they get, nothing stays parked."""
        for _ in range(ROUNDS_MAX):
            for queues in (0, 1):
                await self.claim(queues + 6)
                self.check()
            for name in sorted(self.running):
                await self.complete(sorted(self.running).index(name))
            await self.wait(29_999)
            states = await self.cell.states(*self.sent)
            if all(state in {end.value for end in TERMINAL} for state in states.values()):
                break
        else:
            left = {name: await self.limits.parked_on(name) for name, state in states.items() if state == "queued"}
            raise AssertionError(f"these never ended: {left}, {await self.limits.all()}")
        view = await self.limits.all()
        assert [each for each in (*view.slots, *view.rates, *view.budgets) if each.parked] == []
        assert [slots for slots in view.slots if slots.held] == []
        assert {budget.scope: budget.running for budget in view.budgets} == dict.fromkeys(
            (f"workflow/{workflow}" for workflow in WORKFLOWS[:2]), 0
        )
        for workflow in WORKFLOWS[:2]:
            assert (await self.limits.budget(f"workflow/{workflow}")).spent.calls in {self.spent[workflow], None}
            if await self.cell.workflow_state(workflow) == WorkflowState.SUCCEEDED:
                assert not any(
                    state in {"failed", "cancelled"} for name, state in states.items() if self.sent[name][0] == workflow
                )
        assert not {name for name in await self.cell.keys() if name.startswith("park")}


PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""A life is read from its steps; making it shorter takes minutes."""


@pytest.mark.requirement("T6")
@settings(max_examples=15, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(steps)
def test_limits_hold_whatever_happens(engine_url: str, life: list[tuple[str, int]]) -> None:
    async def live() -> None:
        async with Engine(engine_url, cell=uuid4().hex) as engine:
            world = World(Cell(engine), Limits(engine))
            await world.begin()
            for kind, number in life:
                await world.step(kind, number)
            await world.finish()

    asyncio.run(live())
