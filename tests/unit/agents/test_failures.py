"""What exceptions mean."""

import pytest

from amas.agents.failures import DETAIL_CHARS_MAX, MESSAGE_CHARS_MAX, AttemptFailed, failed, verdict
from amas.errors import GiveUp, PayloadTooLarge, RetryLater, TaskUnknown


@pytest.mark.parametrize(
    ("error", "code", "message", "final", "delay_s"),
    [
        (RetryLater("busy", delay_s=3.0), "retry_later", "busy", False, 3.0),
        (RetryLater(), "retry_later", "the agent asked to be tried again", False, None),
        (GiveUp("no", code="no_way"), "no_way", "no", True, None),
        (PayloadTooLarge("big"), "payload_too_large", "big", True, None),
        (TaskUnknown("who"), "task_unknown", "TaskUnknown: who", False, None),
        (MemoryError(), "memory_limit", "the agent ran out of memory", False, None),
        (KeyError("k"), "agent_error", "KeyError: 'k'", False, None),
        (ValueError(), "agent_error", "ValueError", False, None),
        (AttemptFailed(failed("x", "y", final=True)), "x", "y", True, None),
    ],
)
def test_an_exception_becomes_a_verdict(
    error: BaseException, code: str, message: str, final: bool, delay_s: float | None
) -> None:
    found = verdict(error)
    assert (found.failure.code, found.failure.message, found.final, found.delay_s) == (code, message, final, delay_s)


def test_texts_are_bounded_and_the_end_of_a_traceback_is_kept() -> None:
    def deep(level: int) -> None:
        if level:
            deep(level - 1)
        raise ValueError("x" * 100_000 + " the end")

    try:
        deep(50)
    except ValueError as error:
        found = verdict(error).failure
    assert len(found.message) == MESSAGE_CHARS_MAX
    assert len(found.detail) == DETAIL_CHARS_MAX and found.detail.endswith("the end\n")
