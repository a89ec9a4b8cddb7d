"""The placer: deals the fleet's agents out to the live hosts, whenever hosts, pools, scales or orders have changed.

It alone writes seats. What it reads and what it writes is one document with a revision (`engine/desired.py`), and it writes only
over what it read: whoever changes something meanwhile makes it look and decide again, so nothing is dealt from an old wish. A
placer that is killed has dealt all or nothing; the next leader's goes on from what stands there.

A fleet grows by as many agents a second as it allows (`max_agent_spawn_rate`), a second's worth at once; who takes a lost agent's
place isn't held up by that, and isn't counted.

It looks when it is rung for: after a change, and when a host has come, gone or been given up by the reaper. A host counts as live
until the reaper gives it up, so that an engine that was away for a while moves nobody.
"""

from collections.abc import Mapping, Sequence

import msgspec

from amas.clock import monotonic_s
from amas.controllers.figures import Figures
from amas.core.placement import Admitted, Labels, admitted, open_hosts, place, unseated
from amas.engine.desired import CHANNEL, DesiredState, Wish
from amas.errors import DesiredChanged
from amas.model.desired import Desired, Seats
from amas.model.fleet import PoolSpec
from amas.observe import events
from amas.observe.logging import process_log

BY = "placer"
PAUSE_S = 2.0
"""Between looks when nothing rings; a ring may be lost with its connection."""
STEP_S = 0.5
"""Between two deals of a fleet that may not have all its agents yet."""
GATHER_S = 2.0
"""How long the first hosts of a fleet that starts wait for the others that it declares, so that the first doesn't get it all."""


class Placer:
    """Writes seats."""

    name = "placer"
    woken_by = CHANNEL

    def __init__(self, state: DesiredState, figures: Figures) -> None:
        self._state, self._figures = state, figures
        self._seen: tuple[int, frozenset[str], Labels] | None = None
        self._since_s: float | None = None
        self._gathered = False
        self._growth = Growth()

    async def run_once(self) -> float:
        """Deal what isn't dealt as it should be and return the seconds until the next look."""
        desired, live = await self._state.read_with_hosts()
        labels = await self._state.host_labels(desired, live)
        seen = desired.revision, live, labels
        if seen == self._seen or desired.fleet is None:
            return PAUSE_S
        if wait_s := self._gathering_s(desired, live):
            return wait_s
        rate = desired.fleet.limits.max_agent_spawn_rate
        now = admitted(desired.pools, desired.seats, many=self._growth.may(rate), had=self._growth.had)
        placed = seats_of(desired, live, labels, pools=now.pools)
        if wishes := _changes(desired.seats, placed):
            try:
                revision = await self._state.change(wishes, by=BY, expect=desired.revision)
            except DesiredChanged:
                return 0.0
            self._told(desired, live, placed, labels)
            seen = revision, live, labels
        if live:
            self._growth.took(now)
        if now.lacking and live:
            return max(STEP_S, 1 / rate)
        self._seen = seen
        return PAUSE_S

    def _gathering_s(self, desired: Desired, live: frozenset[str]) -> float:
        """Return how long to wait for more hosts: as many as are declared, once after there was none, and not for ever."""
        assert desired.fleet is not None
        if not live:
            self._since_s, self._gathered = None, False
            return 0.0
        now_s = monotonic_s()
        if self._since_s is None:
            self._since_s = now_s
        wait_s = self._since_s + GATHER_S - now_s
        self._gathered = self._gathered or len(live) >= desired.hosts or wait_s <= 0
        return 0.0 if self._gathered else wait_s

    def _told(self, desired: Desired, live: frozenset[str], placed: Mapping[str, tuple[Seats, ...]], labels: Labels) -> None:
        seated = sum(seats.count for of in placed.values() for seats in of)
        missing = sum(pool.replicas for pool in desired.pools) - seated
        reasons = unseated(msgspec.structs.replace(desired, seats=placed), live, labels) if missing else {}
        self._figures.placements += 1
        process_log().info(
            "dealt the agents out",
            event=events.SEATS_DEALT,
            hosts=len(live),
            agents=seated,
            unseated=missing,
            why=list(reasons.values()),
            of=desired.revision,
        )


class Growth:
    """How many agents may come now."""

    def __init__(self) -> None:
        self._left: float | None = None
        self._at_s = 0.0
        self.had: dict[str, int] = {}
        """How many agents each pool had, as long as it is to have so many: those of lost hosts come back at once."""

    def may(self, rate: float) -> int:
        """Return how many may come now, where `rate` come in a second."""
        now_s = monotonic_s()
        before = rate if self._left is None else self._left + rate * (now_s - self._at_s)
        self._left, self._at_s = min(before, max(rate, 1.0)), now_s
        return int(self._left)

    def took(self, now: Admitted) -> None:
        """Note who came."""
        assert self._left is not None
        self._left -= now.came
        self.had = {pool.name: pool.replicas for pool in now.pools}


def seats_of(
    desired: Desired, live: frozenset[str], labels: Labels, *, pools: Sequence[PoolSpec] | None = None
) -> dict[str, tuple[Seats, ...]]:
    """Return how the agents are to sit, given what is wanted, who lives, and the labels of those.

    `pools`: with the agents that they may have now, where those aren't all.
    """
    may_get, may_keep = open_hosts(desired, live)
    return place(desired.pools if pools is None else pools, may_get, desired.seats, cordoned=may_keep, labels=labels)


def _changes(before: Mapping[str, tuple[Seats, ...]], after: Mapping[str, tuple[Seats, ...]]) -> list[Wish]:
    return [Wish(f"seats:{host}", after.get(host)) for host in sorted({*before, *after}) if before.get(host) != after.get(host)]
