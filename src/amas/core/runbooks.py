"""What comes next in a run of a run-book, one transition at a time. Pure: the duty stores each transition before it goes on.

    following(run, readings, now_ms) -> Transition   the run has come further: store it, with its line of the audit
                                      | Act           do this, then say `started` or `settled`
                                      | None          nothing until somebody confirms, or a figure or the time has changed

A step is `todo`, `asking` where a person is to confirm it, `running`, and has then succeeded, failed or been skipped. What a step
is to reach is written down as it begins (its memo), so that a control plane that takes over does the same and not it again.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Literal, NamedTuple

from msgspec.structs import replace

from amas.core.agents import why_no_agent
from amas.model.alerts import Alert, Condition, Labels, Readings
from amas.model.desired import Desired
from amas.model.meant import meant_or_known
from amas.model.runbook import AuditLine, Run, RunBook, Step, StepState, StepStatus, variables
from amas.model.task import Json

SYSTEM = "amas"
"""Who did it, where nobody was asked."""
OPEN_MAX = 50
"""Runs at a time that alerts started; what is beyond begins when there is room."""


class Transition(NamedTuple):
    """A run after one change."""

    run: Run
    line: AuditLine
    page: str = ""
    """What a person is to be told; empty for nothing."""


class Act(NamedTuple):
    """What is to be done now: find out what the step is to reach, or reach it."""

    kind: Literal["prepare", "carry_out"]
    step: Step


class Cause(NamedTuple):
    """What started a run."""

    by: str
    why: str
    alert: Alert | None = None


def begun(book: RunBook, subject: Mapping[str, str], cause: Cause, *, run_id: str, now_ms: int) -> Transition:
    """Return a new run with its first line."""
    by, why, alert = cause
    run = Run(
        id=run_id,
        book=book,
        subject=dict(subject),
        status="running",
        begun_ms=now_ms,
        by=by,
        why=why,
        steps=tuple(StepState() for _ in book.steps),
        fingerprint=alert.fingerprint if alert else "",
        fired_ms=alert.fired_ms if alert else 0,
        severity=alert.severity if alert else "warning",
    )
    return Transition(run, _line(run, "began", by=by, now_ms=now_ms, outcome=why, whole=True))


def mistaken(book: RunBook, subject: Mapping[str, str], desired: Desired, hosts: Collection[str]) -> str:
    """Return what is wrong with what a person says that a run is about, as a sentence; "" when it is sound.

    `hosts`: all that may be meant, those that were lost among them.
    """
    for name in book.needs:
        if not subject.get(name):
            return f"{book.name} is about a {name}: say which, as {name}=NAME"
    about = f"a {' and a '.join(book.needs)} alone" if book.needs else "nothing that could be named"
    for name, value in subject.items():
        if name not in book.needs:
            return f"{book.name} is about {about}: leave {name}={value} out"
        if unknown := _unknown(name, value, desired, hosts):
            return unknown
    return ""


def _unknown(name: str, value: str, desired: Desired, hosts: Collection[str]) -> str:
    """Return that a fleet has no such host, pool or agent; "" where it has, and for what else a run may be about."""
    pools = {pool.name: pool for pool in desired.pools}
    if name == "host" and value not in hosts:
        return f"there is no host {value!r}{meant_or_known(value, hosts)}"
    if name == "pool" and value not in pools:
        return f"there is no pool {value!r}{meant_or_known(value, pools)}"
    return why_no_agent(value, pools.values()) if name == "agent" else ""


def due(alerts: Iterable[Alert], books: Mapping[str, RunBook], runs: Sequence[Run], *, now_ms: int) -> list[Transition]:
    """Return the runs that alerts start now: one for each firing, and none too soon after another for the same subject.

    `runs`: the newest ones. A silence holds run-books back too: who silences an alert is at it.
    """
    found: list[Transition] = []
    room = OPEN_MAX - sum(run.is_open for run in runs)
    firing = [alert for alert in alerts if alert.status == "firing" and not alert.silenced_by and alert.runbook in books]
    for alert in sorted(firing, key=lambda each: (each.severity != "critical", each.fired_ms, each.fingerprint)):
        book = books[alert.runbook]
        if any(name not in alert.labels for name in book.needs):
            continue
        subject = {name: alert.labels[name] for name in book.needs}
        before = [run for run in (*runs, *(each.run for each in found)) if run.book.name == book.name]
        if any((run.fingerprint, run.fired_ms) == (alert.fingerprint, alert.fired_ms) for run in before):
            continue
        same = [run for run in before if run.subject == subject]
        if any(run.is_open or now_ms - run.begun_ms < book.cooldown_s * 1000 for run in same):
            continue
        if len(found) >= room:
            break
        run_id = sha256(f"{book.name}\n{alert.fingerprint}\n{alert.fired_ms}".encode()).hexdigest()[:12]
        why = f"{alert.rule}: {alert.reason}"
        found.append(begun(book, subject, Cause(f"alert {alert.rule}", why, alert), run_id=run_id, now_ms=now_ms))
    return found


def following(run: Run, readings: Readings | None, now_ms: int) -> Transition | Act | None:
    """Return what comes next; see the head of this file."""
    step, state = run.book.steps[run.at], run.steps[run.at]
    match state.status:
        case "todo":
            return _beginning(run, step, readings, now_ms)
        case "asking":
            if now_ms - state.since_ms >= step.confirm_within_s * 1000:
                return _ended(run, "failed", f"nobody confirmed it within {step.confirm_within_s:,.0f} s", now_ms)
            return None
        case "confirmed":
            return Act("prepare", step)
        case _:
            return _running(run, step, readings, now_ms)


def _beginning(run: Run, step: Step, readings: Readings | None, now_ms: int) -> Transition | Act | None:
    if step.when is not None:
        if readings is None:
            return None
        if not holds(step.when, run.subject, readings)[0]:
            return _ended(run, "skipped", f"{step.when.text()} doesn't hold", now_ms)
    if step.confirm == "person":
        asked = _at(run, StepState(status="asking", since_ms=now_ms))
        line = _line(asked, "asked", by=SYSTEM, now_ms=now_ms, outcome=f"waits for a person for {step.confirm_within_s:,.0f} s")
        return Transition(
            replace(asked, status="asking"), line, page=f"confirm the step {step.name!r}: amas runbook confirm {run.id}"
        )
    return Act("prepare", step)


def _running(run: Run, step: Step, readings: Readings | None, now_ms: int) -> Transition | Act | None:
    since_ms = run.steps[run.at].since_ms
    over = now_ms - since_ms >= step.timeout_s * 1000
    if step.do == "check":
        assert step.that is not None
        words = "its figure wasn't read"
        if readings is not None and readings.at_ms > since_ms:
            ok, words = holds(step.that, run.subject, readings)
            if ok:
                return _ended(run, "succeeded", words, now_ms)
        return _ended(run, "failed", f"{words}, after {step.timeout_s:,.0f} s", now_ms) if over else None
    if step.do == "wait":
        waited = now_ms - since_ms >= step.wait_s * 1000
        return _ended(run, "succeeded", f"waited {step.wait_s:,.0f} s", now_ms) if waited else None
    return _ended(run, "failed", f"it wasn't done within {step.timeout_s:,.0f} s", now_ms) if over else Act("carry_out", step)


def holds(condition: Condition, subject: Mapping[str, str], readings: Readings) -> tuple[bool, str]:
    """Return whether a condition holds now, and the words for it: all readings that it picks must, one at least.

    The sum of no readings is 0.
    """
    labels = {name: filled(value, subject) for name, value in condition.labels.items()}
    if condition.figure in readings.unread:
        return False, f"{condition.figure} can't be read"
    values = [each.value for each in readings.of(condition.figure, labels)]
    if condition.fold == "sum":
        values = [sum(values)]
    elif condition.fold and values:
        values = [{"max": max, "min": min}.get(condition.fold, _mean)(values)]
    if not values:
        return (
            False,
            f"there is no {condition.figure} {', '.join(f'of {name} {value}' for name, value in labels.items())}".strip(),
        )
    wrong = [value for value in values if not condition.holds(value)]
    name = f"{condition.fold}({condition.figure})" if condition.fold else condition.figure
    value = (wrong or values)[0]
    return not wrong, f"{name} is {value:g}, {'as' if not wrong else 'not'} {condition.compare} {condition.threshold:g}"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def filled(text: str, subject: Mapping[str, str]) -> str:
    """Return a text with what the run is about in the place of each `$name`; longer names first."""
    for name in sorted(variables(text), key=len, reverse=True):
        text = text.replace(f"${name}", subject.get(name, ""))
    return text


def started(run: Run, memo: dict[str, Json], now_ms: int) -> Transition:
    """Return a run whose step begins; `memo` is what it is to reach."""
    by = run.steps[run.at].by or SYSTEM
    after = replace(_at(run, StepState(status="running", since_ms=now_ms, by=by, memo=memo)), status="running")
    reach = ", ".join(f"{name} {value}" for name, value in memo.items() if not isinstance(value, list))
    return Transition(after, _line(after, "started", by=by, now_ms=now_ms, outcome=reach))


def settled(run: Run, *, ok: bool, outcome: str, now_ms: int) -> Transition:
    """Return a run whose step was carried out, or can't be."""
    return _ended(run, "succeeded" if ok else "failed", outcome, now_ms)


