"""Tells receivers of alerts: the log, webhooks, and Prometheus's Alertmanager.

Each receiver has a queue in the engine, bounded, oldest first; a notice leaves it once the receiver has it. One that fails is
tried again after growing pauses and holds up no other. A process that dies between the receiver's answer and the queue's change
makes the next one tell it again, under the same id. Alertmanager forgets what it doesn't hear of, so what fires is told to it
again and again before its end is due. Source: https://prometheus.io/docs/alerting/latest/alerts_api/
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

import msgspec

from amas.clock import monotonic_s
from amas.controllers.alerts import ALERTMANAGER, LOG, Latest, read_alerts, receivers_of
from amas.controllers.errands import Errands
from amas.engine.alerts import AlertStore, Queued, ReceiverState
from amas.model.alerts import Alert, Notice, Webhook
from amas.observe import events
from amas.observe.logging import Log, process_log
from amas.policy.outbound import ANYWHERE, DECLARED, PostFailed, headers_of, post
from amas.settings import AlertSettings

PAUSE_S = 1.0
PATIENCE_S = 0.5
"""What receivers get within a sweep: one that takes longer is told on meanwhile, and holds up no other."""
BATCH = 50
POST_TIMEOUT_S = 5.0
BACKOFF_MIN_S, BACKOFF_MAX_S = 1.0, 300.0
RESEND_S = 60.0
ENDS_AFTER_MS = 180_000
"""Alertmanager takes an alert for over when it hasn't heard of it for so long: three times the pause between."""
PAGE_LASTS_MS = 300_000
"""A page, or a test, stands in Alertmanager for so long."""
_EVENTS = {
    "firing": events.ALERT_FIRED,
    "resolved": events.ALERT_RESOLVED,
    "test": events.ALERT_TEST,
    "page": events.PERSON_PAGED,
}


class Notifier:
    """Empties the receivers' queues."""

    name = "notices"

    def __init__(self, store: AlertStore, latest: Latest, settings: AlertSettings, *, patience_s: float = PATIENCE_S) -> None:
        """`patience_s`: what receivers get within a sweep."""
        self._store, self._latest, self._settings, self._patience_s = store, latest, settings, patience_s
        self.errands = Errands()
        self._again_at: dict[str, float] = {}
        self._resent_at = float("-inf")

    async def run_once(self) -> float:
        """Tell every receiver what waits for it and return the seconds until the next sweep."""
        names = receivers_of(self._latest.spec, alertmanager=bool(self._settings.alertmanager_url))
        due = [name for name in names if self._again_at.get(name, 0.0) <= monotonic_s() and not self.errands.under_way(name)]
        states = await self._store.receivers(due)
        resend = await self._to_resend() if ALERTMANAGER in due else []
        for state in states:
            again = resend if state.name == ALERTMANAGER else []
            if state.queued or again:
                self.errands.begin(state.name, self._serve(state, again))
        await self.errands.settle(patience_s=self._patience_s)
        return PAUSE_S

    async def _to_resend(self) -> list[Alert]:
        if monotonic_s() - self._resent_at < RESEND_S:
            return []
        self._resent_at = monotonic_s()
        _, record = await read_alerts(self._store)
        return [alert for alert in record.alerts.values() if alert.status == "firing" and alert.told == "firing"]

    async def _serve(self, state: ReceiverState, resend: Sequence[Alert]) -> None:
        queued = await self._store.queued(state.name, limit=BATCH)
        got: list[bytes] = []
        try:
            if state.name == LOG:
                for each in queued:
                    write_to_log(each.notice)
                got = [each.entry for each in queued]
            elif state.name == ALERTMANAGER:
                await self._tell_alertmanager([each.notice for each in queued], resend)
                got = [each.entry for each in queued]
            else:
                await self._tell_webhook(state.name, queued, got)
        except PostFailed as error:
            self._troubled(state, error)
            await self._store.told(_after(state, len(got), failures=state.failures + 1, error=str(error)), got)
        else:
            if state.failures:
                process_log().info("a receiver of alerts is back", event=events.RECEIVER_BACK, receiver=state.name)
            self._again_at.pop(state.name, None)
            await self._store.told(_after(state, len(got), at_ms=self._store.now_ms()), got)

    def _troubled(self, state: ReceiverState, error: PostFailed) -> None:
        pause_s = min(BACKOFF_MIN_S * 2 ** min(state.failures, 10), BACKOFF_MAX_S)
        self._again_at[state.name] = monotonic_s() + pause_s
        if state.name == ALERTMANAGER:
            self._resent_at = float("-inf")
        if not state.failures:
            process_log().warning(
                "a receiver of alerts can't be told", event=events.RECEIVER_TROUBLED, receiver=state.name, why=str(error)
            )

    async def _tell_webhook(self, name: str, queued: Iterable[Queued], got: list[bytes]) -> None:
        hook = next((hook for hook in self._latest.spec.webhooks if name == f"webhook:{hook.name}"), None)
        if hook is None:  # another fleet was applied meanwhile
            return
        for each in queued:
            if each.notice.alert.severity in hook.severities:
                at_s, fleet = self._store.now_ms() // 1000, self._latest.fleet.name
                await asyncio.to_thread(tell_webhook, hook, each.notice, fleet=fleet, secret=self._settings.secret, at_s=at_s)
            got.append(each.entry)

    async def _tell_alertmanager(self, notices: Sequence[Notice], resend: Sequence[Alert]) -> None:
        now_ms, fleet = self._store.now_ms(), self._latest.fleet.name
        by_alert = {alert.fingerprint: to_alertmanager(alert, fleet=fleet, now_ms=now_ms) for alert in resend}
        for notice in notices:  # the newest word on each alert counts
            by_alert[notice.alert.fingerprint] = to_alertmanager(notice.alert, fleet=fleet, now_ms=now_ms, status=notice.status)
        await asyncio.to_thread(tell_alertmanager, self._settings, list(by_alert.values()))


