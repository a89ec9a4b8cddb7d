"""Which alerts are pending, firing and resolved: a pure step from what was to what is, given new readings.

    evaluate(rules, before, readings, silences) -> Evaluation(alerts, notices)

What `before` holds is all the memory there is, so whoever leads next goes on from it. An alert fires once its condition has held
for the rule's `for_s`, and is resolved once it hasn't for `clear_s`. Damping: each further firing within an hour doubles the
latter, so that what flaps fires a handful of times and then stays. A reading that is gone is one that doesn't hold; a figure that
couldn't be read leaves its alerts as they are. Each firing is told once, and so is its end.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Literal, NamedTuple

from msgspec.structs import replace

from amas.model.alerts import FIGURES, Alert, AlertRule, Labels, Notice, Reading, Readings, Silence
from amas.model.meant import did_you_mean

FLAP_WINDOW_MS = 3_600_000
CLEAR_S_MAX = 1800.0
"""However often it fired, half an hour of quiet resolves an alert."""
CLEAR_S_MIN = 5.0
"""What damping doubles where a rule says 0."""
GAP_MS = 120_000
"""After a longer time without a look, a pending alert begins anew: nobody knows whether its condition held meanwhile."""
ALERTS_MAX = 2000
"""A rule that fires for more subjects says nothing more by it; the gravest are kept."""
_GRAVITY = {"critical": 0, "warning": 1, "info": 2}


class Evaluation(NamedTuple):
    """What came of a look."""

    alerts: dict[str, Alert]
    """By fingerprint."""
    notices: list[Notice]
    """What receivers are to be told now."""


class _Seen(NamedTuple):
    """One subject of one rule at one look."""

    rule: AlertRule
    labels: Labels
    value: float | None
    """None: there is no such reading any more."""


def fingerprint(rule: str, labels: Mapping[str, str]) -> str:
    """Return what tells a rule's alert for one subject from any other."""
    text = "\n".join([rule, *(f"{name}={value}" for name, value in sorted(labels.items()))])
    return sha256(text.encode()).hexdigest()[:16]


def clear_s(rule: AlertRule, firings: Sequence[int], now_ms: int) -> float:
    """Return for how many seconds a firing alert's condition must not hold before it is resolved."""
    again = sum(now_ms - at < FLAP_WINDOW_MS for at in firings) - 1
    if again <= 0:
        return rule.clear_s
    doubled: float = max(rule.clear_s, CLEAR_S_MIN) * 2.0**again
    return min(doubled, max(CLEAR_S_MAX, rule.clear_s))


def evaluate(
    rules: Iterable[AlertRule], before: Mapping[str, Alert], readings: Readings, silences: Iterable[Silence]
) -> Evaluation:
    """Return all alerts after these readings, and the notices that are due; `before` are those after the last ones."""
    now_ms, by_name = readings.at_ms, {rule.name: rule for rule in rules}
    seen = {fingerprint(each.rule.name, each.labels): each for rule in by_name.values() for each in _subjects(rule, readings)}
    alerts: dict[str, Alert] = {}
    for print_, alert in before.items():
        rule = by_name.get(alert.rule)
        if rule is not None and rule.when.figure in readings.unread:
            alerts[print_] = alert
        elif rule is None:
            _keep(alerts, _ended(alert, now_ms, "its rule is gone") if alert.status == "firing" else None)
        else:
            found = seen.pop(print_, None) or _Seen(rule, alert.labels, None)
            _keep(alerts, _followed(alert, found, now_ms))
    new = sorted(seen.items(), key=lambda item: (_GRAVITY[item[1].rule.severity], item[0]))
    for print_, found in new:
        if found.value is not None and found.rule.when.holds(found.value) and len(alerts) < ALERTS_MAX:
            alerts[print_] = _begun(print_, found, now_ms)
    held = list(silences)
    told = [_told(replace(alert, silenced_by=_silence_of(alert, held, now_ms)), now_ms) for alert in alerts.values()]
    return Evaluation({alert.fingerprint: alert for alert, _ in told}, [notice for _, notice in told if notice])


def _keep(alerts: dict[str, Alert], alert: Alert | None) -> None:
    if alert is not None:
        alerts[alert.fingerprint] = alert


def _subjects(rule: AlertRule, readings: Readings) -> list[_Seen]:
    """Return what a rule looks at; a fold of no readings is none."""
    if rule.when.figure in readings.unread:
        return []
    picked = [each for each in readings.of(rule.when.figure) if rule.when.picks(each.labels)]
    if not rule.when.fold:
        return [_Seen(rule, {**each.labels, **rule.labels}, each.value) for each in picked]
    return [_Seen(rule, {**rule.when.labels, **rule.labels}, _folded(rule.when.fold, picked))] if picked else []


def labels_of(rule: AlertRule) -> dict[str, str]:
    """Return the labels that a rule's alerts have, each with its value where that is always the same, else empty."""
    told_apart = rule.when.labels if rule.when.fold else dict.fromkeys(FIGURES[rule.when.figure].labels, "") | rule.when.labels
    return {**told_apart, **rule.labels}


