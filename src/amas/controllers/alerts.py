"""Alerts: looks at the figures every few seconds, and has told what fires and what is over.

`core.alerts.evaluate` decides; here is what it needs and what becomes of it. All memory is one record in the engine that changes
by compare and set together with the notices that belong to the change: a leader that dies at any point, or overlaps with the next
one, tells nothing twice and forgets nothing. Who is told, and how, is `notices.py`; what is done about it, `runbooks.py`.
"""

from collections.abc import Iterable

import msgspec

from amas.controllers.readings import Memory, Meter
from amas.core.alerts import evaluate
from amas.engine.alerts import STATE, AlertStore
from amas.errors import AlertsChanged
from amas.model.alerts import Alert, AlertsSpec, Readings
from amas.model.fleet import FleetSpec
from amas.model.runbook import figures_of

PAUSE_S = 5.0
"""Agents' failures are to be known at once; hosts beat every 2 s, and a look costs a handful of calls."""
SILENCE_KEPT_MS = 3_600_000
"""A silence that is over can be seen for an hour."""
LOG, ALERTMANAGER = "log", "alertmanager"


class AlertsRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine keeps of all alerts."""

    at_ms: int = 0
    """The last look; 0 before the first."""
    alerts: dict[str, Alert] = msgspec.field(default_factory=dict)
    memory: Memory = Memory()


class Latest:
    """What the duties of this process know from the last look; empty until there was one."""

    def __init__(self, fleet: FleetSpec) -> None:
        self.fleet = fleet
        """As it is declared now."""
        self.readings: Readings | None = None
        self.alerts: dict[str, Alert] = {}

    @property
    def spec(self) -> AlertsSpec:
        """What is watched for now."""
        return self.fleet.alerts


_record = msgspec.msgpack.Decoder(AlertsRecord)


async def read_alerts(store: AlertStore) -> tuple[int, AlertsRecord]:
    """Return the record of all alerts and its revision."""
    kept = await store.read(STATE)
    return kept.revision, _record.decode(kept.value) if kept.value else AlertsRecord()


def receivers_of(spec: AlertsSpec, *, alertmanager: bool) -> list[str]:
    """Return the names of all receivers."""
    return [LOG, *([ALERTMANAGER] if alertmanager else []), *(f"webhook:{hook.name}" for hook in spec.webhooks)]


class Alerts:
    """Evaluates rules."""

    name = "alerts"

    def __init__(self, store: AlertStore, meter: Meter, latest: Latest, *, alertmanager: bool = False) -> None:
        """`alertmanager`: whether there is one to tell."""
        self._store, self._meter, self._latest, self._alertmanager = store, meter, latest, alertmanager

    async def run_once(self) -> float:
        """Look at all figures, keep what fires, and return the seconds until the next look."""
        await self.look()
        return PAUSE_S

    async def look(self, *, now_ms: int = 0) -> None:
        """Do one sweep; `now_ms` is for tests, which own the clock."""
        latest = self._latest
        revision, record = await read_alerts(self._store)
        wanted = {rule.when.figure for rule in latest.spec.rules} | figures_of(latest.fleet.runbooks)
        readings, memory, desired = await self._meter.look(record.memory, wanted, now_ms=now_ms)
        latest.fleet = desired.fleet or latest.fleet
        silences = await self._store.silences()
        found = evaluate(latest.spec.rules, record.alerts, readings, silences)
        try:
            await self._store.keep(
                STATE,
                AlertsRecord(at_ms=readings.at_ms, alerts=found.alerts, memory=memory),
                expect=revision,
                notices=found.notices,
                receivers=receivers_of(latest.spec, alertmanager=self._alertmanager),
            )
        except AlertsChanged:  # another leader looked meanwhile: what it found counts
            return
        latest.readings, latest.alerts = readings, found.alerts
        await self._forget(each.id for each in silences if each.until_ms + SILENCE_KEPT_MS < readings.at_ms)

    async def _forget(self, silences: Iterable[str]) -> None:
        for silence in silences:
            await self._store.unsilence(silence)
