"""What people change of what is wanted of the fleet, over REST: each a change of one document, said again when others change it.

A wish follows from what it was decided on: who applies a fleet names the revision whose difference they looked at, and is refused
when another fleet was applied since. Scales and orders are the last one's to say.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

import msgspec

from amas.controllers.placer import seats_of
from amas.core.difference import Difference, difference, told, why_not
from amas.core.placement import Labels, taken_out
from amas.engine.desired import FLEET, DesiredState, Wish
from amas.errors import AgentUnknown, DesiredChanged, FleetError, RolloutRefused
from amas.fleet.check import problems
from amas.model.desired import Desired, Order, Scale
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.numbers import Numbers, within
from amas.orchestration.rollouts import Begin, rollouts_for, why_not_begun, wish_of
from amas.server.plane import ControlPlane
from amas.server.problems import Fault, Refusal

Answer = TypeVar("Answer")

TRIES_MAX = 20
"""Others may change the document meanwhile, but not without end."""
RANGES_TOLD_MAX = 10
RESTART_KEPT_MS = 3_600_000
"""A host that lives looks every few seconds: who hasn't heard of a restart for an hour has made its agents since."""


class How(NamedTuple):
    """What becomes of pools with a new version."""

    at_once: bool = False
    """It takes effect at once and isn't rolled out, as when a person goes back to an earlier fleet."""
    again: bool = False
    """It is rolled out although it was taken back before."""


PLAINLY = How()


class Judged(NamedTuple):
    """A fleet that somebody wants, beside what is wanted now."""

    desired: Desired
    fleet: FleetSpec
    """As it would be declared: pools whose new version is rolled out have the old one until it has proven itself."""
    begins: list[Begin]
    """Roll-outs that would begin."""
    found: Difference
    told: list[str]


async def judged(plane: ControlPlane, fleet: FleetSpec, how: How = PLAINLY) -> Judged:
    """Return how what is wanted would differ; Refusal where the fleet isn't sound, or can't be rolled out as it says."""
    if faults := [Fault(detail=f"{field}: {message}") for field, message in problems(fleet)]:
        raise Refusal(*faults, code="fleet_invalid")
    desired = await plane.desired.read()
    if desired.fleet is None or how.at_once:
        found = difference(desired, fleet)
        return Judged(desired, fleet, [], found, told(found, await plane.queue.depths()))
    brought = rollouts_for(desired.fleet, fleet, desired.rollouts, again=how.again)
    begins = [each for each in brought.begins if not _under_way(desired, each)]
    if faults := [Fault(detail=why) for each in begins if (why := _why_not(desired, each))]:
        raise Refusal(*faults, code=RolloutRefused.code)
    found = difference(desired, brought.fleet)
    lines = [f"~ {each.to.name} is rolled out in version {each.to.version}" for each in begins]
    lines += [
        f"! {last.pool} stays at version {last.was}, since {last.to.version} was taken back ({last.why}): "
        "`amas apply --again` tries it once more"
        for last in brought.taken_back
    ]
    if found.changes or not begins:
        lines += told(found, await plane.queue.depths())
    return Judged(desired, brought.fleet, begins, found, lines)


def _under_way(desired: Desired, asked: Begin) -> bool:
    """Return whether this very version is being rolled out: the file is applied once more meanwhile."""
    last = desired.rollouts.get(asked.to.name)
    return last is not None and not last.phase.over and last.to.version == asked.to.version


def _why_not(desired: Desired, asked: Begin) -> str:
    assert desired.fleet is not None
    return why_not_begun(desired, asked, desired.fleet.pool(asked.to.name))


async def earlier(state: DesiredState, revision: int) -> FleetSpec:
    """Return the fleet that a revision brought; Refusal with those that are known."""
    known = await state.fleets()
    if revision not in known:
        kept = ", ".join(map(str, known)) or "none"
        raise Refusal(
            Fault(detail=f"revision {revision} brought no fleet that is kept; these did: {kept}"), code="revision_unknown"
        )
    return known[revision]


async def apply(
    plane: ControlPlane, fleet: FleetSpec, how: How = PLAINLY, *, by: str, why: str, expect: int | None
) -> tuple[Judged, int]:
    """Declare a fleet; return what that changed, and the revision. Refusal when another came between.

    New versions of pools that say how are rolled out, which begins in the same change: so there is never a fleet that was applied
    whose roll-outs nobody began.
    """

    async def attempt() -> tuple[Judged, int]:
        seen = await judged(plane, fleet, how)
        if expect is not None:
            await _same_fleet_since(plane.desired, expect)
        begun = await plane.rollouts.beginnings(seen.desired, seen.begins, by=by)
        said = "\n".join([why, *(rollout.why for rollout in begun)])
        wishes = [wish_of(rollout) for rollout in begun]
        return seen, await plane.desired.apply(seen.fleet, by=by, why=said, expect=seen.desired.revision, besides=wishes)

    return await again(attempt)


async def _same_fleet_since(state: DesiredState, revision: int) -> None:
    for change in await state.history():
        if change.revision > revision and FLEET in change.fields:
            what = f"{change.by} applied another fleet meanwhile (revision {change.revision}: {change.why})"
            raise Refusal(Fault(detail=f"{what}: look at the difference again"), status=409, code=DesiredChanged.code)


