"""Run-books: what is to be done about an alert, as declared steps that the fleet follows itself or a person confirms.

A run-book comes from a file (`fleet/runbooks.py`); a run carries the run-book as it was when it began, so that a changed file
changes no run that is under way. `core/runbooks.py` decides what comes next, `controllers/runbooks.py` does it.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from amas.model.alerts import Condition
from amas.model.task import Json

Action = Literal[
    "check",
    "wait",
    "restart_host",
    "cordon",
    "uncordon",
    "drain",
    "undrain",
    "restart_pool",
    "scale",
    "quarantine",
    "release",
    "pause_workflows",
    "resume_workflows",
    "recover",
    "back_up",
    "verify_backup",
    "page",
]
StepStatus = Literal["todo", "asking", "confirmed", "running", "succeeded", "failed", "skipped", "cancelled"]
RunStatus = Literal["running", "asking", "succeeded", "failed", "cancelled"]

TAKES: dict[Action, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "check": (("that",), ()),
    "wait": (("for",), ()),
    "restart_host": (("host",), ()),
    "cordon": (("host",), ()),
    "uncordon": (("host",), ()),
    "drain": (("host",), ()),
    "undrain": (("host",), ()),
    "restart_pool": (("pool",), ()),
    "scale": (("pool",), ("by", "to", "most")),
    "quarantine": ((), ("agent", "host", "for")),
    "release": ((), ("agent",)),
    "pause_workflows": ((), ()),
    "resume_workflows": ((), ()),
    "recover": ((), ()),
    "back_up": ((), ()),
    "verify_backup": ((), ()),
    "page": (("say",), ()),
}
"""What each action needs, and what else it takes."""
STEPS_MAX = 50


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do, or to make sure of."""

    do: Action
    name: str
    """For people; the action where the file says nothing."""
    host: str = ""
    """`$host` stands for what the run is about, here and in `agent`, `pool`, `that` and `say`."""
    agent: str = ""
    """Whom `quarantine` means, else a host's that are unwell; and whom `release`, else all that steps above quarantined."""
    pool: str = ""
    by: int = 0
    """Agents more, or less, than the pool is to have now."""
    to: int | None = None
    most: int = 1000
    """What `scale` never goes beyond."""
    that: Condition | None = None
    wait_s: float = 0.0
    """For how long `wait` waits, and `quarantine` lasts; 0: until it is lifted."""
    say: str = ""
    when: Condition | None = None
    """The step is left out unless this holds."""
    confirm: Literal["auto", "person"] = "auto"
    confirm_within_s: float = 3600.0
    timeout_s: float = 60.0
    on_success: Literal["continue", "end"] = "continue"
    on_failure: Literal["stop", "continue", "page"] = "stop"
    """`page`: a person is told, and the run ends."""


class RunBook(msgspec.Struct, frozen=True, kw_only=True):
    """A declared procedure."""

    name: str
    steps: tuple[Step, ...]
    title: str = ""
    cooldown_s: float = 600.0
    """An alert starts no run for the same subject sooner than this after the last one began."""

    @property
    def needs(self) -> tuple[str, ...]:
        """What a run must be about: the names that stand after a `$` in its steps."""
        found = (name for step in self.steps for text in texts_of(step) for name in variables(text))
        return tuple(dict.fromkeys(found))


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    """How far one step of a run is."""

    status: StepStatus = "todo"
    since_ms: int = 0
    """When it came to this status."""
    by: str = ""
    """Who confirmed it; the fleet's own name where nobody had to."""
    outcome: str = ""
    memo: dict[str, Json] = msgspec.field(default_factory=dict)
    """What was to be reached, written down before anything was done: who does it again reaches the same."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a run-book."""

    id: str
    book: RunBook
    subject: dict[str, str]
    status: RunStatus
    begun_ms: int
    by: str
    """A person, or the alert that started it."""
    why: str = ""
    at: int = 0
    """The step that it is at."""
    steps: tuple[StepState, ...] = ()
    ended_ms: int = 0
    fingerprint: str = ""
    """Of the alert, and with `fired_ms` of its firing, that started it."""
    fired_ms: int = 0
    severity: Literal["critical", "warning", "info"] = "warning"

    @property
    def is_open(self) -> bool:
        """Whether it hasn't ended."""
        return self.status in {"running", "asking"}


class AuditLine(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what when in a run, and what came of it."""

    at_ms: int
    run: str
    runbook: str
    subject: dict[str, str]
    what: str
    """`began`, `asked`, `confirmed`, `refused`, `started`, `succeeded`, `failed`, `skipped`, `ended` or `cancelled`."""
    by: str
    step: str = ""
    """Its number and name; empty where the whole run is meant."""
    outcome: str = ""


def variables(text: str) -> list[str]:
    """Return the names after a `$` in a text."""
    return [_word(piece) for piece in text.split("$")[1:] if _word(piece)]


def _word(text: str) -> str:
    length = next((at for at, sign in enumerate(text) if not (sign.isalnum() or sign == "_")), len(text))
    return text[:length]


def texts_of(step: Step) -> Iterable[str]:
    """Return the texts of a step in which a `$name` may stand."""
    conditions = (each for each in (step.that, step.when) if each is not None)
    return (step.host, step.agent, step.pool, step.say, *(value for each in conditions for value in each.labels.values()))


def figures_of(books: Iterable[RunBook]) -> set[str]:
    """Return the figures that run-books look at."""
    return {each.figure for book in books for step in book.steps for each in (step.that, step.when) if each is not None}
