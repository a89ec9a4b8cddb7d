"""One attempt's life on a host: run in a lane, stopped from outside or ended by itself, reported once, its agent's slot freed.

An attempt is reported when its outcome is known and freed when its code has really ended. They differ for code that ignores being
stopped: after `STOP_GRACE_S` the attempt is reported without it, and the slot stays taken for as long as the code runs.
"""

import asyncio
import sys
from collections.abc import Coroutine
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from amas.agents.base import AsyncFunction, BaseAgent, BlockingFunction, FunctionAgent
from amas.agents.context import Suspended, SyncContext
from amas.agents.failures import Verdict, encodable, failed, verdict, within_a_year
from amas.agents.task_context import Services, TaskContext
from amas.agents.threads import DaemonThreads
from amas.clock import monotonic_s, now_ms
from amas.core.conditions import holds
from amas.core.healing import stuck_limit_s
from amas.core.retry import retry_delay_s
from amas.errors import TaskCancelled
from amas.model.artifact import is_reference
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec
from amas.model.flow import ESCALATION_CAPABILITY
from amas.model.healing import CRASHES, STUCK, Crash
from amas.model.task import DEFAULT_RETRY, Claimed, Completion, FailedAttempt, Json
from amas.observe import events
from amas.observe.places import of_task, of_thread

T = TypeVar("T")

STOP_GRACE_S = 2.0
"""Seconds for an agent's own clean-up after it was stopped."""

Outcome = Completion | FailedAttempt | None
"""None: there is nothing to tell the engine, because it decided itself or a later attempt will."""


class Stop(StrEnum):
    """Why an attempt is stopped from outside."""

    TIMED_OUT = "timed_out"
    DEADLINE_PASSED = "deadline_passed"
    CANCELLED = "cancelled"
    """By somebody who cancelled the task."""
    STALE = "stale"
    """The task is another attempt's."""
    LEASE_LOST = "lease_lost"
    DRAINED = "drained"
    RESTARTED = "restarted"
    """Its agent is made anew, and somebody else gets the task."""
    STUCK = "stuck"
    """It made no progress for too long."""


class Seat:
    """An agent and what its host knows of it."""

    __slots__ = ("agent", "blocking", "idle", "member", "pool", "running", "work")

    def __init__(self, agent: BaseAgent, pool: PoolSpec) -> None:
        self.pool, self.member = pool, pool.member
        self.running = 0
        self.idle: asyncio.Event | None = None
        """Set while no attempt runs here; made where mail is handed to the agent."""
        self.take(agent)

    def take(self, agent: BaseAgent) -> None:
        """Let this object do the agent's next tasks."""
        self.agent = agent
        self.blocking: BlockingFunction | None = None
        """The function of an agent that needs a thread."""
        self.work: AsyncFunction = agent.process_task
        """What an attempt awaits."""
        if isinstance(agent, FunctionAgent):
            self.blocking, self.work = agent.blocking, agent.work or agent.process_task


class Reception(Protocol):
    """The host, as its attempts see it; called on its loop."""

    def reported(self, attempt: "Attempt", outcome: Outcome) -> None:
        """Take the outcome, once for each attempt."""

    def freed(self, attempt: "Attempt") -> None:
        """Take back the agent's slot, once for each attempt, after its report."""

    def crash_of(self, seat: Seat, task_id: str, code: str, *, lost_s: float) -> Crash:
        """Return what the engine is to be told of a crash."""
        ...


