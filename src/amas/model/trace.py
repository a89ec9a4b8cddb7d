"""W3C trace context (https://www.w3.org/TR/trace-context/): the text that travels with tasks and messages, and spans' ids.

The text is the submitter's and travels unchanged from a task to its sub-tasks. Whose span is whose parent follows from ids that
tasks have anyway: a span's id is a digest of what it stands for, so that a host can name a span that another process tells of.
"""

import re
from hashlib import sha256
from typing import NamedTuple

_HEADER = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class TraceContext(NamedTuple):
    """A place in a trace."""

    trace_id: str
    """32 hexadecimal digits."""
    span_id: str
    """16 of them: the parent of what comes next."""
    sampled: bool
    """Whether spans of this trace are kept."""

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


def parse(traceparent: str) -> TraceContext | None:
    """Return what a `traceparent` says; None for one that says nothing, which is then as good as none."""
    found = _HEADER.fullmatch(traceparent)
    if found is None or (found[1] == "00" and found[5]):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & _SAMPLED))


def span_of(thing: str) -> str:
    """Return the id of the span that stands for a workflow, a task or `attempt_name`."""
    return sha256(thing.encode()).hexdigest()[:16]


def attempt_name(task_id: str, attempt: int) -> str:
    """Return what an attempt is called for `span_of`."""
    return f"{task_id}/{attempt}"
