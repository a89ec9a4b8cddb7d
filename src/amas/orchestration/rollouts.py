"""Roll-outs as people and the API see them: begun, looked at, approved, promoted and aborted; and what their versions have done.

A `RolloutDesk` reads outcomes from the engine and writes wishes into the desired state, each made from the revision that it read;
when somebody else was first it looks again. It decides nothing that `core/rollout.py` could: that is `controllers/rollouts.py`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from amas.core.rollout import Decision, Figure, Scores, Side, decide
from amas.core.routing import Belief
from amas.engine.desired import FLEET, DesiredState, Wish
from amas.engine.routes import HostSeen, Outcomes, Routes, branch
from amas.errors import DesiredChanged, RolloutRefused
from amas.model.desired import Desired
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.rollout import Phase, Rollout
from amas.model.rollout_spec import RolloutSpec

TRIES = 10
"""Times that a wish is made anew because somebody else was first."""
_AGENT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")


class Begin(NamedTuple):
    """A roll-out that is asked for."""

    to: PoolSpec
    """The pool as it is to be."""
    spec: RolloutSpec


class RolloutView(msgspec.Struct, frozen=True, kw_only=True):
    """A roll-out as it stands."""

    pool: str
    was: str
    version: str
    phase: Phase
    step: int
    """From 0, of `steps`."""
    steps: tuple[float, ...]
    share: float
    """Of the pool's new tasks that the new version gets, 0 to 1."""
    started_ms: int
    phase_ms: int
    by: str
    approved_by: str
    why: str
    """Of the last change."""
    next: str
    """What would be done now, and why; empty once it is over or decided."""
    tasks: float
    """Outcomes of the new version since it began."""
    figures: tuple[Figure, ...]
    agents_alive: bool
    """Whether the new version has a live agent."""


class Seen(NamedTuple):
    """Outcomes, scores and live agents, read at one time."""

    outcomes: list[Outcomes]
    scores: dict[str, Scores]
    slots: dict[str, int]
    """By pool, of live agents."""
    versions: dict[str, frozenset[str]]
    """Of live agents, by pool."""

    def side(self, rollout: Rollout, pool: str) -> Side:
        """Return what a pool, base or variant, has done since the roll-out began."""
        queues, total = set(_branches(rollout, pool)), Belief()
        for queue, version, sums in self.outcomes:
            if queue in queues:
                total = total.plus(sums.minus(Belief(*rollout.counted.get(f"{queue}\n{version}", ()))))
        scores = self.scores.get(pool, Scores()).minus(Scores(*rollout.scored.get(pool, ())))
        return Side(outcomes=total, scores=scores, slots=self.slots.get(pool, 0))

    def decision(self, rollout: Rollout, *, now_ms: int, silent_s: float = 0.0) -> Decision:
        """Return what is to be done with a roll-out now."""
        stable, canary = self.side(rollout, rollout.pool), self.side(rollout, rollout.variant)
        return decide(rollout, stable, canary, now_ms=now_ms, silent_s=silent_s)


class Brought(NamedTuple):
    """What applying a fleet means where pools have a new version."""

    fleet: FleetSpec
    """To want in its place: pools whose new version is to prove itself, or was taken back, stay as they were."""
    begins: list[Begin]
    """Roll-outs to begin."""
    taken_back: list[Rollout]
    """Roll-outs that aren't begun again, since they went wrong from the same version to the same one."""


def rollouts_for(old: FleetSpec, new: FleetSpec, before: Mapping[str, Rollout], *, again: bool = False) -> Brought:
    """Return what applying `new` in the place of `old` means; `before` are the pools' last roll-outs.

    A pool that has a new version and says how stays as it was in `old` until that has proven itself. A version that was taken
    back isn't tried `again` unless somebody says so: the same file may be applied for other reasons.
    """
    was_by_name = {pool.name: pool for pool in old.pools}
    brought = Brought(new, [], [])
    pools = []
    for pool in new.pools:
        spec, was, last = pool.rollout or new.rollout, was_by_name.get(pool.name), before.get(pool.name)
        if was is None or was.version == pool.version:
            pools.append(pool)
            continue
        if last and not again and _lost(last, was, pool):
            brought.taken_back.append(last)
        elif spec:
            brought.begins.append(Begin(pool, spec))
        else:
            pools.append(pool)
            continue
        pools.append(msgspec.structs.replace(was, replicas=pool.replicas, rollout=pool.rollout))
    return brought._replace(fleet=msgspec.structs.replace(new, pools=tuple(pools)))