class Attempt:
    """One claimed task on its agent."""

    __slots__ = (
        "_job", "_limit_is", "_limit_s", "_reception", "_reported", "_services", "_stuck_s", "_threads", "_timer",
        "claimed", "context", "loop", "seat", "started_s", "stopped", "task",
    )  # fmt: skip

    def __init__(self, claimed: Claimed, seat: Seat, services: Services, threads: DaemonThreads, reception: Reception) -> None:
        self.claimed, self.seat = claimed, seat
        self._services, self._threads, self._reception = services, threads, reception
        self.loop = services.loop
        self.context = TaskContext(claimed, services, seat.pool.options, seat.member)
        self.stopped: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        """The lane's; None before its turn."""
        self.started_s = 0.0
        """By `monotonic_s`."""
        self._limit_s: float | None = None
        self._limit_is = Stop.TIMED_OUT
        self._stuck_s = 0.0
        """How long it may pass without progress; 0: always."""
        self._reported = False
        self._job: Future[Json] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def stop(self, why: Stop) -> None:
        """Stop the agent's code: a coroutine is cancelled, a process killed, a thread asked."""
        if self.stopped is not None or self._reported:
            return
        self.stopped = why
        self.context.stopping = True
        counts = why in {Stop.TIMED_OUT, Stop.STUCK} and self.claimed.failures >= self.claimed.spec.retry.retries
        self.context.over = counts or why in {Stop.CANCELLED, Stop.DEADLINE_PASSED}
        if self._timer is not None:
            self._timer.cancel()
        if self.task is None:  # its turn never comes
            self.started_s = monotonic_s()
            self._report(None)
            self._reception.freed(self)
        else:
            self.task.cancel()
            self._timer = self.loop.call_later(STOP_GRACE_S, self._report, None)

    def place(self, loop_thread: int) -> str:
        """Return where the agent's code is, from any thread; `loop_thread`: the host's, by its number."""
        task, job = self.task, self._job
        thread = self._threads.of(job) if job is not None else loop_thread if task is asyncio.current_task(self.loop) else None
        if thread is not None:
            return of_thread(sys._current_frames().get(thread))
        return of_task(task) if task is not None else ""

    def waits(self) -> None:
        """Watch its limits of time, which an attempt that ends in its first turn doesn't need."""
        self._stuck_s = stuck_limit_s(self.seat.pool.healing, limit_s=self._limit_s or 0.0)
        if (self._limit_s is not None or self._stuck_s) and self.stopped is None and not self._reported:
            self._watch()

    def _watch(self) -> None:
        """Stop it when its time is up, or nothing has come of it for too long; else look again when that may be so."""
        now_s, left_s = monotonic_s(), float("inf")
        if self._limit_s is not None and (left_s := self._limit_s - (now_s - self.started_s)) <= 0:
            self.stop(self._limit_is)
            return
        if self._stuck_s:
            quiet_left_s = self._stuck_s - (0.0 if self.context.calls else now_s - self._active_s())
            if quiet_left_s <= 0:
                self.stop(Stop.STUCK)
                return
            left_s = min(left_s, quiet_left_s)
        self._timer = self.loop.call_later(max(left_s, 0.001), self._watch)

    def _active_s(self) -> float:
        """Return when something last came of it."""
        return max(self.started_s, self.context.active_s)

    def _begin(self, task: "asyncio.Task[None]", now_s: float) -> None:
        """Note where and when it began, and how long it may take."""
        self.task, self.started_s = task, now_s
        limit_s, deadline_ms = self.claimed.spec.timeout_s or self.seat.pool.timeout_s, self.claimed.spec.deadline_ms
        if limit_s or deadline_ms:
            if deadline_ms:
                left_s = max(deadline_ms - self._services.queue.now_ms(), 0) / 1000  # a deadline is a time of the engine's
                if not limit_s or left_s < limit_s:
                    limit_s, self._limit_is = left_s, Stop.DEADLINE_PASSED
            self._limit_s = limit_s
            self.context.deadline_ms = now_ms() + int(limit_s * 1000)  # the agent compares it with its own clock

    async def run(self, task: "asyncio.Task[None]", now_s: float) -> None:
        """Work to the end, in a lane."""
        if self.stopped is not None:
            return
        self._begin(task, now_s)
        outcome: Outcome = None
        try:
            result = await self._work()
            blob = await self._services.values.payload(result, "the result")
            outcome = Completion(self.claimed.id, self.claimed.attempt, blob, self.context.usage)
        except Suspended:
            pass
        except asyncio.CancelledError:
            if self.stopped is None:
                outcome = self._failed(failed("agent_cancelled", "the agent's own code cancelled its attempt"))
        except Exception as error:  # noqa: BLE001  the agent's code may raise anything
            outcome = None if self.stopped else self._failed(verdict(error))
        except GeneratorExit:  # the loop is closed under it
            raise
        except BaseException as error:  # noqa: BLE001  a group with a suspension; or what would end the host, or be told to nobody
            outcome = None if self.context.suspended or self.stopped else self._failed(verdict(error))
        self._report(outcome)
        if self.context.uses:
            await self.context.leave_all()
        self._free()

    async def _work(self) -> Json:
        """Return what the agent makes of the task; null where its condition says that there is nothing to do."""
        spec, context = self.claimed.spec, self.context
        if is_reference(spec.input):
            await context.load_input()
        if spec.needs:
            await context.load_needs()
        if spec.when and not holds(spec.when, {"input": context.input, "needs": context.results}):
            return None
        if spec.capability == ESCALATION_CAPABILITY:
            return await self.seat.agent.on_escalation(context)
        return await (self._in_thread() if self.seat.blocking else self.seat.work(context))

    def _failed(self, found: Verdict) -> FailedAttempt:
        spec = self.claimed.spec
        delay_s, code = found.delay_s, found.failure.code
        lost_s = monotonic_s() - self._active_s() if code == STUCK else 0.0
        if delay_s is None:
            policy = self.seat.pool.retry if spec.retry == DEFAULT_RETRY else spec.retry
            delay_s = retry_delay_s(policy, failures=self.claimed.failures, draw=self._services.draw)
        self.context.host_log.warning(
            "an attempt failed",
            event=events.ATTEMPT_FAILED,
            code=found.failure.code,
            why=found.failure.message,
            final=found.final,
            **({"detail": found.failure.detail} if found.failure.detail else {}),
        )
        return FailedAttempt(
            self.claimed.id,
            self.claimed.attempt,
            to_blob(found.failure),
            round(within_a_year(delay_s) * 1000),
            found.final,
            self.context.usage,
            None if found.provider is None else encodable(found.provider),
            found.later,
            self._reception.crash_of(self.seat, self.claimed.id, code, lost_s=lost_s) if code in CRASHES else None,
        )

    def _report(self, outcome: Outcome) -> None:
        if self._reported:
            return
        if self._timer is not None:
            self._timer.cancel()
        if self.stopped is not None:
            outcome = self._stopped_outcome(self.stopped, outcome)
        self._reported = True
        self._reception.reported(self, outcome)

    def _stopped_outcome(self, why: Stop, outcome: Outcome) -> Outcome:
        """Return what to tell of an attempt that was stopped; only a timer's stop is a failure."""
        match why:
            case Stop.TIMED_OUT:
                took_s = monotonic_s() - self.started_s
                return self._failed(failed(why, f"the attempt was stopped after {took_s:.1f} s, which is its limit"))
            case Stop.STUCK:
                quiet_s = monotonic_s() - self._active_s()
                return self._failed(failed(STUCK, f"the attempt was stopped: nothing had come of it for {quiet_s:.1f} s"))
            case Stop.DEADLINE_PASSED:
                return self._failed(failed(why, "the task's deadline has passed", final=True))
            case Stop.DRAINED | Stop.RESTARTED if isinstance(outcome, Completion):
                return outcome
            case _:
                return None

    def _free(self) -> None:
        job, loop = self._job, self.loop
        if job is None or job.done():
            self._reception.freed(self)
            return

        def ended(_: Future[Json]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._reception.freed, self)

        job.add_done_callback(ended)

    async def _in_thread(self) -> Json:
        function = self.seat.blocking
        assert function is not None
        self._job = self._threads.submit(function, SyncContext(self.context, self._call))
        return await asyncio.wrap_future(self._job)

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop for the agent's thread."""
        if self.context.stopping:
            work.close()
            raise TaskCancelled(f"attempt {self.claimed.attempt} of task {self.claimed.id} was stopped")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()
