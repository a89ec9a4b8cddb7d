"""Alerts: rules over a fixed set of figures, what came of them, and silences.

A rule says `queue_depth{pool=coder} > 1000` and for how long; the figures that may stand there are `FIGURES`. Rules come from the
fleet file (`fleet/alerts.py`) and from `alert_defaults.py`; `core/alerts.py` decides what fires, `controllers/alerts.py` asks it.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

Severity = Literal["critical", "warning", "info"]
Status = Literal["pending", "firing", "resolved"]
Unit = Literal["", "share", "s", "usd", "bytes"]
Labels = dict[str, str]

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
LABEL = re.compile(r"[a-z_][a-z0-9_]{0,31}")
RULES_MAX = 200
"""Each is looked at every few seconds."""
LABEL_CHARS_MAX = 200


class Figure(NamedTuple):
    """One figure that a rule may look at."""

    meaning: str
    labels: tuple[str, ...] = ()
    """What it is told apart by: a reading for each pool, host, ..."""
    unit: Unit = ""


FIGURES: Mapping[str, Figure] = {
    "queue_depth": Figure("tasks that wait in a pool's queues", ("pool",)),
    "oldest_waiting_s": Figure("seconds since the task that a pool gets next was submitted", ("pool",), "s"),
    "dead_letters": Figure("tasks that failed for good and were neither put back nor discarded"),
    "success_rate": Figure("share of the tasks that ended in the last five minutes and succeeded", (), "share"),
    "error_rate": Figure("share of the tasks that ended in the last five minutes and failed for good", (), "share"),
    "learned_success": Figure("share of a pool's attempts that succeed, as routing has learned it", ("pool",), "share"),
    "agents": Figure("agents on live hosts, by status", ("status",)),
    "agents_missing": Figure("agents of a pool that are wanted and on no live host", ("pool",)),
    "agents_unhealthy": Figure("agents of a host whose health check says no, and that aren't quarantined", ("host",)),
    "agents_quarantined": Figure("agents of a pool that are quarantined because they crashed again and again", ("pool",)),
    "pool_down": Figure("1 for a pool whose agents are all quarantined, so that its tasks wait", ("pool",)),
    "hosts": Figure("hosts that hold a lease"),
    "hosts_missing": Figure("hosts that are wanted and hold no lease"),
    "host_lost": Figure(
        "1 for a host that was lost and isn't back, while its tasks wait and for five minutes more",
        ("host",),
    ),
    "host_idle_s": Figure("seconds for which a host that beats has run nothing while tasks of its pools waited", ("host",), "s"),
    "host_up_s": Figure("seconds since a host registered", ("host",), "s"),
    "host_lag_s": Figure("seconds by which a host's event loop last answered late", ("host",), "s"),
    "host_cpu": Figure("share of one core that a host takes", ("host",), "share"),
    "host_memory": Figure("resident memory of a host", ("host",), "bytes"),
    "machine_cpu": Figure("share of the control plane's machine's cores that is busy", (), "share"),
    "machine_memory": Figure("share of the control plane's machine's memory that is taken", (), "share"),
    "disk_free": Figure("share of the disk below the fleet's home that is free", (), "share"),
    "recovery_s": Figure("mean seconds from a lost host's last sign of life until its tasks went on, of five minutes", (), "s"),
    "message_backlog": Figure("messages in the fullest inbox"),
    "budget_spent": Figure("share of a budget that is spent, of the amount that is nearest its end", ("budget",), "share"),
    "cost_per_hour": Figure("dollars spent in the last hour", (), "usd"),
    "records_lag_s": Figure("age of the oldest change that the records don't hold yet", (), "s"),
    "backup_age_s": Figure(
        "seconds since the newest back-up, or since the first was wanted, where the fleet file wants any", (), "s"
    ),
    "backups_missed": Figure("back-ups that should have been taken since the newest one, by the pause that the fleet file says"),
    "webhook_disabled": Figure("1 for a webhook that was disabled because it had long done nothing but fail", ("webhook",)),
    "work_lost": Figure("tasks that the records hold open and the engine doesn't know"),
}

_COMPARE = {
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    "==": lambda left, right: left == right,
    "!=": lambda left, right: left != right,
}
_WORDS = {">": "above", ">=": "at least", "<": "below", "<=": "at most", "==": "exactly", "!=": "other than"}
_SCALE = {"%": 0.01, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}
_OF_UNIT: Mapping[str, tuple[str, ...]] = {"share": ("%",), "s": ("ms", "s", "m", "h", "d"), "bytes": ("KiB", "MiB", "GiB")}
_WHEN = re.compile(
    r"(?:(?P<fold>sum|max|min|avg)\()?\s*(?P<figure>[a-z_]+)\s*(?:\{(?P<labels>[^}]*)\})?\s*(?P<close>\))?"
    r"\s*(?P<compare>>=|<=|==|!=|>|<)\s*(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>%|[A-Za-z]+)?"
)


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule looks at: a figure, which of its readings, and a bound."""

    figure: str
    fold: Literal["", "sum", "max", "min", "avg"] = ""
    """All readings made one; empty: each by itself."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Only readings that carry these."""
    compare: Literal[">", ">=", "<", "<=", "==", "!="] = ">"
    threshold: float = 0.0

    def holds(self, value: float) -> bool:
        """Return whether a value is on the wrong side."""
        return bool(_COMPARE[self.compare](value, self.threshold))

    def picks(self, labels: Mapping[str, str]) -> bool:
        """Return whether it looks at a reading with these labels."""
        return all(labels.get(name) == value for name, value in self.labels.items())

    def words(self, value: float) -> str:
        """Return `queue_depth is 1,200, above 1,000`."""
        unit = FIGURES[self.figure].unit
        name = f"{self.fold}({self.figure})" if self.fold else self.figure
        return f"{name} is {shown(value, unit)}, {_WORDS[self.compare]} {shown(self.threshold, unit)}"

    def text(self) -> str:
        """Return it as a fleet file writes it."""
        wanted = ",".join(f"{name}={value}" for name, value in self.labels.items())
        name = self.figure + (f"{{{wanted}}}" if wanted else "")
        return f"{f'{self.fold}({name})' if self.fold else name} {self.compare} {self.threshold:g}"


