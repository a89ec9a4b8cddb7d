"""The autoscaler: makes pools that declare `scaling:` as large as their work asks for, by way of the desired state.

A sweep reads queues, what runs and the hosts in a handful of calls, whatever waits; `core/scaling.py` decides; what changes is
one change of the desired state, refused where that has changed since it was read. What windows and forecasts rest on is kept in
the engine with each decision and every half minute, so a leader that dies takes half a minute of it along at most. A change that
was made and not noted is found again in the desired state. A size that somebody else set stays until it is given back.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from amas.controllers.cpu_use import CpuUse
from amas.controllers.memory_limits import LimitDecided, changes, decided
from amas.core.scaling import Turn, decide, viewed
from amas.core.scaling_history import ScalingMemory
from amas.engine.desired import DesiredState, Wish
from amas.engine.inbox import Inboxes
from amas.engine.routes import branch
from amas.engine.scaling import HostLoad, QueueSeen, ScalingState
from amas.errors import DesiredChanged, RecordsError
from amas.model.desired import Desired, Scale
from amas.model.fleet import PoolSpec
from amas.model.numbers import pool_named
from amas.model.scaling import AUTOSCALER, Observation, PoolScaling, ScalingSpec, ScalingStep
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.ended import Span
from amas.records.store import Records

PAUSE_S = 2.0
"""As often as hosts beat: more looks would see little that is new."""
WAKE_S = 0.25
"""While a pool has no agents: what comes for it waits no longer than this, and the agents' own start."""
AGAIN_S = 0.1
KEEP_MS = 30_000
COSTS_MS, SPAN_MS = 60_000, 3_600_000
"""How often, and over which time, it is learned what an agent costs."""
POOLS_MAX = 1000


class _Look(NamedTuple):
    """The fleet's work as one sweep sees it."""

    at_ms: int
    queues: Mapping[str, QueueSeen]
    hosts: Mapping[str, HostLoad]
    messages: Mapping[str, int]
    """By pool."""
    workflows: int


class _Size(NamedTuple):
    """A decision about one pool, and whether it is carried out."""

    pool: PoolSpec
    turn: Turn
    pinned_by: str
    applied: bool
    limit: LimitDecided | None
    """Of its memory limit, where that follows what is taken."""