def _lost(last: Rollout, was: PoolSpec, to: PoolSpec) -> bool:
    """Return whether the last roll-out went from this version to that one, and back."""
    return last.phase in {Phase.WITHDRAWING, Phase.ROLLED_BACK} and (last.was, last.to.version) == (was.version, to.version)


class RolloutDesk:
    """The roll-outs of one cell."""

    def __init__(self, desired: DesiredState, routes: Routes, fleet: FleetSpec) -> None:
        """`fleet` is what runs as long as nothing is wanted."""
        self._desired, self._routes, self._fleet = desired, routes, fleet
        self._hosts: dict[str, HostSeen] = {}

    async def seen(self) -> Seen:
        """Read what is known of all versions now."""
        self._hosts = await self._routes.hosts(self._hosts)
        slots: dict[str, int] = {}
        versions: dict[str, set[str]] = {}
        for host in self._hosts.values():
            for card in host.about.pools:
                slots[card.pool] = slots.get(card.pool, 0) + card.slots * card.count
                versions.setdefault(card.pool, set()).add(card.version)
        alive = {pool: frozenset(found) for pool, found in versions.items()}
        return Seen(await self._routes.outcomes(), await self._routes.scores(), slots, alive)

    async def all(self) -> list[RolloutView]:
        """Return every pool's roll-out, those that are over included."""
        wanted, seen = await self._desired.read(), await self.seen()
        return [self._view(each, seen) for _, each in sorted(wanted.rollouts.items())]

    async def one(self, pool: str) -> RolloutView:
        """Return a pool's roll-out; RolloutRefused when it has none."""
        wanted = await self._desired.read()
        return self._view(_held(wanted, pool), await self.seen())

    async def begin(self, pool: str, version: str, *, changes: Mapping[str, object], spec: RolloutSpec | None, by: str) -> None:
        """Begin to roll a pool out in `version`; `changes` are fields of its spec that change with it, `options` merged in.

        Without a `spec` the pool's own holds, else the fleet's, else the defaults.
        """

        def wishes(wanted: Desired, seen: Seen, now_ms: int) -> tuple[list[Wish], str]:
            fleet = wanted.fleet or self._fleet
            base = _pool(fleet, pool)
            options = {**base.options, **msgspec.convert(changes.get("options", {}), dict[str, object])}
            to = msgspec.structs.replace(base, **{**changes, "options": options, "version": version})
            how = spec or base.rollout or fleet.rollout or RolloutSpec()
            rollout = begun(wanted, Begin(to, how), base, seen, by=by, now_ms=now_ms)
            first = [Wish(FLEET, fleet)] if wanted.fleet is None else []
            return [*first, wish_of(rollout)], rollout.why

        await self._change(wishes, by=by)

    async def beginnings(self, wanted: Desired, asked: Iterable[Begin], *, by: str) -> list[Rollout]:
        """Return the roll-outs that begin, for the very change that applies their fleet; RolloutRefused when one can't.

        That change has to be made from `wanted`, so that nothing comes between what was looked at and what begins.
        """
        asked = list(asked)
        if not asked:
            return []
        seen, now_ms, fleet = await self.seen(), self._routes.now_ms(), wanted.fleet or self._fleet
        return [begun(wanted, each, _pool(fleet, each.to.name), seen, by=by, now_ms=now_ms) for each in asked]

    async def approve(self, pool: str, *, by: str) -> None:
        """Let a new version that is in staging begin its steps."""

        def wishes(wanted: Desired, seen: Seen, now_ms: int) -> tuple[list[Wish], str]:
            rollout = _held(wanted, pool)
            if rollout.phase is not Phase.STAGING:
                raise RolloutRefused(
                    f"the roll-out of {pool!r} is {rollout.phase}, so there is nothing to approve: it isn't in staging"
                )
            why = f"{by} approved version {rollout.to.version}: it gets {rollout.spec.steps[0]:.0%}"
            return [wish_of(moved(rollout, Phase.CANARY, why=why, now_ms=now_ms, approved_by=by))], why

        await self._change(wishes, by=by)

    async def promote(self, pool: str, *, by: str) -> None:
        """Promote a new version now, whatever its figures say."""

        def wishes(wanted: Desired, seen: Seen, now_ms: int) -> tuple[list[Wish], str]:
            rollout = _deciding(wanted, pool)
            why = f"{by} promoted version {rollout.to.version}"
            return promotion(wanted, rollout, why=why, now_ms=now_ms), why

        await self._change(wishes, by=by)

    async def abort(self, pool: str, *, by: str) -> None:
        """Take a new version back now."""

        def wishes(wanted: Desired, seen: Seen, now_ms: int) -> tuple[list[Wish], str]:
            rollout = _deciding(wanted, pool)
            why = f"{by} took version {rollout.to.version} back"
            return [wish_of(withdrawn(rollout, why=why, now_ms=now_ms))], why

        await self._change(wishes, by=by)

    async def _change(self, wishes: Callable[[Desired, Seen, int], tuple[list[Wish], str]], *, by: str) -> None:
        for last in range(TRIES, 0, -1):
            wanted = await self._desired.read()
            made, why = wishes(wanted, await self.seen(), self._routes.now_ms())
            try:
                await self._desired.change(made, by=by, why=why, expect=wanted.revision)
            except DesiredChanged:
                if last == 1:
                    raise
            else:
                return

    def _view(self, rollout: Rollout, seen: Seen) -> RolloutView:
        decision = seen.decision(rollout, now_ms=self._routes.now_ms())
        deciding = rollout.phase in {Phase.STAGING, Phase.CANARY}
        return RolloutView(
            pool=rollout.pool,
            was=rollout.was,
            version=rollout.to.version,
            phase=rollout.phase,
            step=rollout.step,
            steps=rollout.spec.steps,
            share=rollout.share,
            started_ms=rollout.started_ms,
            phase_ms=rollout.phase_ms,
            by=rollout.by,
            approved_by=rollout.approved_by,
            why=rollout.why,
            next=f"{decision.move}: {decision.reason}" if deciding else "",
            tasks=seen.side(rollout, rollout.variant).outcomes.trials,
            figures=decision.figures,
            agents_alive=seen.slots.get(rollout.variant, 0) > 0,
        )


