"""What the API says of webhooks."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from amas.model.hooks import PATTERNS
from amas.server.page_shapes import Paged
from amas.server.patterns import ADDRESS
from amas.server.shapes import Given, Line

Pattern = Literal[*PATTERNS]  # type: ignore[valid-type]  # one list for both; it is checked when bodies are read
Url = Annotated[str, Meta(min_length=1, max_length=2000, pattern=ADDRESS)]


class NewWebhook(Given, frozen=True):
    """An address to be told of ends and of approvals that wait."""

    url: Url
    events: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=20)] = ("task.*", "workflow.*", "goal.*", "approval.*")
    tenant: Line = ""
    """Whose work alone it hears of; empty for everybody's. A tenant's caller is told of that tenant's."""
    workflow_id: Annotated[str, Meta(max_length=100)] = ""
    """Only what belongs to this workflow."""
    capability: Line = ""
    """Only tasks of this capability."""
    secret: Annotated[str, Meta(max_length=100)] = ""
    """`env:AMAS_WEBHOOK_SECRET_...`, a variable where the control plane runs; empty: one is made and shown, this once."""
    by: Line = ""


class WebhookShape(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook and how it goes with it."""

    id: str
    url: str
    events: tuple[str, ...]
    tenant: str
    workflow_id: str
    capability: str
    created_ms: int
    by: str
    state: Literal["well", "failing", "disabled"]
    told: int
    waiting: int
    """Events that it hasn't got yet."""
    given_up: int
    """Events that were tried in vain until their time was over; they can be sent again."""
    dropped: int
    """Events that were given up and that newer ones pushed out of the list."""
    error: str
    """Why the last post failed, while that lasts."""
    failing_ms: int
    last_ms: int
    """When it last got something; 0: never."""


class MadeWebhook(WebhookShape, frozen=True, kw_only=True):
    """A new webhook."""

    secret: str
    """What its posts are signed with, shown this once; empty where it names a variable."""


class WebhookPage(Paged, frozen=True, kw_only=True):
    """Webhooks, oldest first."""

    items: list[WebhookShape]


class HookEventShape(msgspec.Struct, frozen=True, kw_only=True):
    """An event that a webhook hasn't got."""

    id: str
    type: str
    subject: str
    at_ms: int
    tries: int
    error: str
    """Of the last try."""
    data: Any


class HookEventPage(Paged, frozen=True, kw_only=True):
    """Events that a webhook hasn't got, those that happened last first."""

    items: list[HookEventShape]


class TestedWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a test event."""

    id: str
    event_id: str
    delivered: bool
    error: str
    """Why it wasn't; empty where it was, or where nobody knows yet."""


class Resent(msgspec.Struct, frozen=True, kw_only=True):
    """How many events are tried anew."""

    id: str
    count: int