def _after(state: ReceiverState, got: int, *, failures: int = 0, error: str = "", at_ms: int = 0) -> ReceiverState:
    kind = state.name.partition(":")[0]
    last_ms = at_ms if got and at_ms else state.last_ms
    return msgspec.structs.replace(
        state, kind=kind, told=state.told + got, failures=failures, error=error, last_ms=last_ms, queued=0, dropped=0
    )


def tell_webhook(hook: Webhook, notice: Notice, *, fleet: str, secret: str, at_s: int) -> None:
    """Post a notice, signed where there is a secret; PostFailed when it didn't arrive. Blocks."""
    body = msgspec.json.encode(body_of(notice, fleet=fleet))
    headers = headers_of(notice.id, body, secret, at_s=at_s)
    post(hook.url, body, headers, reach=ANYWHERE if hook.link_local else DECLARED, timeout_s=POST_TIMEOUT_S)


def tell_alertmanager(settings: AlertSettings, alerts: Sequence[dict[str, object]]) -> None:
    """Post alerts as `to_alertmanager` makes them; PostFailed when they didn't arrive. Blocks."""
    url = settings.alertmanager_url.rstrip("/") + "/api/v2/alerts"
    post(url, msgspec.json.encode(alerts), {}, reach=ANYWHERE, timeout_s=POST_TIMEOUT_S)


def write_to_log(notice: Notice) -> None:
    """Write a notice into the log of this process."""
    alert, log = notice.alert, process_log()
    level: Callable[..., None] = _level(log, notice)
    level(
        "an alert",
        event=_EVENTS[notice.status],
        alert=alert.rule,
        severity=alert.severity,
        labels=alert.labels,
        why=alert.reason,
        runbook=alert.runbook,
        notice=notice.id,
    )


def _level(log: Log, notice: Notice) -> Callable[..., None]:
    if notice.status in {"resolved", "test"}:
        return log.info
    return {"critical": log.error, "warning": log.warning}.get(notice.alert.severity, log.info)


def iso(at_ms: int) -> str:
    """Return a time as RFC 3339 writes it."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def body_of(notice: Notice, *, fleet: str) -> dict[str, object]:
    """Return what a webhook gets."""
    alert = notice.alert
    return {
        "id": notice.id,
        "status": notice.status,
        "alert": alert.rule,
        "fingerprint": alert.fingerprint,
        "severity": alert.severity,
        "fleet": fleet,
        "labels": alert.labels,
        "value": alert.value,
        "reason": alert.reason,
        "summary": alert.summary,
        "runbook": alert.runbook,
        "since": iso(alert.since_ms),
        "fired": iso(alert.fired_ms) if alert.fired_ms else None,
        "resolved": iso(alert.resolved_ms) if alert.resolved_ms else None,
    }


def to_alertmanager(alert: Alert, *, fleet: str, now_ms: int, status: str = "") -> dict[str, object]:
    """Return an alert as Alertmanager's API v2 takes it."""
    match status or alert.status:
        case "resolved":
            ends_ms = alert.resolved_ms or now_ms
        case "page" | "test":
            ends_ms = now_ms + PAGE_LASTS_MS
        case _:
            ends_ms = now_ms + ENDS_AFTER_MS
    about = {"summary": alert.summary, "description": alert.reason, "runbook": alert.runbook}
    return {
        "labels": {**alert.labels, "alertname": alert.rule, "severity": alert.severity, "fleet": fleet},
        "annotations": {name: value for name, value in about.items() if value},
        "startsAt": iso(min(alert.fired_ms or alert.since_ms, ends_ms)),
        "endsAt": iso(ends_ms),
    }