def why_never(rules: Sequence[AlertRule], labels: Mapping[str, str]) -> str:
    """Return why no alert of these rules can ever have these labels, with those that there are; "" where one can."""
    has = [labels_of(rule) for rule in rules]
    known = sorted({name for of in has for name in of})
    whose = f"an alert of {rules[0].name}" if len(rules) == 1 else "an alert"
    for name, value in labels.items():
        values = {of[name] for of in has if name in of}
        if not values:
            return f"{whose} never has the label {name!r}{did_you_mean(name, known)}: it has {', '.join(known) or 'none'}"
        if value not in values and "" not in values:
            return f"{whose} never has {name}={value}{did_you_mean(value, values)}: it is {' or '.join(sorted(values))}"
    if has and all(labels.keys() - of.keys() for of in has):
        return f"no alert has all of the labels {', '.join(sorted(labels))} at the same time"
    return ""


def _folded(fold: str, picked: Sequence[Reading]) -> float:
    values = [each.value for each in picked]
    match fold:
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "avg":
            return sum(values) / len(values)
        case _:
            return sum(values)


def _begun(print_: str, found: _Seen, now_ms: int) -> Alert:
    rule, value = found.rule, found.value or 0.0
    alert = Alert(
        fingerprint=print_,
        rule=rule.name,
        severity=rule.severity,
        status="pending",
        labels=found.labels,
        value=value,
        reason=_reason(found, value, 0.0),
        since_ms=now_ms,
        seen_ms=now_ms,
        runbook=rule.runbook,
        summary=rule.summary,
    )
    return _risen(alert, found, now_ms)


def _risen(alert: Alert, found: _Seen, now_ms: int) -> Alert:
    """Return a pending alert, or one that fires because its time is over."""
    if now_ms - alert.since_ms < found.rule.for_s * 1000:
        return alert
    recent = tuple(at for at in alert.firings if now_ms - at < FLAP_WINDOW_MS)
    return replace(alert, status="firing", fired_ms=now_ms, clear_ms=0, resolved_ms=0, told="", firings=(*recent, now_ms))


def _followed(alert: Alert, found: _Seen, now_ms: int) -> Alert | None:
    """Return what an alert has become; None when it is to be forgotten."""
    holds = found.value is not None and found.rule.when.holds(found.value)
    if not holds:
        return _fallen(alert, found, now_ms)
    value, rule = found.value or 0.0, found.rule
    anew = alert.status == "resolved" or (alert.status == "pending" and now_ms - alert.seen_ms > GAP_MS)
    since_ms = now_ms if anew else alert.since_ms
    alert = replace(
        alert,
        severity=rule.severity,
        runbook=rule.runbook,
        summary=rule.summary,
        value=value,
        since_ms=since_ms,
        seen_ms=now_ms,
        clear_ms=0,
        reason=_reason(found, value, (now_ms - since_ms) / 1000),
        status="pending" if anew else alert.status,
    )
    return _risen(alert, found, now_ms) if alert.status == "pending" else alert


def _fallen(alert: Alert, found: _Seen, now_ms: int) -> Alert | None:
    """Return an alert whose condition doesn't hold."""
    if alert.status == "firing":
        since_ms = alert.clear_ms or now_ms
        wait_s = clear_s(found.rule, alert.firings, now_ms)
        if now_ms - since_ms >= wait_s * 1000:
            return _ended(alert, now_ms, _ended_because(found))
        return replace(alert, clear_ms=since_ms, seen_ms=now_ms)
    remembered = any(now_ms - at < FLAP_WINDOW_MS for at in alert.firings)
    if not remembered:
        return None
    return replace(alert, status="resolved", seen_ms=now_ms)


def _ended(alert: Alert, now_ms: int, reason: str) -> Alert:
    return replace(alert, status="resolved", resolved_ms=now_ms, seen_ms=now_ms, clear_ms=0, reason=reason)


def _ended_because(found: _Seen) -> str:
    if found.value is None:
        return f"{found.rule.when.figure} of {_subject(found.labels) or 'it'} is no more"
    return f"{found.rule.when.words(found.value).replace(', ', ', no longer ', 1)}"


def _reason(found: _Seen, value: float, held_s: float) -> str:
    subject = _subject({name: found.labels[name] for name in found.labels if name not in found.rule.labels})
    words = found.rule.when.words(value)
    held = f", for {held_s:,.0f} s" if held_s else ""
    return f"{subject}: {words}{held}" if subject else f"{words}{held}"


def _subject(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(labels.items()))


def _silence_of(alert: Alert, silences: Sequence[Silence], now_ms: int) -> str:
    return next((each.id for each in silences if each.covers(alert.rule, alert.labels, now_ms)), "")


def _told(alert: Alert, now_ms: int) -> tuple[Alert, Notice | None]:
    """Return an alert after what is due was told of it, and that; the end is told only to those who heard of the beginning."""
    if alert.status == "firing" and alert.told != "firing" and not alert.silenced_by:
        return (said := replace(alert, told="firing")), notice_of(said, now_ms)
    if alert.status == "resolved" and alert.told == "firing":
        return (said := replace(alert, told="resolved")), notice_of(said, now_ms)
    return alert, None


def notice_of(alert: Alert, now_ms: int) -> Notice:
    """Return the notice of a firing or resolved alert."""
    status: Literal["firing", "resolved"] = "firing" if alert.status == "firing" else "resolved"
    return Notice(id=f"{alert.fingerprint}-{alert.fired_ms}-{status}", status=status, alert=alert, at_ms=now_ms)
