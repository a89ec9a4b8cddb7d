"""What an exception from an agent's code means: a `Failure`, whether another attempt can help, and how soon.

Shared by hosts and isolated children, so it imports nothing of the engine.
"""

import traceback
from typing import NamedTuple

from amas.errors import (
    AmasError,
    ArtifactLost,
    BudgetExhausted,
    DependencyDown,
    GiveUp,
    InboxFull,
    MessageForbidden,
    RateLimited,
    RetryLater,
    SubmissionError,
)
from amas.model.task import Failure

DETAIL_CHARS_MAX = 4096
"""Of a traceback or a program's output; the end says what went wrong."""
MESSAGE_CHARS_MAX = 2048
MEMORY_LIMIT = "memory_limit"
"""The code of an attempt that asked for more memory than there was."""


class Verdict(NamedTuple):
    """How a failed attempt is to be taken."""

    failure: Failure
    final: bool = False
    """No further attempt can help."""
    delay_s: float | None = None
    """None: the retry policy's back-off."""
    provider: str | None = None
    """Not a failure: this provider ("": the task's own) asked to come back after `delay_s`."""
    later: bool = False
    """Not a failure: something that the task needs isn't there before `delay_s` have passed."""


class AttemptFailed(Exception):
    """Carries a verdict that is known already, such as an isolated child's."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.failure.message)
        self.verdict = verdict


def failed(code: str, message: str, *, final: bool = False, detail: str = "") -> Verdict:
    """Return a verdict whose texts are within their bounds."""
    return Verdict(Failure(code, message[:MESSAGE_CHARS_MAX], detail[-DETAIL_CHARS_MAX:]), final)


def verdict(error: BaseException) -> Verdict:  # noqa: PLR0911  one for each kind of error
    """Return what an exception out of an agent's code means."""
    match error:
        case AttemptFailed():
            return error.verdict
        case RetryLater():
            return Verdict(failed(error.code, str(error)).failure, delay_s=error.delay_s)
        case RateLimited():
            return Verdict(failed(error.code, str(error)).failure, delay_s=error.retry_after_s, provider=error.provider)
        case DependencyDown():
            return Verdict(failed(error.code, str(error)).failure, delay_s=error.retry_after_s, later=True)
        case GiveUp() | BudgetExhausted():
            return failed(error.error_code if isinstance(error, GiveUp) else error.code, str(error), final=True)
        case InboxFull():
            return Verdict(failed(error.code, str(error)).failure, delay_s=error.retry_after_s)
        case MessageForbidden():
            return failed(error.code, str(error), final=True)
        # Its result, step or sub-tasks can't be carried, or what it was given is lost: it would be the same the next time.
        case SubmissionError() | ArtifactLost():
            return failed(error.code, str(error), final=True, detail=_trace(error))
        case MemoryError():
            return failed(MEMORY_LIMIT, "the agent ran out of memory")
        case _:
            code = error.code if isinstance(error, AmasError) else "agent_error"
            name, text = type(error).__name__, str(error)
            return failed(code, f"{name}: {text}" if text else name, detail=_trace(error))


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
