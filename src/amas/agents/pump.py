"""What goes between a host and the engine: outcomes out, tasks in, two calls under way at most.

Whatever gathers while both are goes with the next: an idle host answers at once, a busy one works in batches as large as the
engine's own pace makes them. The second is for what comes while the first waits for the disk: outcomes of what was just claimed,
and work for which a bell rang since; the engine takes it up with its next turn instead of the one after. After trouble the engine
and the host compare what they believe to be running here: an answer that was lost may have claimed tasks, a message that was lost
may have cancelled some. They do so between calls, since what is under way is neither here nor there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from amas.agents.attempt import Attempt, Outcome, Stop
from amas.agents.lanes import Lanes
from amas.agents.lessons import Lessons
from amas.agents.outbox import Outbox
from amas.agents.slots import FreeSlots
from amas.agents.task_context import Services
from amas.clock import monotonic_s
from amas.core.retry import pause_s
from amas.engine.hosts import HostRegistry
from amas.engine.insist import PAUSE_MAX_S, PAUSE_MIN_S
from amas.engine.queue import Exchange
from amas.errors import EngineError
from amas.model.limits import Usage
from amas.model.states import TaskState
from amas.model.task import Claimed, Completion
from amas.observe import events

CALLS = 2
"""Calls under way at a time: one is there for the engine while it brings the other to the disk."""
POLL_LEAST_S = 1.0
"""Seconds between looks without a bell, up to twice that: a lost message costs this much and no more."""


class Pump:
    """Carries outcomes and claims for one host."""

    def __init__(
        self,
        services: Services,
        slots: FreeSlots,
        registry: HostRegistry,
        *,
        begin: Callable[[Sequence[Claimed]], Sequence[Attempt]],
        register: Callable[[], Awaitable[None]],
    ) -> None:
        """`begin` seats claimed tasks. `register` makes the host known anew after its lease was lost."""
        self._services, self._slots, self._registry = services, slots, registry
        self._begin, self._register = begin, register
        self._lanes = Lanes(services.loop)
        self.outbox, self.lessons = Outbox(), Lessons()
        self.running: dict[str, Attempt] = {}
        """The attempts whose outcome the engine waits for, by task."""
        self.wake = asyncio.Event()
        self.claiming = True
        self._closing = self._lost = False
        self._in_doubt = True  # a host that comes back under its name may have left tasks behind
        self._returned: list[tuple[str, int] | tuple[str, int, Usage]] = []
        """Attempts of agents that were restarted, to be given back."""
        self._under_way = self._failed = 0
        """Exchanges under way, and calls that failed since one went well."""
        self._mending = False

    def take(self, attempt: Attempt, outcome: Outcome) -> None:
        """Take an attempt's end."""
        task_id = attempt.claimed.id
        if self.running.get(task_id) is attempt:
            del self.running[task_id]
        if isinstance(outcome, Completion):
            self.outbox.complete(outcome)
        elif outcome is not None:
            self.outbox.fail(outcome)
        elif attempt.stopped is Stop.RESTARTED:
            used = (attempt.context.usage,) if attempt.context.usage else ()
            self._returned.append((task_id, attempt.claimed.attempt, *used))
        self.wake.set()

    def rung(self, message: bytes) -> None:
        """Take a bell's message: queues that have work."""
        if self._slots.ring(message.decode().split("\n")):
            self.wake.set()

    def told_to_stop(self, message: bytes) -> None:
        """Take the host channel's message: tasks that were cancelled, or attempts, by their numbers, that were taken back."""
        for line in message.decode().split("\n"):
            task_id, _, number = line.partition(" ")
            attempt = self.running.get(task_id)
            if attempt and number in ("", str(attempt.claimed.attempt)):
                del self.running[task_id]
                attempt.stop(Stop.STALE if number else Stop.CANCELLED)
            elif number:  # its claim's answer may be still under way
                self._in_doubt = True
                self.wake.set()

    def listening(self) -> None:
        """Note that the bells are heard (again), so that something may have been missed."""
        self._in_doubt = True
        self._slots.ring_all()
        self.wake.set()

    def lose_lease(self) -> None:
        """Stop everything: the engine gave this host's tasks to others."""
        if not self._lost:
            self._lost = True
            self.stop_all(Stop.LEASE_LOST)
            self.wake.set()

    def stop_all(self, why: Stop) -> list[Attempt]:
        """Stop every attempt and return them."""
        stopped = list(self.running.values())
        self.running.clear()
        for attempt in stopped:
            attempt.stop(why)
        return stopped

    def give_back(self, agent_id: str) -> int:
        """Stop what an agent runs, so that somebody else does it, without blame; return how many attempts that are."""
        stopped = [attempt for attempt in self.running.values() if attempt.claimed.agent_id == agent_id]
        for attempt in stopped:
            attempt.stop(Stop.RESTARTED)
        return len(stopped)

    def close(self) -> None:
        """Let `run` end as soon as the outbox is empty."""
        self.claiming, self._closing = False, True
        self.wake.set()

    async def poll(self) -> None:
        """Look now and then without a bell, until cancelled."""
        while True:
            await asyncio.sleep(POLL_LEAST_S * (1 + self._services.draw()))
            self._slots.ring_all()
            self.wake.set()

    async def run(self) -> None:
        """Carry until closed."""
        async with asyncio.TaskGroup() as group:
            for _ in range(CALLS):
                group.create_task(self._carry(), name="pump's call")

    async def _carry(self) -> None:
        """Make one call after the other until closed."""
        while True:
            try:
                carried = await self.run_once()
            except EngineError as error:
                self._failed += 1
                self._in_doubt = True
                if self._failed == 1:
                    self._services.log.warning("the engine doesn't take our calls", event=events.ENGINE_TROUBLE, why=str(error))
                await asyncio.sleep(pause_s(self._failed, least_s=PAUSE_MIN_S, most_s=PAUSE_MAX_S, draw=self._services.draw))
                continue
            if not carried:
                if self._closing and not self.outbox:
                    return
                await self.wake.wait()
                self.wake.clear()

    async def run_once(self) -> bool:
        """Say and ask what there is; return whether there was anything that no other call will see to."""
        if not await self._sound():
            return False
        parcel = self.outbox.take()
        ask = self._slots.ask() if self.claiming else None
        if not (ask or parcel.completions or parcel.failures):
            return False
        self._under_way += 1
        try:
            lessons = self.lessons.take(monotonic_s()) if parcel.completions else ()
            said = Exchange(parcel.completions, parcel.failures, ask.groups if ask else (), lessons)
            answer = await self._services.queue.exchange(self._services.host_id, said)
        except BaseException:
            self.outbox.put_back(parcel)
            if ask:
                self._slots.answered(ask, ())
            raise
        finally:
            self._under_way -= 1
        self._well()
        claimed = answer.claimed or ()
        if ask:
            self._slots.answered(ask, [task.agent_id for task in claimed])
        attempts = self._begin(claimed)
        for attempt in attempts:
            self.running[attempt.claimed.id] = attempt
        self._lanes.run(attempts)
        if answer.claimed is None:
            self.lose_lease()
        for task_id, why in answer.refused:
            self._services.log.debug("an outcome was refused", event=events.OUTCOME_REFUSED, task_id=task_id, why=why)
        return True

    async def _sound(self) -> bool:
        """Mend what is wrong before the next exchange; return False while others are under way whose answers that needs."""
        if self._mending:
            return False
        if self._lost or self._returned or self._in_doubt:
            if self._under_way:
                return False
            self._mending = True
            try:
                if self._lost:
                    await self._register()
                    self._lost = False
                await self._agree()
            finally:
                self._mending = False
                self.wake.set()
            self._well()
        return True

    def _well(self) -> None:
        """Note that the engine took a call."""
        if self._failed:
            self._services.log.info("the engine takes our calls again", event=events.ENGINE_BACK, tries=self._failed)
            self._failed = 0

    async def _agree(self) -> None:
        """Give back what is to be done elsewhere, and mend what the engine and the host believe differently."""
        if self._returned:
            returned = self._returned[:]
            await self._services.queue.give_back(self._services.host_id, returned)  # said twice, the fence knows them
            del self._returned[: len(returned)]
        if self._in_doubt:
            await self._reconcile()

    async def _reconcile(self) -> None:
        """Compare what the engine believes to run here with what does, and mend both sides."""
        self._in_doubt = False
        ours = dict(self.running)
        try:
            held = set(await self._registry.running(self._services.host_id))
            await self._give_back(held - set(self.running) - self.outbox.task_ids())
        except BaseException:
            self._in_doubt = True
            raise
        for task_id, attempt in ours.items():
            if task_id not in held and self.running.get(task_id) is attempt and not attempt.context.letting_go:
                del self.running[task_id]
                attempt.stop(Stop.STALE)
        self._slots.ring_all()

    async def _give_back(self, task_ids: Iterable[str]) -> None:
        services = self._services
        pairs: list[tuple[str, int, Usage]] = []
        for task_id in task_ids:
            view = await services.queue.task(task_id)
            if view and view.state is TaskState.RUNNING and view.host_id == services.host_id:
                pairs.append((task_id, view.attempt, Usage()))  # it never began
        if pairs:
            services.log.warning("gave back tasks whose claim was lost", event=events.CLAIM_LOST, tasks=len(pairs))
            await services.queue.give_back(services.host_id, pairs)