def confirmed(run: Run, *, by: str, refuse: bool, comment: str, now_ms: int) -> Transition | None:
    """Return a run of which a person confirmed the step that asks, or refused it; None when none asks."""
    if run.status != "asking":
        return None
    if refuse:
        refused = _at(run, replace(run.steps[run.at], by=by))
        return _ended(refused, "failed", f"{by} refused{f': {comment}' if comment else ''}", now_ms, what="refused")
    after = replace(_at(run, StepState(status="confirmed", since_ms=now_ms, by=by)), status="running")
    return Transition(after, _line(after, "confirmed", by=by, now_ms=now_ms, outcome=comment))


def cancelled(run: Run, *, by: str, comment: str, now_ms: int) -> Transition | None:
    """Return a run that a person ended, and the step that it was at; what was done stays done. None when it has ended."""
    if not run.is_open:
        return None
    state = run.steps[run.at]
    if state.status != "todo":
        run = _at(run, replace(state, status="cancelled", since_ms=now_ms, outcome=f"{by} cancelled the run"))
    after = replace(run, status="cancelled", ended_ms=now_ms)
    return Transition(after, _line(after, "cancelled", by=by, now_ms=now_ms, outcome=comment))


def _at(run: Run, state: StepState) -> Run:
    return replace(run, steps=(*run.steps[: run.at], state, *run.steps[run.at + 1 :]))


