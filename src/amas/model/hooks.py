"""Webhooks: addresses that are told when tasks, workflows and goals end, and when an approval waits for somebody.

What is told is an event (CloudEvents 1.0). A `Hook` is what somebody registered; a `HookEvent` is one event on its way to one
hook. `core/hooks.py` decides who is told what; `engine/hooks.py` keeps them, `controllers/webhooks.py` posts.
Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
"""

from typing import Any

import msgspec

ENDS = ("succeeded", "failed", "cancelled")
KINDS = (*(f"{what}.{end}" for what in ("task", "workflow", "goal") for end in ENDS), "approval.waiting")
"""What a hook may ask for. A goal's workflow is a goal: its end is told once."""
PATTERNS = (*KINDS, "task.*", "workflow.*", "goal.*", "approval.*", "*")
TEST = "webhook.test"
TYPE_PREFIX = "amas."
PER_TENANT_MAX = 20
"""A tenant's hooks; so that none takes what is there for all."""
HOOKS_MAX = 200
"""Of a cell: each that is slow has a thread."""


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody registered."""

    id: str
    url: str
    events: tuple[str, ...]
    """Of `PATTERNS`."""
    tenant: str = ""
    """Whose work alone it hears of; empty for everybody's."""
    workflow_id: str = ""
    """Only what belongs to this workflow; empty for all."""
    capability: str = ""
    """Only tasks of this capability; empty for all."""
    secret: str = ""
    """`env:NAME`, a variable of the control plane; empty: the fleet's own secret makes one for it."""
    created_ms: int
    by: str = ""


class HookState(msgspec.Struct, frozen=True, kw_only=True):
    """How it goes with a hook."""

    position: str
    """Up to which entry of the journal its events were taken."""
    waiting: int = 0
    """Events that it hasn't got yet."""
    given_up: int = 0
    """Events that were tried in vain until their time was over."""
    told: int = 0
    dropped: int = 0
    """Events that were given up and pushed out of that list by newer ones."""
    failing_ms: int = 0
    """Since when every post has failed; 0: the last one went well."""
    error: str = ""
    """Of the last failure, while it lasts."""
    last_ms: int = 0
    """When it last got something."""
    disabled_ms: int = 0
    """When it was disabled; 0: it isn't."""


class HookEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One event on its way to one hook."""

    id: str
    """The same for every try, and for every hook that is told."""
    kind: str
    subject: str
    """The task's or workflow's id."""
    at_ms: int
    """When it happened."""
    taken_ms: int
    """Since when it is tried."""
    tries: int = 0
    error: str = ""
    """Of the last try."""
    data: bytes = b"null"
    """JSON."""


class Occurrence(msgspec.Struct, frozen=True, kw_only=True):
    """Something that hooks may want to hear of."""

    id: str
    kind: str
    subject: str
    at_ms: int
    tenant: str = ""
    workflow_id: str = ""
    capability: str = ""
    data: dict[str, Any] = msgspec.field(default_factory=dict)
