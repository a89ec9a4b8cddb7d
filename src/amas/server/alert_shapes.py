"""What the API says of alerts, silences, run-books and their runs."""

from typing import Annotated

import msgspec

from amas.engine.alerts import ReceiverState
from amas.model.alerts import Alert, Severity, Silence
from amas.model.runbook import AuditLine, Run
from amas.server.desired_shapes import Reason
from amas.server.page_shapes import Paged
from amas.server.shapes import Given, Line


class RuleShape(msgspec.Struct, frozen=True, kw_only=True):
    """A rule as it is in force."""

    name: str
    severity: Severity
    when: str
    for_s: float
    runbook: str
    summary: str


class AlertPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every alert, the gravest first, with the rules they come from and how it goes with those who are told."""

    items: list[Alert]
    at_ms: int
    """When the figures were last looked at; 0: not yet."""
    rules: list[RuleShape]
    receivers: list[ReceiverState]


class TestedReceivers(msgspec.Struct, frozen=True, kw_only=True):
    """Who is told of a test alert."""

    id: str
    """Of the notice."""
    receivers: list[str]


class NewSilence(Given, frozen=True):
    """What is not to be told, nor acted on, for a while."""

    alert: str
    """A rule's name; `*` for all."""
    for_s: float
    by: Line
    why: Reason
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Only alerts that carry these."""


class SilencePage(Paged, frozen=True, kw_only=True):
    """Every silence, the one that ends first first; one that is over is listed for another hour."""

    items: list[Silence]


class EndedSilence(msgspec.Struct, frozen=True, kw_only=True):
    """A silence that is no more."""

    id: str


class RunBookShape(msgspec.Struct, frozen=True, kw_only=True):
    """A run-book."""

    name: str
    title: str
    needs: list[str]
    """What a run must be about, such as a host."""
    rules: list[str]
    """The alerts that start it."""
    steps: list[str]
    """Each in words."""


class RunBookPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every run-book of the fleet."""

    items: list[RunBookShape]


class NewRun(Given, frozen=True):
    """A run of a run-book, asked for by a person."""

    by: Line
    subject: Annotated[dict[Line, Line], msgspec.Meta(max_length=20)] = msgspec.field(default_factory=dict)
    why: Reason = ""


class RunPage(msgspec.Struct, frozen=True, kw_only=True):
    """Runs of run-books, newest first."""

    items: list[Run]


class RunAnswer(Given, frozen=True):
    """A person's word on a run."""

    by: Line
    comment: Reason = ""
    refuse: bool = False
    """Only where a run asks: no instead of yes."""


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """What was done in runs, by whom, and what came of it, newest first."""

    items: list[AuditLine]