def _ended(run: Run, status: StepStatus, outcome: str, now_ms: int, *, what: str = "") -> Transition:
    """Return a run whose step has ended, at its next step or at its end."""
    step, state = run.book.steps[run.at], run.steps[run.at]
    after = _at(run, replace(state, status=status, since_ms=now_ms, outcome=outcome, by=state.by or SYSTEM))
    line = _line(after, what or status, by=state.by or SYSTEM, now_ms=now_ms, outcome=outcome)
    if status == "failed" and step.on_failure != "continue":
        page = f"{step.name!r} failed: {outcome}" if step.on_failure == "page" else ""
        return Transition(replace(after, status="failed", ended_ms=now_ms), line, page)
    last = run.at + 1 == len(run.book.steps) or (status == "succeeded" and step.on_success == "end")
    if last:
        return Transition(replace(after, status="succeeded", ended_ms=now_ms), line)
    return Transition(replace(after, status="running", at=run.at + 1), line)


def _line(run: Run, what: str, *, by: str, now_ms: int, outcome: str = "", whole: bool = False) -> AuditLine:
    step = "" if whole or what == "cancelled" else f"{run.at + 1} {run.book.steps[run.at].name}"
    return AuditLine(
        at_ms=now_ms, run=run.id, runbook=run.book.name, subject=run.subject, what=what, by=by, step=step, outcome=outcome
    )


def page_labels(run: Run) -> Labels:
    """Return the labels under which a person is told of a run."""
    return {**run.subject, "runbook": run.book.name, "run": run.id}
