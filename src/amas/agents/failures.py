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
    SealBroken,
    SealKeyMissing,
    SubmissionError,
    ToolFailed,
)
from amas.model.task import Failure
from amas.secrets import scrubbed

DETAIL_CHARS_MAX = 4096
"""Of a traceback or a program's output; the end says what went wrong."""
MESSAGE_CHARS_MAX = 2048
CODE_CHARS_MAX = 200
DELAY_MAX_S = 31_536_000.0
"""A year, which is also the API's bound."""
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
    """Return a verdict whose texts are within their bounds, can be encoded, and say no secret."""
    said = Failure(
        encodable(str(code))[:CODE_CHARS_MAX],
        encodable(scrubbed(message))[:MESSAGE_CHARS_MAX],
        encodable(scrubbed(detail))[-DETAIL_CHARS_MAX:],
    )
    return Verdict(said, final)


def encodable(text: str) -> str:
    """Return a text with lone surrogates spelt out: names of files that aren't UTF-8 have them, and no JSON takes them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def within_a_year(delay_s: float) -> float:
    """Return a delay that an agent asked for as it can be kept: an author's arithmetic may end in NaN, or never."""
    return min(max(0.0, delay_s), DELAY_MAX_S)  # in this order NaN is 0


def verdict(error: BaseException) -> Verdict:  # noqa: C901, PLR0911  one for each kind of error
    """Return what an exception out of an agent's code means."""
    match error:
        case AttemptFailed():
            return error.verdict
        case RetryLater():
            return Verdict(failed(error.code, _said(error)).failure, delay_s=error.delay_s)
        case RateLimited():
            return Verdict(failed(error.code, _said(error)).failure, delay_s=error.retry_after_s, provider=error.provider)
        case DependencyDown() | SealKeyMissing():  # keys are being rotated: whoever has the key can do it
            return Verdict(failed(error.code, _said(error)).failure, delay_s=error.retry_after_s, later=True)
        case GiveUp() | BudgetExhausted():
            return failed(error.error_code if isinstance(error, GiveUp) else error.code, _said(error), final=True)
        case ToolFailed():
            return failed(error.code, _said(error), final=error.final)
        case InboxFull():
            return Verdict(failed(error.code, _said(error)).failure, delay_s=error.retry_after_s)
        case MessageForbidden():
            return failed(error.code, _said(error), final=True)
        # Its result, step or sub-tasks can't be carried, or what it was given is lost: it would be the same the next time.
        case SubmissionError() | ArtifactLost() | SealBroken():
            return failed(error.code, _said(error), final=True, detail=_trace(error))
        case SystemExit():
            return failed("agent_exited", f"the agent's code asked the process to exit with {error.code!r}")
        case MemoryError():
            return failed(MEMORY_LIMIT, "the agent ran out of memory")
        case _:
            code = error.code if isinstance(error, AmasError) else "agent_error"
            name, text = type(error).__name__, _said(error)
            return failed(code, f"{name}: {text}" if text else name, detail=_trace(error))


def _said(error: BaseException) -> str:
    """Return an exception's text; its class may be the agent's own, and may fail at that."""
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001  foreign code
        return f"(its text can't be had: {type(worse).__name__})"


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