class Autoscaler:
    """Sizes pools."""

    name = "autoscaler"

    def __init__(self, state: ScalingState, desired: DesiredState, inboxes: Inboxes, records: Records) -> None:
        self._state, self._desired, self._inboxes, self._records = state, desired, inboxes, records
        self._memories: dict[str, ScalingMemory] = {}
        self._views: dict[str, PoolScaling] = {}
        self._known = False
        self._kept_ms: dict[str, int] = {}
        self._cpu = CpuUse()
        self._usd: dict[str, float] = {}
        self._usd_ms = 0
        self._swept_ms = 0
        self._asleep: list[str] = []

    async def run_once(self, *, now_ms: int | None = None) -> float:
        """Size every pool that declares how, and return the seconds until the next look; `now_ms` is for tests."""
        at_ms = self._state.now_ms() if now_ms is None else now_ms
        if at_ms - self._swept_ms < PAUSE_S * 1000 and not await self._something_waits():
            return WAKE_S
        desired = await self._desired.read()
        pools = [pool for pool in desired.pools if pool.scaling]
        if not self._known:
            self._memories, self._views = await self._state.kept()
            self._known = True
        look = await self._look(desired, pools, at_ms)
        sizes = self._decide(desired, pools, look, await self._costs(pools, at_ms))
        try:
            await self._apply(desired, sizes, at_ms)
        except DesiredChanged:
            return AGAIN_S
        await self._keep(sizes, look)
        self._swept_ms = at_ms
        self._asleep = [queue for size in sizes if not size.turn.decision.replicas for queue in size.pool.queues]
        return WAKE_S if self._asleep else PAUSE_S

    async def _something_waits(self) -> bool:
        return any(seen.waiting for seen in (await self._state.queues(self._asleep)).values())

    async def _look(self, desired: Desired, pools: Iterable[PoolSpec], at_ms: int) -> _Look:
        shared = _carriers(desired)
        queues = sorted({queue for pool in pools for queue in _queues(pool, shared)})
        if not queues:
            return _Look(at_ms, {}, {}, {}, 0)
        targets = [pool.scaling.targets for pool in pools if pool.scaling]
        messages: dict[str, int] = {}
        if any(each.messages is not None for each in targets):
            for inbox, count in (await self._inboxes.backlog(now_ms=at_ms)).items():
                name = pool_named(inbox)
                messages[name] = messages.get(name, 0) + count
        workflows = await self._state.open_workflows() if any(each.workflows is not None for each in targets) else 0
        hosts = await self._state.hosts(now_ms=at_ms)
        self._cpu.take(hosts, at_ms)
        return _Look(at_ms, await self._state.queues(queues), hosts, messages, workflows)

    def _decide(self, desired: Desired, pools: Iterable[PoolSpec], look: _Look, usd: Mapping[str, float]) -> list[_Size]:
        assert desired.fleet is not None or not pools
        shared = _carriers(desired)
        room = desired.fleet.limits.max_total_agents - sum(pool.replicas for pool in desired.pools) if desired.fleet else 0
        sizes = []
        for pool in pools:
            spec, scale = pool.scaling, desired.scales.get(pool.name)
            assert spec is not None
            seen = self._observed(pool, spec, desired, look, shared)
            turn = decide(
                spec,
                self._memories.get(pool.name, ScalingMemory()),
                seen,
                replicas=pool.replicas,
                slots=pool.tasks_per_agent,
                room=max(0, room),
                agent_usd_per_hour=usd.get(pool.name),
            )
            pinned_by = scale.by if scale and scale.by != AUTOSCALER else ""
            applied = not pinned_by and not spec.recommend_only
            if applied:
                room -= turn.decision.replicas - pool.replicas
            elif turn.decision.replicas != pool.replicas:  # it keeps the size that it has
                turn = turn._replace(memory=msgspec.structs.replace(turn.memory, sizes=turn.memory.sizes[:-1]))
            limit = decided(pool, desired, look.hosts, roomy_ms=turn.memory.roomy_ms, at_ms=look.at_ms)
            if limit:
                turn = turn._replace(memory=msgspec.structs.replace(turn.memory, roomy_ms=limit.turn.roomy_ms))
            sizes.append(_Size(pool, turn, pinned_by, applied, limit))
        return sizes

    def _observed(
        self, pool: PoolSpec, spec: ScalingSpec, desired: Desired, look: _Look, shared: Mapping[str, list[PoolSpec]]
    ) -> Observation:
        queues = {queue: look.queues[queue] for queue in _queues(pool, shared)}
        shares = {queue: _share(pool, shared.get(queue, ())) for queue in queues}
        waiting, backlog = sum(shares[name] * seen.waiting for name, seen in queues.items()), 0
        arrived: int | None = 0
        for seen in queues.values():
            backlog += seen.waiting
            arrived = None if arrived is None or seen.arrived is None else arrived + seen.arrived
        agents = {host: sum(seats.count for seats in of if seats.pool == pool.name) for host, of in desired.seats.items()}
        rss = {host: load.figures.rss_bytes / (1 << 20) for host, load in look.hosts.items()}
        return Observation(
            at_ms=look.at_ms,
            waiting=waiting,
            share=waiting / backlog if backlog else sum(map(shares.__getitem__, pool.capabilities)) / len(pool.capabilities),
            backlog=backlog,
            arrived=arrived,
            seated=sum(agents.values()) if agents else None,
            running=sum(load.running[pool.name] for load in look.hosts.values()),
            cpu=_mean(self._cpu.used, agents) if spec.targets.cpu is not None else None,
            memory_mb=_mean(rss, agents) if spec.targets.memory_mb is not None else None,
            messages=look.messages.get(pool.name, 0) if spec.targets.messages is not None else 0,
            workflows=look.workflows,
        )

    async def _costs(self, pools: Iterable[PoolSpec], at_ms: int) -> Mapping[str, float]:
        """Return what an hour of an agent at work cost lately, by pool, where it matters and anything was spent."""
        wanted = {
            pool.name for pool in pools if pool.scaling and pool.scaling.usd_per_hour and not pool.scaling.agent_usd_per_hour
        }
        if wanted and at_ms - self._usd_ms >= COSTS_MS:
            self._usd_ms = at_ms
            try:
                _, groups = await self._records.costs("pool", Span(since_ms=at_ms - SPAN_MS), limit=POOLS_MAX)
            except RecordsError:
                return self._usd  # what was learned before is better than nothing
            self._usd = {
                one.name: one.usd / one.agent_s * 3600 for one in groups if one.name in wanted and one.usd and one.agent_s
            }
        return self._usd

    async def _apply(self, desired: Desired, sizes: Sequence[_Size], at_ms: int) -> None:
        changed = [size for size in sizes if size.applied and size.turn.decision.replicas != size.pool.replicas]
        kept = {size.pool.name for size in sizes if size.applied}
        left = sorted(name for name, scale in desired.scales.items() if scale.by == AUTOSCALER and name not in kept)
        limits = changes(desired, {size.pool.name: size.limit for size in sizes if size.limit})
        wishes = [*(Wish(f"scale:{name}", None) for name in left), *(wish for wish, _ in limits)]
        reasons = [f"{name} has its declared size: it isn't scaled any more" for name in left]
        reasons += [why for _, why in limits]
        if not changed and not wishes:
            return
        for size in changed:
            made, pool = size.turn.decision, size.pool.name
            scale = Scale(replicas=made.replicas, by=AUTOSCALER, why=made.reason, at_ms=at_ms)
            wishes.append(Wish(f"scale:{pool}", scale))
            reasons.append(f"{pool} {made.reason}")
        await self._desired.change(wishes, by=AUTOSCALER, why="\n".join(reasons), expect=desired.revision, now_ms=at_ms)
        for size in changed:
            made = size.turn.decision
            process_log().info(
                "a pool has another size",
                event=events.POOL_SCALED,
                pool=size.pool.name,
                before=made.before,
                replicas=made.replicas,
                why=made.reason,
            )

    async def _keep(self, sizes: Iterable[_Size], look: _Look) -> None:
        views, memories = {}, {}
        for size in sizes:
            name, before = size.pool.name, self._views.get(size.pool.name)
            view = _viewed(size, before)
            self._memories[name] = size.turn.memory
            if before is None or msgspec.structs.replace(before, at_ms=view.at_ms) != view:
                views[name] = view
            moved = before is None or _steps(view) != _steps(before)
            if moved or look.at_ms - self._kept_ms.get(name, 0) >= KEEP_MS:
                memories[name] = size.turn.memory
                views[name] = view
        gone = self._views.keys() - {size.pool.name for size in sizes}
        uncounted = [queue for queue, seen in look.queues.items() if seen.arrived is None]
        if memories or views or gone or uncounted:
            await self._state.keep(memories, views, count=uncounted, forget=gone)
        self._kept_ms.update(dict.fromkeys(memories, look.at_ms))
        self._views.update(views)
        for name in gone:
            for held in (self._views, self._memories, self._kept_ms):
                held.pop(name, None)


