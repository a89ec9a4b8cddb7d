"""One attempt's life on a host: started, stopped from outside or ended by itself, reported once, and its agent's slot freed.

An attempt is reported when its outcome is known and freed when its code has really ended. They differ for code that ignores being
stopped: after `STOP_GRACE_S` the attempt is reported without it, and the slot stays taken for as long as the code runs.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import Future
from enum import StrEnum
from typing import Any, Protocol

from amas.agents.base import AgentFunction, BaseAgent
from amas.agents.context import Suspended, SyncContext
from amas.agents.failures import Verdict, failed, verdict
from amas.agents.task_context import Services, TaskContext
from amas.agents.threads import DaemonThreads
from amas.clock import now_ms
from amas.core.conditions import holds
from amas.core.retry import retry_delay_s
from amas.engine.queue import encode_payload
from amas.errors import TaskCancelled
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec
from amas.model.task import DEFAULT_RETRY, Claimed, Completion, FailedAttempt, Json
from amas.observe import events

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


class Seat:
    """An agent and what its host knows of it."""

    __slots__ = ("agent", "function", "pool", "running")

    def __init__(self, agent: BaseAgent, pool: PoolSpec, function: AgentFunction | None) -> None:
        """`function`: a blocking agent's, which needs a thread."""
        self.agent, self.pool, self.function = agent, pool, function
        self.running = 0


class Reception(Protocol):
    """The host, as its attempts see it; called on its loop."""

    def reported(self, attempt: "Attempt", outcome: Outcome) -> None:
        """Take the outcome, once for each attempt."""

    def freed(self, attempt: "Attempt") -> None:
        """Take back the agent's slot, once for each attempt, after its report."""


class Attempt:
    """One claimed task on its agent."""

    __slots__ = (
        "_began", "_job", "_reception", "_reported", "_services", "_threads", "_timer",
        "claimed", "context", "loop", "seat", "started_s", "stopped", "task",
    )  # fmt: skip

    def __init__(self, claimed: Claimed, seat: Seat, services: Services, *, threads: DaemonThreads, reception: Reception) -> None:
        self.claimed, self.seat = claimed, seat
        self._services, self._threads, self._reception = services, threads, reception
        self.context = TaskContext(claimed, services, options=seat.pool.options, stale=self._stale)
        self.stopped: Stop | None = None
        self.task: asyncio.Task[None] | None = None
        self.started_s = 0.0
        self._began = self._reported = False
        self._job: Future[Json] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to work."""
        self.loop = loop
        self.started_s = loop.time()
        spec = self.claimed.spec
        limit_s, why = spec.timeout_s or self.seat.pool.timeout_s, Stop.TIMED_OUT
        if limit_s or spec.deadline_ms:
            now = now_ms()
            if spec.deadline_ms and (not limit_s or (spec.deadline_ms - now) / 1000 < limit_s):
                limit_s, why = max((spec.deadline_ms - now) / 1000, 0.0), Stop.DEADLINE_PASSED
            self.context.deadline_ms = now + round(limit_s * 1000)
            self._timer = loop.call_later(limit_s, self.stop, why)
        self.task = loop.create_task(self._run())

    def stop(self, why: Stop) -> None:
        """Stop the agent's code: a coroutine is cancelled, a process killed, a thread asked."""
        if self.stopped is not None or self._reported:
            return
        self.stopped = why
        self.context.stopping = True
        if self._timer is not None:
            self._timer.cancel()
        assert self.task is not None, "only what was started is stopped"
        self.task.cancel()
        if self._began:
            self._timer = self.loop.call_later(STOP_GRACE_S, self._report, None)
        else:  # a coroutine that is cancelled before its first turn never sees it
            self._report(None)
            self._reception.freed(self)

    async def _run(self) -> None:
        self._began = True
        outcome: Outcome = None
        try:
            spec = self.claimed.spec
            if spec.needs:
                await self.context.load_needs()
            if spec.when and not holds(spec.when, {"input": spec.input, "needs": self.context.results}):
                result = None
            else:
                result = await (self._in_thread() if self.seat.function else self.seat.agent.process_task(self.context))
            outcome = Completion(self.claimed.id, self.claimed.attempt, encode_payload(result, "the result"))
        except Suspended:
            pass
        except asyncio.CancelledError:
            if self.stopped is None:
                outcome = self._failed(failed("agent_cancelled", "the agent's own code cancelled its attempt"))
        except SystemExit as error:
            outcome = self._failed(failed("agent_exited", f"the agent's code asked the process to exit with {error.code!r}"))
        except Exception as error:  # noqa: BLE001  the agent's code may raise anything
            outcome = None if self.stopped else self._failed(verdict(error))
        except BaseExceptionGroup as group:  # a suspension, where the agent spawned inside a task group of its own
            outcome = None if self.context.suspended or self.stopped else self._failed(verdict(group))
        self._report(outcome)
        self._free()

    def _failed(self, found: Verdict) -> FailedAttempt:
        spec = self.claimed.spec
        delay_s = found.delay_s
        if delay_s is None:
            policy = self.seat.pool.retry if spec.retry == DEFAULT_RETRY else spec.retry
            delay_s = retry_delay_s(policy, failures=self.claimed.failures, draw=self._services.draw)
        self.context.log.warning(
            "an attempt failed",
            event=events.ATTEMPT_FAILED,
            code=found.failure.code,
            why=found.failure.message,
            final=found.final,
            **({"detail": found.failure.detail} if found.failure.detail else {}),
        )
        return FailedAttempt(
            self.claimed.id, self.claimed.attempt, to_blob(found.failure), max(round(delay_s * 1000), 0), found.final
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
                took_s = self.loop.time() - self.started_s
                return self._failed(failed(why, f"the attempt was stopped after {took_s:.1f} s, which is its limit"))
            case Stop.DEADLINE_PASSED:
                return self._failed(failed(why, "the task's deadline has passed", final=True))
            case Stop.DRAINED if isinstance(outcome, Completion):
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
        function = self.seat.function
        assert function is not None
        self._job = self._threads.submit(function, SyncContext(self.context, self._call))  # type: ignore[arg-type]
        return await asyncio.wrap_future(self._job)

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the loop for the agent's thread."""
        if self.context.stopping:
            work.close()
            raise TaskCancelled(f"attempt {self.claimed.attempt} of task {self.claimed.id} was stopped")
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def _stale(self) -> None:
        self.stop(Stop.STALE)