async def scale(plane: ControlPlane, pool: str, replicas: int | None, *, by: str, why: str, more: int = 0) -> tuple[int, int]:
    """Let a pool have so many agents, or `more` than it has, or None for what the file says; return its size and the revision."""

    async def attempt() -> tuple[int, int]:
        desired = await plane.desired.read()
        sizes = {one.name: one.replicas for one in desired.pools}
        declared = {one.name: one.replicas for one in desired.fleet.pools} if desired.fleet else {}
        size = sizes.get(pool, 0) + more if more else declared.get(pool, 0) if replicas is None else replicas
        if problem := why_not(desired, pool, size):
            raise FleetError(problem)
        if replicas is None and not more:
            wishes = [Wish(f"scale:{pool}", None), Wish(f"gone:{pool}", None)]
        else:
            wishes = [Wish(f"scale:{pool}", Scale(replicas=size, by=by, why=why, at_ms=plane.engine.now_ms()))]
        return size, await plane.desired.change(wishes, by=by, why=why, expect=desired.revision)

    return await again(attempt)


async def retire(plane: ControlPlane, pool: str, number: int, *, by: str, why: str) -> tuple[int, int]:
    """Let a pool have one agent fewer, and this one no more; return its size and the revision."""

    async def attempt() -> tuple[int, int]:
        desired = await plane.desired.read()
        spec = _pool_with(desired, pool, number)
        if spec.variant_of:
            mend = f"`amas rollout abort {spec.variant_of}` takes all of them back"
            raise Refusal(
                Fault(detail=f"{pool}-{number} stands for a version that is rolled out: {mend}"), status=409, code="in_rollout"
            )
        size = spec.replicas - 1
        wishes = [
            Wish(f"scale:{pool}", Scale(replicas=size, by=by, why=why, at_ms=plane.engine.now_ms())),
            Wish(f"gone:{pool}", taken_out(spec, number) or None),
        ]
        return size, await plane.desired.change(wishes, by=by, why=why, expect=desired.revision)

    return await again(attempt)


async def restart_agent(plane: ControlPlane, pool: str, number: int, *, by: str, why: str) -> int:
    """Have one agent made anew at once, and what it runs given back; return the revision."""

    async def attempt() -> int:
        desired = await plane.desired.read()
        _pool_with(desired, pool, number)
        now_ms, agent_id = plane.engine.now_ms(), f"{pool}-{number}"
        old = [Wish(f"restart:{name}", None) for name, at_ms in desired.restarts.items() if at_ms < now_ms - RESTART_KEPT_MS]
        wish = Wish(f"restart:{agent_id}", max(now_ms, desired.restarts.get(agent_id, 0) + 1))
        return await plane.desired.change([*old, wish], by=by, why=why, expect=desired.revision)

    return await again(attempt)


def _pool_with(desired: Desired, name: str, number: int) -> PoolSpec:
    """Return the pool that has this agent; AgentUnknown when none has."""
    spec = next((one for one in desired.pools if one.name == name), None)
    if spec is None:
        raise AgentUnknown(f"there is no agent {name}-{number}: this fleet has no pool {name!r}; `amas ps` lists them")
    if not within(number, spec.numbers):
        raise AgentUnknown(f"there is no agent {name}-{number}: {name} has {_numbers_told(spec.numbers)}")
    return spec


def _numbers_told(numbers: Numbers) -> str:
    pieces = [str(first) if first == last else f"{first} to {last}" for first, last in numbers[:RANGES_TOLD_MAX]]
    more = ", ..." if len(numbers) > RANGES_TOLD_MAX else ""
    return "the numbers " + ", ".join(pieces) + more if pieces else "no agents"


async def make_anew(plane: ControlPlane, pool: str, *, by: str, why: str) -> int:
    """Have a pool's agents made anew, each once it has done what it runs; return the revision."""

    async def attempt() -> int:
        desired = await plane.desired.read()
        if problem := why_not(desired, pool, 0):
            raise FleetError(problem)
        wish = Wish(f"anew:{pool}", desired.anew.get(pool, 0) + 1)
        return await plane.desired.change([wish], by=by, why=why, expect=desired.revision)

    return await again(attempt)


async def order(plane: ControlPlane, host: str, what: str, *, by: str, why: str) -> tuple[Order, int]:
    """Drain, cordon, uncordon or restart a host; return its order and the revision. Refusal for a host that nobody knows."""

    async def attempt() -> tuple[Order, int]:
        desired, live = await plane.desired.read_with_hosts()
        if host not in live and host not in desired.orders:
            known = ", ".join(sorted(live)) or "none"
            raise Refusal(Fault(detail=f"there is no host {host!r}: these live: {known}"), status=404, code="host_unknown")
        old = desired.orders.get(host, Order())
        match what:
            case "drain":
                new = msgspec.structs.replace(old, drained=True)
            case "cordon":
                new = msgspec.structs.replace(old, cordoned=True)
            case "uncordon":
                new = msgspec.structs.replace(old, cordoned=False, drained=False)
            case _:
                new = msgspec.structs.replace(old, restarts=old.restarts + 1)
        value = None if new == Order() else new
        return new, await plane.desired.change([Wish(f"order:{host}", value)], by=by, why=why, expect=desired.revision)

    return await again(attempt)


def dealt(desired: Desired, live: frozenset[str], labels: Labels) -> bool:
    """Return whether all agents sit as they should."""
    return desired.fleet is None or seats_of(desired, live, labels) == desired.seats


async def again(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """Return what `attempt` returns once nobody changes the document while it decides."""
    for _ in range(TRIES_MAX - 1):
        with suppress(DesiredChanged):
            return await attempt()
    return await attempt()