def why_not_begun(wanted: Desired, asked: Begin, base: PoolSpec) -> str:
    """Return why a roll-out can't begin, as a sentence; empty when it can."""
    version, held = asked.to.version, wanted.rollouts.get(base.name)
    if held and not held.phase.over:
        return f"version {held.to.version} of {base.name!r} is being rolled out: wait for its end, promote or abort it first"
    if version == base.version:
        return f"{base.name!r} has version {version} already: give the new one another version"
    if not _VERSION.fullmatch(version):
        return f"the version {version!r} must be letters, digits, dots and hyphens, up to 40, such as 2.1"
    if not _AGENT.fullmatch(asked.to.agent):
        return f"the agent {asked.to.agent!r} must be module:attribute, such as my_agents:summarise"
    if asked.to.capabilities != base.capabilities:
        return f"version {version} of {base.name!r} has other capabilities, so it can't be compared: leave rollout: out for it"
    wrong = asked.spec.problem()
    return f"rollout.{wrong[0]} {wrong[1]}" if wrong else ""


def begun(wanted: Desired, asked: Begin, base: PoolSpec, seen: Seen, *, by: str, now_ms: int) -> Rollout:
    """Return the roll-out that begins; RolloutRefused when it can't."""
    if problem := why_not_begun(wanted, asked, base):
        raise RolloutRefused(problem)
    version = asked.to.version
    phase = Phase.STAGING if asked.spec.environment == "staging" else Phase.CANARY
    share = (
        f"{asked.spec.steps[0]:.0%} of its tasks" if phase is Phase.CANARY else "only tasks that name it, until it is approved"
    )
    rollout = Rollout(
        pool=base.name,
        to=asked.to,
        was=base.version,
        spec=asked.spec,
        phase=phase,
        started_ms=now_ms,
        phase_ms=now_ms,
        by=by,
        why=f"version {version} of {base.name} begins beside {base.version}: it gets {share}",
    )
    pools = base.name, rollout.variant
    queues = {queue for pool in pools for queue in _branches(rollout, pool)}
    return msgspec.structs.replace(
        rollout,
        counted={f"{at}\n{of}": msgspec.structs.astuple(sums) for at, of, sums in seen.outcomes if at in queues},
        scored={pool: msgspec.structs.astuple(seen.scores[pool]) for pool in pools if pool in seen.scores},
    )


