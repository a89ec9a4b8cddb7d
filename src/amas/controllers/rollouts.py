"""The roll-outs' duty: gives a new version its share step by step, promotes it or takes it back, by what its tasks tell.

All that a decision rests on stands in the engine: the roll-out itself in the desired state, outcomes in sums that never begin
anew. So whoever leads next goes on where this one was killed, and decides the same. A change is made from the revision that was
read; where somebody else was first, the next sweep looks again. Tasks are moved by the router, which reads the same desired
state.
"""

from amas.core.rollout import Move
from amas.engine.desired import DesiredState, Wish
from amas.engine.routes import MOVE_SLICE, Routes, branch
from amas.errors import DesiredChanged
from amas.model.desired import Desired
from amas.model.fleet import FleetSpec
from amas.model.rollout import Phase, Rollout
from amas.observe import events
from amas.observe.logging import process_log
from amas.orchestration.rollouts import RolloutDesk, Seen, ended, moved, promotion, stepped, withdrawn

PAUSE_S = 1.0
REST_S = 2.0
"""Between looks whether a roll-out has begun."""
BY = "rollouts"
MOVES_MAX = 20
"""Calls in one sweep that take queued tasks from a version that goes, for each queue: 10,000 tasks."""


class Rollouts:
    """Decides on the roll-outs of one cell."""

    name = "rollouts"

    def __init__(self, desired: DesiredState, routes: Routes, fleet: FleetSpec) -> None:
        self._desired, self._routes, self._desk = desired, routes, RolloutDesk(desired, routes, fleet)
        self._revision, self._idle = -1, False
        self._silent_ms: dict[tuple[str, int], int] = {}
        """Since when a trial has had no live agent, as this leader saw it."""

    async def run_once(self) -> float:
        """Take every roll-out as far as it goes now; return the seconds until the next sweep."""
        if self._idle and await self._desired.revision() == self._revision:
            return REST_S
        wanted = await self._desired.read()
        under_way = [each for each in wanted.rollouts.values() if not each.phase.over]
        self._revision, self._idle = wanted.revision, not under_way
        self._silent_ms = {each: self._silent_ms[each] for each in map(_trial, under_way) if each in self._silent_ms}
        if not under_way:
            return REST_S
        seen = await self._desk.seen()
        for rollout in under_way:
            if wishes := await self._tend(wanted, rollout, seen):
                await self._apply(wanted, rollout, wishes)
                break  # what else there is to decide is decided from the new revision
        return PAUSE_S

    async def _apply(self, wanted: Desired, rollout: Rollout, wishes: list[Wish]) -> None:
        after = next(wish.value for wish in wishes if isinstance(wish.value, Rollout))
        try:
            await self._desired.change(wishes, by=BY, why=after.why, expect=wanted.revision)
        except DesiredChanged:
            return
        said = {"pool": rollout.pool, "version": rollout.to.version, "phase": after.phase, "share": after.share, "why": after.why}
        process_log().info("a roll-out goes on", event=events.ROLLOUT_MOVED, **said)

    async def _tend(self, wanted: Desired, rollout: Rollout, seen: Seen) -> list[Wish]:
        now_ms = self._routes.now_ms()
        if why := _overtaken(wanted, rollout):
            return [Wish(f"rollout:{rollout.pool}", moved(rollout, Phase.ROLLED_BACK, why=why, now_ms=now_ms))]
        if rollout.phase in {Phase.STAGING, Phase.CANARY}:
            return self._decide(wanted, rollout, seen, now_ms)
        return await self._finish(wanted, rollout, seen, now_ms)

    async def _finish(self, wanted: Desired, rollout: Rollout, seen: Seen, now_ms: int) -> list[Wish]:
        """Take a roll-out that is decided as far as its runs and hosts allow."""
        waited_s = (now_ms - rollout.phase_ms) / 1000
        if rollout.phase is Phase.SETTLING:
            if waited_s < rollout.spec.long_runs_limit_s and await self._old_runs(rollout, rollout.pool):
                return []
            return promotion(wanted, rollout, why=rollout.why, now_ms=now_ms)
        if rollout.phase is Phase.WITHDRAWING:
            await self._send_back(rollout)
            if waited_s < rollout.spec.long_runs_limit_s and await self._old_runs(rollout, rollout.variant):
                return []
            return [ended(rollout, Phase.ROLLED_BACK, now_ms=now_ms)]
        replaced = seen.versions.get(rollout.pool) == frozenset({rollout.to.version})
        return [ended(rollout, Phase.PROMOTED, now_ms=now_ms)] if replaced or waited_s > rollout.spec.start_limit_s else []

    def _decide(self, wanted: Desired, rollout: Rollout, seen: Seen, now_ms: int) -> list[Wish]:
        if seen.slots.get(rollout.variant, 0):
            self._silent_ms.pop(_trial(rollout), None)
            silent_s = 0.0
        else:
            silent_s = (now_ms - self._silent_ms.setdefault(_trial(rollout), now_ms)) / 1000
        decision = seen.decision(rollout, now_ms=now_ms, silent_s=silent_s)
        if decision.move is Move.STEP_UP:
            trials = seen.side(rollout, rollout.variant).outcomes.trials
            return [stepped(rollout, why=decision.reason, trials=trials, now_ms=now_ms)]
        if decision.move is Move.PROMOTE:
            return promotion(wanted, rollout, why=decision.reason, now_ms=now_ms)
        if decision.move is Move.ROLL_BACK:
            return [Wish(f"rollout:{rollout.pool}", withdrawn(rollout, why=decision.reason, now_ms=now_ms))]
        return []

    async def _old_runs(self, rollout: Rollout, pool: str) -> bool:
        """Return whether a version that goes has runs that began before it had to, at work or suspended."""
        if await self._routes.running_since(pool, before_ms=rollout.phase_ms):
            return True
        for queue in _queues(rollout):
            if await self._routes.suspended(branch(queue, pool)):
                return True
        return False

    async def _send_back(self, rollout: Rollout) -> None:
        """Take from a version that goes what it hasn't begun."""
        for queue in _queues(rollout):
            for _ in range(MOVES_MAX):
                if await self._routes.move(branch(queue, rollout.variant)) < MOVE_SLICE:
                    break


def _trial(rollout: Rollout) -> tuple[str, int]:
    """Return what tells this roll-out from an earlier one of the same version."""
    return rollout.variant, rollout.started_ms


def _overtaken(wanted: Desired, rollout: Rollout) -> str:
    """Return why a roll-out has lost its point, as somebody applied another fleet meanwhile; "" when it hasn't."""
    versions = {pool.name: pool.version for pool in wanted.fleet.pools} if wanted.fleet else {}
    if rollout.pool not in versions:
        return f"the fleet has no pool {rollout.pool} any more"
    expected = rollout.to.version if rollout.phase is Phase.REPLACING else rollout.was
    if versions[rollout.pool] == expected:
        return ""
    return f"version {versions[rollout.pool]} of {rollout.pool} was applied meanwhile, in place of {expected}"


def _queues(rollout: Rollout) -> tuple[str, ...]:
    return (*rollout.to.capabilities, f"@{rollout.pool}")