def parsed(text: str) -> Condition:
    """Return the condition that a text such as `machine_cpu > 80%` says; ValueError says what it should look like."""
    match = _WHEN.fullmatch(text.strip())
    if match is None or bool(match["fold"]) != bool(match["close"]):
        raise ValueError(
            f"{text!r} is no condition: write FIGURE > NUMBER, such as machine_cpu > 80% or queue_depth{{pool=coder}} > 100"
        )
    name, unit = match["figure"], match["unit"] or ""
    if name not in FIGURES:
        raise ValueError(f"{name!r} is no figure: there are {', '.join(FIGURES)}")
    units = _OF_UNIT.get(FIGURES[name].unit, ())
    if unit and unit not in units:
        raise ValueError(f"{name} can't be counted in {unit!r}: write {'a plain number' if not units else ', '.join(units)}")
    labels = _labels(name, match["labels"] or "")
    return Condition(
        figure=name,
        fold=match["fold"] or "",  # type: ignore[arg-type]
        labels=labels,
        compare=match["compare"],  # type: ignore[arg-type]
        threshold=float(match["number"]) * _SCALE.get(unit, 1.0),
    )


def _labels(figure: str, text: str) -> dict[str, str]:
    labels = {}
    for part in filter(None, (each.strip() for each in text.split(","))):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if name not in FIGURES[figure].labels or not sign or not value:
            known = ", ".join(FIGURES[figure].labels)
            raise ValueError(f"{part!r} picks no reading of {figure}: {f'write {known}=NAME' if known else 'it has one only'}")
        labels[name] = value.strip("\"'")
    return labels


def shown(value: float, unit: Unit) -> str:
    """Return a figure as people read it."""
    match unit:
        case "share":
            return f"{value * 100:.3g} %"
        case "s":
            return f"{value:,.4g} s" if value < 100 else f"{value:,.0f} s"
        case "usd":
            return f"${value:,.2f}"
        case "bytes":
            return f"{value / 2**20:,.0f} MiB"
        case _:
            return f"{value:,.6g}"


class AlertRule(msgspec.Struct, frozen=True, kw_only=True):
    """When to raise an alert, how grave it is, and what is to be done about it."""

    name: str
    severity: Severity
    when: Condition
    for_s: float = 0.0
    """Seconds for which the condition must hold; 0: at once."""
    clear_s: float = 30.0
    """Seconds for which it must hold no longer before the alert is resolved; doubled with every firing of the last hour."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Added to those of the reading, for receivers to route by."""
    runbook: str = ""
    """What the fleet follows when it fires."""
    summary: str = ""
    """For people: what it means."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """Where notices are posted to, as JSON."""

    name: str
    url: str
    severities: tuple[Severity, ...] = ("critical", "warning", "info")
    link_local: bool = False
    """Whether its address may be link-local, as cloud machines' metadata services are."""


class AlertsSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a fleet watches for, and who is told."""

    rules: tuple[AlertRule, ...] = ()
    webhooks: tuple[Webhook, ...] = ()


class Reading(msgspec.Struct, frozen=True):
    """One value of a figure."""

    figure: str
    value: float
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """All figures as they were at one time."""

    at_ms: int
    values: tuple[Reading, ...] = ()
    unread: frozenset[str] = frozenset()
    """Figures whose source didn't answer: what is known of them stands."""

    def of(self, figure: str, labels: Mapping[str, str] | None = None) -> list[Reading]:
        """Return a figure's readings that carry these labels."""
        wanted = (labels or {}).items()
        return [each for each in self.values if each.figure == figure and wanted <= each.labels.items()]


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """What is not to be told, nor acted on, for a while."""

    id: str
    alert: str
    """The rule's name; `*` for all."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    """Only alerts that carry these."""
    from_ms: int
    until_ms: int
    by: str
    why: str

    def covers(self, rule: str, labels: Mapping[str, str], now_ms: int) -> bool:
        """Return whether an alert is silenced now."""
        in_time = self.from_ms <= now_ms < self.until_ms
        return in_time and self.alert in {"*", rule} and self.labels.items() <= dict(labels).items()


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one rule for one subject."""

    fingerprint: str
    """Of the rule's name and the labels: the same for as long as both exist."""
    rule: str
    severity: Severity
    status: Status
    labels: dict[str, str]
    value: float
    reason: str
    """A sentence with the figures."""
    since_ms: int
    """When the condition began to hold."""
    seen_ms: int
    """When it was last looked at."""
    fired_ms: int = 0
    resolved_ms: int = 0
    clear_ms: int = 0
    """Since when the condition of a firing alert holds no longer; 0 while it does."""
    firings: tuple[int, ...] = ()
    """When it fired in the last hour, oldest first."""
    silenced_by: str = ""
    """The silence's id."""
    told: Literal["", "firing", "resolved"] = ""
    """What receivers were told last of this firing."""
    runbook: str = ""
    summary: str = ""


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What receivers are told: one of these for each alert and status."""

    id: str
    """Follows from the alert, its firing and its status: who gets one twice can tell."""
    status: Literal["firing", "resolved", "test", "page"]
    alert: Alert
    at_ms: int
