"""Memory limits that follow what isolated attempts take: the autoscaler's second decision about a pool.

What hosts say of their children's memory comes with their beats; `core/scaling_limits.py` decides; what changes is a `limit:POOL`
of the desired state, in the same change as sizes. Hosts give it to the next attempts: those that run end with the limit that they
began with. A limit whose rule, or whose declared limit, is gone is taken back.
"""

from collections.abc import Mapping
from typing import NamedTuple

from amas.core.scaling_limits import LimitSeen, LimitTurn, decide_limit, limit_viewed
from amas.engine.desired import Wish
from amas.engine.scaling import HostLoad
from amas.model.desired import Desired, MemoryLimit
from amas.model.fleet import PoolSpec
from amas.model.scaling import AUTOSCALER, LimitView, VerticalSpec


class LimitDecided(NamedTuple):
    """What was seen and decided of one pool's memory limit."""

    rule: VerticalSpec
    seen: LimitSeen
    turn: LimitTurn
    applied: bool
    """Whether decisions are carried out, and aren't only advice."""

    @property
    def changes(self) -> bool:
        """Whether the pool is to have another limit."""
        return self.applied and self.turn.memory_mb != self.seen.limit_mb

    def viewed(self, before: LimitView | None) -> LimitView:
        """Return what people are shown."""
        return limit_viewed(self.rule, self.seen, self.turn, before, applied=self.applied)


def decided(pool: PoolSpec, desired: Desired, hosts: Mapping[str, HostLoad], *, roomy_ms: int, at_ms: int) -> LimitDecided | None:
    """Return what is to become of a pool's memory limit; None where it follows nothing. `pool`: as it is to run now."""
    if desired.fleet is None or pool.scaling is None or (rule := pool.scaling.vertical) is None or pool.variant_of:
        return None
    limit = desired.limits.get(pool.name)
    seen = LimitSeen(
        at_ms=at_ms,
        declared_mb=desired.fleet.pool(pool.name).limits.memory_mb,
        limit_mb=pool.limits.memory_mb,
        used_mb=max((load.figures.memory_mb.get(pool.name, 0) for load in hosts.values()), default=0),
        changed_ms=limit.at_ms if limit else 0,
        roomy_ms=roomy_ms,
    )
    return LimitDecided(rule, seen, decide_limit(rule, seen), not pool.scaling.recommend_only)


def changes(desired: Desired, limits: Mapping[str, LimitDecided]) -> list[tuple[Wish, str]]:
    """Return the wishes that follow, each with its reason; `limits`: of all pools whose limit follows what is taken."""
    made = []
    for name, each in limits.items():
        if each.changes:
            why = f"the memory limit of {name} {each.turn.reason}"
            limit = MemoryLimit(
                memory_mb=each.turn.memory_mb,
                declared_mb=each.seen.declared_mb,
                by=AUTOSCALER,
                why=each.turn.reason,
                at_ms=each.seen.at_ms,
            )
            made.append((Wish(f"limit:{name}", limit), why))
    for name, limit in sorted(desired.limits.items()):
        found = limits.get(name)
        if found is None or not found.applied or limit.declared_mb != found.seen.declared_mb:
            why = f"{name} has its declared memory limit: what it was raised from isn't declared any more"
            made += [(Wish(f"limit:{name}", None), why)] if not found or not found.changes else []
    return made