def moved(rollout: Rollout, phase: Phase, *, why: str, now_ms: int, approved_by: str = "") -> Rollout:
    """Return a roll-out in another phase."""
    approved_by = approved_by or rollout.approved_by
    changed = {"phase": phase, "phase_ms": now_ms, "why": why, "approved_by": approved_by}
    if rollout.phase is Phase.STAGING:
        changed["started_ms"] = now_ms  # the time of all steps begins with the first
    return msgspec.structs.replace(rollout, **changed)


def withdrawn(rollout: Rollout, *, why: str, now_ms: int) -> Rollout:
    """Return a roll-out that goes back: at once, or when its runs have ended."""
    keep = rollout.spec.long_runs == "keep"
    return moved(rollout, Phase.WITHDRAWING if keep else Phase.ROLLED_BACK, why=why, now_ms=now_ms)


def promotion(wanted: Desired, rollout: Rollout, *, why: str, now_ms: int) -> list[Wish]:
    """Return what makes a new version the pool's: at once, or when the old one's runs have ended."""
    if rollout.spec.long_runs == "keep" and rollout.phase is not Phase.SETTLING:
        return [wish_of(moved(rollout, Phase.SETTLING, why=why, now_ms=now_ms))]
    return [_with_pool(wanted, rollout), wish_of(moved(rollout, Phase.REPLACING, why=why, now_ms=now_ms))]


def ended(rollout: Rollout, phase: Phase, *, now_ms: int) -> Wish:
    """Return what ends a roll-out; what was decided last stays as its reason."""
    return wish_of(moved(rollout, phase, why=rollout.why, now_ms=now_ms))


def stepped(rollout: Rollout, *, why: str, trials: float, now_ms: int) -> Wish:
    """Return what gives a new version its next share."""
    return wish_of(msgspec.structs.replace(rollout, step=rollout.step + 1, step_trials=trials, phase_ms=now_ms, why=why))


def _with_pool(wanted: Desired, rollout: Rollout) -> Wish:
    """Return the fleet with the new version in the pool's place; how many agents it has may have changed meanwhile."""
    assert wanted.fleet is not None, "a roll-out without a fleet"
    pools = (
        msgspec.structs.replace(rollout.to, replicas=pool.replicas) if pool.name == rollout.pool else pool
        for pool in wanted.fleet.pools
    )
    return Wish(FLEET, msgspec.structs.replace(wanted.fleet, pools=tuple(pools)))


def wish_of(rollout: Rollout) -> Wish:
    """Return what has a roll-out stand as it is."""
    return Wish(f"rollout:{rollout.pool}", rollout)


def _held(wanted: Desired, pool: str) -> Rollout:
    if pool not in wanted.rollouts:
        raise RolloutRefused(f"nothing of {pool!r} has been rolled out: begin with `amas rollout start {pool} --version V`")
    return wanted.rollouts[pool]


def _deciding(wanted: Desired, pool: str) -> Rollout:
    rollout = _held(wanted, pool)
    if rollout.phase not in {Phase.STAGING, Phase.CANARY}:
        raise RolloutRefused(f"the roll-out of {pool!r} is {rollout.phase}, so it is decided: {rollout.why}")
    return rollout


def _pool(fleet: FleetSpec, name: str) -> PoolSpec:
    try:
        return fleet.pool(name)
    except KeyError:
        raise RolloutRefused(f"the fleet has no pool {name!r}; it has {', '.join(pool.name for pool in fleet.pools)}") from None


def _branches(rollout: Rollout, pool: str) -> Iterable[str]:
    return (branch(queue, pool) for queue in (*rollout.to.capabilities, f"@{rollout.pool}"))