def _carriers(desired: Desired) -> dict[str, list[PoolSpec]]:
    """Return the pools of each capability that more than one of them carries."""
    carriers: dict[str, list[PoolSpec]] = {}
    for pool in desired.pools:
        for capability in pool.capabilities:
            carriers.setdefault(capability, []).append(pool)
    return {capability: pools for capability, pools in carriers.items() if len(pools) > 1}


def _queues(pool: PoolSpec, shared: Mapping[str, list[PoolSpec]]) -> list[str]:
    """Return the queues that a pool serves, its branches of shared capabilities included."""
    return [*pool.queues, *(branch(capability, pool.name) for capability in pool.capabilities if capability in shared)]


def _share(pool: PoolSpec, carriers: Iterable[PoolSpec]) -> float:
    """Return the share of a queue's work that falls to a pool: as many places as it has, one at least."""
    places = {each.name: max(1, each.replicas * each.tasks_per_agent) for each in carriers}
    return places[pool.name] / sum(places.values()) if places else 1.0


def _mean(figures: Mapping[str, float], agents: Mapping[str, int]) -> float | None:
    """Return a figure of hosts as it is for the mean agent; None where none of them has one."""
    held = {host: count for host, count in agents.items() if count and host in figures}
    return sum(figures[host] * count for host, count in held.items()) / sum(held.values()) if held else None


def _viewed(size: _Size, before: PoolScaling | None) -> PoolScaling:
    """Return what people are shown after a decision."""
    made, spec = size.turn.decision, size.pool.scaling
    assert spec is not None
    now = PoolScaling(
        pool=size.pool.name,
        replicas=made.replicas if size.applied else size.pool.replicas,
        min=spec.min,
        max=spec.max,
        pinned_by=size.pinned_by,
        recommend_only=spec.recommend_only,
    )
    shown = viewed(made, before, now)
    return msgspec.structs.replace(shown, limit=size.limit.viewed(before.limit if before else None)) if size.limit else shown


def _steps(view: PoolScaling) -> tuple[ScalingStep, ...]:
    return (*view.steps, *(view.limit.steps if view.limit else ()))
