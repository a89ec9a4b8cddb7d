"""Recoveries: sees when the work that a failure held up goes on, and notes how long that took.

Counted from the last sign of life (a host's last beat, an attempt's last progress, a leader's last renewal) until none of the
tasks concerned waits any more; so it is late by at most its own pause. What was under way is kept by the engine: another
leader goes on with it. And what is quarantined is let go here when its time is over, so that nobody finds old names in the list.
"""

from amas.clock import monotonic_s
from amas.core.healing import why_released
from amas.engine.desired import DesiredState, Wish
from amas.engine.recoveries import Recoveries, UnderWay
from amas.errors import DesiredChanged, EngineError
from amas.model.numbers import pool_named
from amas.observe import events
from amas.observe.logging import process_log

PAUSE_S = 0.25
"""A sweep that finds nothing costs one read."""
WARDEN = "the warden"
"""In whose name quarantines end by themselves."""
WARDEN_PAUSE_S = 5.0
"""Hosts let an agent go by themselves and at once; this only tidies up."""


class Recovering:
    """Notes what was made good."""

    name = "recovering"

    def __init__(self, recoveries: Recoveries, *, engine: str) -> None:
        """`engine`: its address, as the one that was away."""
        self._recoveries, self._engine = recoveries, engine
        self._answered_s = float("-inf")
        self._away_since_s: float | None = None

    async def run_once(self) -> float:
        """Note every recovery that is over and return the seconds until the next sweep."""
        asked_s = monotonic_s()
        try:
            over = await self._recoveries.made_good()
        except EngineError:
            if self._away_since_s is None:  # it went away since the last sweep, or, after a pause, a moment ago
                self._away_since_s = max(self._answered_s, asked_s - PAUSE_S)
            raise
        for each in over:
            await self._note(each)
        if self._away_since_s is not None:
            away_ms = round((monotonic_s() - self._away_since_s) * 1000)
            since_ms = self._recoveries.now_ms() - away_ms
            await self._note(UnderWay("", since_ms, "engine_away", self._engine, []))
            self._away_since_s = None
        self._answered_s = monotonic_s()
        return PAUSE_S

    async def _note(self, each: UnderWay) -> None:
        took_s = (self._recoveries.now_ms() - each.since_ms) / 1000
        noted = await self._recoveries.note(
            each.cause, each.subject, since_ms=each.since_ms, tasks=len(each.task_ids), name=each.name
        )
        if noted:
            process_log().info(
                "recovered",
                event=events.RECOVERED,
                cause=each.cause,
                subject=each.subject,
                tasks=len(each.task_ids),
                took_s=took_s,
            )


class Warden:
    """Takes quarantines that are over out of the desired state."""

    name = "warden"

    def __init__(self, desired: DesiredState, recoveries: Recoveries) -> None:
        self._desired, self._now_ms = desired, recoveries.now_ms

    async def run_once(self) -> float:
        """Let go whom nothing holds any more and return the seconds until the next sweep."""
        wanted = await self._desired.read()
        versions = {pool.name: pool.version for pool in wanted.pools}
        over = {}
        for agent_id, held in wanted.quarantines.items():
            version = versions.get(pool_named(agent_id)) if wanted.fleet else held.version
            if why := why_released(held, now_ms=self._now_ms(), version=version):
                over[agent_id] = why
        if over:
            said = "; ".join(f"{agent_id}: {why}" for agent_id, why in over.items())
            wishes = [Wish(f"quarantine:{agent_id}", None) for agent_id in over]
            try:
                await self._desired.change(wishes, by=WARDEN, why=said, expect=wanted.revision)
            except DesiredChanged:
                return PAUSE_S
        return WARDEN_PAUSE_S
