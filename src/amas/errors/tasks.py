"""The fate of one task or attempt. Import these from `amas.errors`."""

from amas.errors.base import AmasError


class TaskError(AmasError):
    """One task's or attempt's fate."""

    code = "task_error"


class AttemptStale(TaskError):
    """Another attempt owns this task now: drop the result, do not retry."""

    code = "attempt_stale"


class TaskCancelled(TaskError):
    """The task was cancelled: stop working on it."""

    code = "task_cancelled"


class TaskUnknown(TaskError):
    """No such task, neither in the engine nor in the records."""

    code = "task_unknown"


class WorkflowUnknown(TaskError):
    """No such workflow, neither in the engine nor in the records."""

    code = "workflow_unknown"


class AgentUnknown(TaskError):
    """No live host has an agent of this name."""

    code = "agent_unknown"


class AgentTaken(TaskError):
    """Another live session has an agent of this name: end that one, wait for its lease to end, or take the agent over."""

    code = "agent_taken"
    act = "author"

    def __init__(self, agent_id: str, *, session_id: str) -> None:
        super().__init__(
            f"{agent_id} is registered by the session {session_id}, which is alive: register it under another name, "
            "or say take_over when that one is yours and gone (who opened it with a key of another name, it can't be taken from)"
        )
        self.agent_id, self.session_id = agent_id, session_id


class AgentsFull(TaskError):
    """As many remote agents are registered as there may be."""

    code = "agents_full"
    act = "operator"

    def __init__(self, *, held: int, most: int) -> None:
        super().__init__(
            f"{held} remote agents are registered and there may be {most}: end sessions, or raise AMAS_REMOTE_MAX_AGENTS"
        )


class RemoteRefused(TaskError):
    """What a remote agent said was refused by the control plane; `refusal` is the code that it answered."""

    code = "remote_refused"
    act = "author"

    def __init__(self, detail: str, *, code: str) -> None:
        super().__init__(detail)
        self.refusal = code


class RemoteTokenRefused(RemoteRefused):
    """The fleet doesn't take the token that a remote agent shows: its operator gives another, no further try helps."""

    code = "remote_token_refused"


class SessionLost(TaskError):
    """A remote session's lease has run out: what it ran went to others, and its agents must be registered anew."""

    code = "session_lost"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"the lease of {session_id} has run out and its tasks went to others: stop them and register anew")
        self.session_id = session_id


class ScheduleUnknown(TaskError):
    """There is no schedule of that name."""

    code = "schedule_unknown"


class TaskFailed(TaskError):
    """The task failed for good: its last error is the message."""

    code = "task_failed"

    def __init__(self, task_id: str, error_code: str, message: str) -> None:
        super().__init__(message)
        self.task_id, self.error_code = task_id, error_code


class SignalRefused(TaskError):
    """A signal found nobody who waits for it: it was answered before with another payload, has ended, or is no signal."""

    code = "signal_refused"
    act = "author"


class ResetRefused(TaskError):
    """These tasks can't be run again now: the message says why and what to do instead."""

    code = "reset_refused"
    act = "author"


class RetryLater(TaskError):
    """Raised by an agent: this attempt can't go on now; try again after `delay_s` seconds (None: the policy's back-off)."""

    code = "retry_later"

    def __init__(self, reason: str = "the agent asked to be tried again", *, delay_s: float | None = None) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


class RateLimited(TaskError):
    """Raised by an agent: a provider takes nothing for `retry_after_s` seconds. No failure: the task waits for it."""

    code = "rate_limited"

    def __init__(self, retry_after_s: float, *, provider: str = "") -> None:
        """`provider`: by default the one that the task or its pool names."""
        super().__init__(f"{provider or 'the provider'} asked to come back in {retry_after_s:g} s")
        self.retry_after_s, self.provider = retry_after_s, provider


class DependencyDown(TaskError):
    """A dependency's breaker is open: let this end the attempt, which counts as no failure; the task comes back later."""

    code = "dependency_down"

    def __init__(self, dependency: str, retry_after_s: float) -> None:
        super().__init__(f"{dependency} is down: it is tried again in {retry_after_s:g} s")
        self.dependency, self.retry_after_s = dependency, retry_after_s


class LimitUnknown(TaskError):
    """No such resource: nothing was submitted or declared that names it."""

    code = "limit_unknown"


class BudgetExhausted(TaskError):
    """A budget has no room for what an attempt is about to spend: spend nothing, and let this end the attempt."""

    code = "budget_exhausted"


class ModelUnavailable(TaskError):
    """No model that an agent may ask answered; a later attempt goes on from the answers that came."""

    code = "model_unavailable"


class GiveUp(TaskError):
    """Raised by an agent: no further attempt can succeed; the task fails with this reason."""

    code = "gave_up"

    def __init__(self, reason: str, *, code: str = "gave_up") -> None:
        super().__init__(reason)
        self.error_code = code


class SignalExpired(GiveUp):
    """Nobody sent the signal that the agent waited for, in the time that it gave."""

    code = "signal_expired"

    def __init__(self, name: str) -> None:
        super().__init__(f"nobody sent the signal {name!r} in time", code=self.code)
        self.name = name


class NotAllowed(GiveUp):
    """The agent's place in the hierarchy gives it no right to this: the message names the right and who has to give it."""

    code = "not_allowed"
    act = "author"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code=self.code)


class ToolRefused(GiveUp):
    """The policy, or the machine, doesn't let the agent use a tool: the sentence says which and why; nothing ran."""

    code = "tool_refused"
    act = "author"

    def __init__(self, why: str, *, tool: str = "", rules: tuple[str, ...] = (), retry_after_s: float | None = None) -> None:
        """`rules`: that decided. `retry_after_s`: until a limit has room again, when it was a limit that refused."""
        super().__init__(why, code=self.code)
        self.tool, self.rules, self.retry_after_s = tool, rules, retry_after_s


class ToolMisused(GiveUp):
    """A tool was asked for with arguments that it doesn't take; nothing ran."""

    code = "tool_misused"
    act = "author"

    def __init__(self, why: str, *, tool: str = "") -> None:
        super().__init__(why, code=self.code)
        self.tool = tool


class ToolUnsure(GiveUp):
    """A tool that isn't repeatable began in an attempt that didn't live to tell what came of it: look before you use it again."""

    code = "tool_unsure"
    act = "author"

    def __init__(self, why: str, *, tool: str = "") -> None:
        super().__init__(why, code=self.code)
        self.tool = tool


class ToolFailed(TaskError):
    """A tool ran and failed, or took too long. Another attempt tries a repeatable one again, and gets the same of any other."""

    code = "tool_failed"

    def __init__(self, why: str, *, tool: str = "", final: bool = False) -> None:
        """`final`: no attempt will try it again by itself."""
        super().__init__(why)
        self.tool, self.final = tool, final
