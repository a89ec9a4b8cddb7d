"""Tells that the engine is away, and that it is back: the one alert that can't be kept where all others are.

Every control plane looks for itself and remembers in its own memory alone. So each of several tells it, once, under a notice of
its own; silences, which the engine has, don't hold it back; and one that is killed meanwhile never tells the end. Its receivers
are the webhooks of the fleet that it saw last, and Alertmanager, which hears of it again each minute: it takes for over what
it doesn't hear of. A receiver that can't be reached is tried again for as long as the news is news.
"""

import asyncio
from collections.abc import Callable

from msgspec import structs

from amas.clock import monotonic_s, now_ms
from amas.controllers.alerts import ALERTMANAGER
from amas.controllers.notices import RESEND_S, tell_alertmanager, tell_webhook, to_alertmanager, write_to_log
from amas.core.alerts import fingerprint, notice_of
from amas.engine.connection import Engine
from amas.errors import EngineError
from amas.model.alerts import Alert, Notice, Webhook
from amas.model.fleet import FleetSpec
from amas.policy.outbound import PostFailed
from amas.settings import AlertSettings

AFTER_S = 15.0
"""Away for so long it is told: a restart, or a replica that takes over, is quicker."""
LOOK_EVERY_S = 5.0
PROBE_S = 5.0
"""Without an answer for so long it counts as away."""
RULE = "EngineAway"


class EngineAway:
    """Watches the engine for one control plane."""

    def __init__(
        self,
        engine: Engine,
        fleet: Callable[[], FleetSpec],
        settings: AlertSettings,
        *,
        after_s: float = AFTER_S,
        resend_s: float = RESEND_S,
    ) -> None:
        """`fleet`: what this process knows of it now. `resend_s`: between two words to Alertmanager."""
        self._engine, self._fleet, self._settings, self._after_s = engine, fleet, settings, after_s
        self._away_since_s: float | None = None
        self._firing: Alert | None = None
        self._untold: dict[str, Notice] = {}
        """The newest news that a receiver hasn't got, by its name."""
        self._heard: set[str] = set()
        """Receivers that got the beginning, and are owed the end."""
        self._resend_s, self._resent_s = resend_s, 0.0

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            await self.run_once()
            await asyncio.sleep(LOOK_EVERY_S)

    async def run_once(self) -> None:
        """Ask the engine for a sign of life, and tell what is to be told."""
        why = await self._silence()
        if not why:
            self._away_since_s = None
            if self._firing is not None:
                self._resolve(self._firing)
        else:
            self._away_since_s = monotonic_s() if self._away_since_s is None else self._away_since_s
            away_s = monotonic_s() - self._away_since_s
            if self._firing is None and away_s >= self._after_s:
                self._fire(why, away_s)
        self._remind()
        receivers = self._receivers()
        await asyncio.gather(*(self._tell(name, receivers[name]) for name in self._untold if name in receivers))

    def _receivers(self) -> dict[str, Webhook | None]:
        """Return who is told of what is critical, by name; None stands for Alertmanager."""
        hooks: dict[str, Webhook | None] = {f"webhook:{hook.name}": hook for hook in self._fleet().alerts.webhooks}
        return {**hooks, ALERTMANAGER: None} if self._settings.alertmanager_url else hooks

    def _remind(self) -> None:
        """Have Alertmanager hear again of what goes on."""
        if self._firing and ALERTMANAGER in self._heard and monotonic_s() - self._resent_s >= self._resend_s:
            self._untold[ALERTMANAGER] = notice_of(self._firing, self._firing.seen_ms)

    async def _silence(self) -> str:
        """Return why the engine can't be reached; empty when it can."""
        try:
            async with asyncio.timeout(PROBE_S):
                await self._engine.read([("PING",)])
        except EngineError as error:
            return str(error)
        except TimeoutError:
            return f"{self._engine.address} hasn't answered for {PROBE_S:g} s"
        return ""

    def _fire(self, why: str, away_s: float) -> None:
        labels, at_ms = {"engine": self._engine.address}, now_ms()
        self._firing = Alert(
            fingerprint=fingerprint(RULE, labels),
            rule=RULE,
            severity="critical",
            status="firing",
            labels=labels,
            value=away_s,
            reason=why,
            since_ms=at_ms - round(away_s * 1000),
            seen_ms=at_ms,
            fired_ms=at_ms,
            told="firing",
            summary="A control plane can't reach the engine: nothing is begun, and what runs can't end.",
        )
        self._heard.clear()
        self._say(
            self._firing, [name for name, hook in self._receivers().items() if hook is None or "critical" in hook.severities]
        )

    def _resolve(self, alert: Alert) -> None:
        at_ms = now_ms()
        self._firing, self._untold = None, {}  # who hasn't heard of the beginning needn't hear of the end
        self._say(
            structs.replace(
                alert, status="resolved", resolved_ms=at_ms, seen_ms=at_ms, told="resolved", reason="it answers again"
            ),
            [name for name in self._receivers() if name in self._heard],
        )

    def _say(self, alert: Alert, receivers: list[str]) -> None:
        notice = notice_of(alert, alert.seen_ms)
        write_to_log(notice)
        self._untold.update((name, notice) for name in receivers)

    async def _tell(self, name: str, hook: Webhook | None) -> None:
        notice, fleet, at_ms, settings = self._untold[name], self._fleet().name, now_ms(), self._settings
        try:
            if hook is None:
                told = to_alertmanager(notice.alert, fleet=fleet, now_ms=at_ms)
                await asyncio.to_thread(tell_alertmanager, settings, [told])
                self._resent_s = monotonic_s()
            else:
                await asyncio.to_thread(tell_webhook, hook, notice, fleet=fleet, secret=settings.secret, at_s=at_ms // 1000)
        except PostFailed:
            return  # tried again at the next look
        del self._untold[name]
        self._heard.add(name)
