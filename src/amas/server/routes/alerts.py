"""Alerts: listed, silenced, tested."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.clock import new_id
from amas.controllers.alerts import read_alerts, receivers_of
from amas.core.alerts import fingerprint, why_never
from amas.engine.alerts import AlertStore, ReceiverState
from amas.engine.desired import DesiredState
from amas.errors import RunBookRefused
from amas.model.alerts import LABEL_CHARS_MAX, Alert, Notice, Silence, Status
from amas.model.fleet import FleetSpec
from amas.model.meant import did_you_mean
from amas.server import intake
from amas.server.alert_shapes import AlertPage, EndedSilence, NewSilence, RuleShape, SilencePage, TestedReceivers
from amas.server.contract import answers, encoded, takes
from amas.server.desired_shapes import Word
from amas.server.paging import Cursor, Limit, Page
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal
from amas.settings import AlertSettings

router = APIRouter(prefix="/api", tags=["alerts"])

SILENCE_S_MAX = 30 * 86_400.0
"""What is not to be told for longer needs another rule."""
_GRAVITY = ("critical", "warning", "info")
_STATUS = ("firing", "pending", "resolved")

_ALERT = Alert(
    fingerprint="5f0c6b1d2a3e4f50",
    rule="HostIdle",
    severity="critical",
    status="firing",
    labels={"host": "host-2"},
    value=75.0,
    reason="host host-2: host_idle_s is 75 s, above 60 s, for 30 s",
    since_ms=1_757_000_000_000,
    seen_ms=1_757_000_030_000,
    fired_ms=1_757_000_030_000,
    firings=(1_757_000_030_000,),
    told="firing",
    runbook="agent-unresponsive",
    summary="A host beats and does nothing while work waits.",
)
_PAGE = AlertPage(
    items=[_ALERT],
    at_ms=1_757_000_030_000,
    rules=[
        RuleShape(
            name="HostIdle",
            severity="critical",
            when="host_idle_s > 60",
            for_s=30,
            runbook="agent-unresponsive",
            summary=_ALERT.summary,
        )
    ],
    receivers=[ReceiverState(name="log", kind="log", told=12, last_ms=1_757_000_030_100)],
)
_SILENCE = Silence(
    id="0a6f5b7c8d9e",
    alert="HighCPUUsage",
    from_ms=1_757_000_000_000,
    until_ms=1_757_007_200_000,
    by="ada",
    why="the nightly build takes all cores",
)
_TESTED = TestedReceivers(id="test-0a6f5b7c8d9e", receivers=["log"])
_ENDED = EndedSilence(id=_SILENCE.id)
_NEW = NewSilence(alert="HighCPUUsage", for_s=7200, by="ada", why="the nightly build takes all cores")


async def declared(plane: ControlPlane) -> FleetSpec:
    """Return the fleet as it is declared now."""
    return (await DesiredState(plane.engine).read()).fleet or plane.fleet


@router.get("/alerts", summary="List alerts", **answers(AlertPage, _PAGE, problems=(422, 503)))
async def list_alerts(plane: Plane, status: Annotated[Status | None, Query()] = None) -> Response:
    """List alerts, the gravest first, with the rules in force and how it goes with those who are told."""
    store, fleet = AlertStore(plane.engine), await declared(plane)
    _, record = await read_alerts(store)
    items = [alert for alert in record.alerts.values() if status is None or alert.status == status]
    items.sort(key=lambda each: (_STATUS.index(each.status), _GRAVITY.index(each.severity), -each.since_ms, each.fingerprint))
    rules = [
        RuleShape(
            name=rule.name,
            severity=rule.severity,
            when=rule.when.text(),
            for_s=rule.for_s,
            runbook=rule.runbook,
            summary=rule.summary,
        )
        for rule in fleet.alerts.rules
    ]
    receivers = await store.receivers(receivers_in(fleet))
    return encoded(AlertPage(items=items, at_ms=record.at_ms, rules=rules, receivers=receivers))


@router.post(
    "/alerts/test",
    summary="Tell every receiver of a test",
    openapi_extra=takes(Word, Word(by="ada")),
    **answers(TestedReceivers, _TESTED, status=202, problems=(400, 413, 415, 422, 503)),
)
async def test_alerts(request: Request, plane: Plane) -> Response:
    """Put a test notice into the queue of every receiver; `GET /api/alerts` says how telling each goes."""
    new = await intake.read_one(request, Word)
    store, receivers = AlertStore(plane.engine), receivers_in(await declared(plane))
    now_ms, test_id = store.now_ms(), f"test-{new_id()[-12:]}"
    alert = Alert(
        fingerprint=fingerprint("AmasTest", {"test": test_id}),
        rule="AmasTest",
        severity="info",
        status="firing",
        labels={"test": test_id},
        value=0.0,
        reason=f"{new.by} tests who is told",
        since_ms=now_ms,
        seen_ms=now_ms,
        fired_ms=now_ms,
        summary="A test of alerts: nothing is wrong.",
    )
    await store.tell([Notice(id=test_id, status="test", alert=alert, at_ms=now_ms)], receivers)
    return encoded(TestedReceivers(id=test_id, receivers=receivers), 202)


@router.get(
    "/silences", summary="List silences", **answers(SilencePage, SilencePage(items=[_SILENCE], next=None), problems=(422, 503))
)
async def list_silences(plane: Plane, limit: Limit = 1000, cursor: Cursor = "") -> Response:
    """List silences with who wants each, why, and until when."""
    found = await AlertStore(plane.engine).silences()
    items, following = Page(limit, cursor).of(found, lambda silence: f"{silence.until_ms:014} {silence.id}")
    return encoded(SilencePage(items=items, next=following))


@router.post(
    "/silences",
    summary="Silence an alert",
    openapi_extra=takes(NewSilence, _NEW),
    **answers(Silence, _SILENCE, status=201, problems=(400, 413, 415, 422, 503)),
)
async def add_silence(request: Request, plane: Plane) -> Response:
    """Have nobody told of an alert, and no run-book follow it, for a while; it stays listed."""
    new = await intake.read_one(request, NewSilence)
    rules = (await declared(plane)).alerts.rules
    names = [rule.name for rule in rules]
    faults = [*_faults(new)]
    if new.alert != "*" and new.alert not in names:
        known = did_you_mean(new.alert, names) or f": there are {', '.join(names) or 'none'}"
        faults.append(Fault(detail=f"there is no rule {new.alert!r}{known}", pointer="#/alert"))
    elif why := why_never([rule for rule in rules if new.alert in {"*", rule.name}], new.labels):
        faults.append(Fault(detail=why, pointer="#/labels"))
    if faults:
        raise Refusal(*faults)
    store = AlertStore(plane.engine)
    now_ms = store.now_ms()
    silence = Silence(
        id=new_id()[-12:],
        alert=new.alert,
        labels=new.labels,
        from_ms=now_ms,
        until_ms=now_ms + round(new.for_s * 1000),
        by=new.by,
        why=new.why,
    )
    await store.silence(silence)
    return encoded(silence, 201)


@router.delete("/silences/{silence_id}", summary="End a silence", **answers(EndedSilence, _ENDED, problems=(409, 422, 503)))
async def drop_silence(silence_id: Annotated[str, Path(max_length=100)], plane: Plane) -> Response:
    """Forget a silence: what fires is told at the next look."""
    if not await AlertStore(plane.engine).unsilence(silence_id):
        raise RunBookRefused(f"there is no silence {silence_id!r}: `amas alerts` lists them")
    return encoded(EndedSilence(id=silence_id))


def _faults(new: NewSilence) -> list[Fault]:
    faults = []
    if not 0 < new.for_s <= SILENCE_S_MAX:
        faults.append(Fault(detail=f"must be from 0 to {SILENCE_S_MAX:g} seconds", pointer="#/for_s"))
    missing = [name for name in ("by", "why") if not getattr(new, name).strip()]
    faults += [Fault(detail=f"say {name}: others will ask", pointer=f"#/{name}") for name in missing]
    if any(len(text) > LABEL_CHARS_MAX for item in new.labels.items() for text in item) or len(new.labels) > 20:
        faults.append(Fault(detail=f"are at most 20 labels of {LABEL_CHARS_MAX} characters", pointer="#/labels"))
    return faults


def receivers_in(fleet: FleetSpec) -> list[str]:
    """Return the names of all who are told of this fleet's alerts."""
    return receivers_of(fleet.alerts, alertmanager=bool(AlertSettings.read().alertmanager_url))
