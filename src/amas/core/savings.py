"""What a fleet saves by being no larger and asking no more than it must, and which of its optimisations are at work. Pure.

A saving in dollars is told only where the fleet file says what an agent costs (`agent_usd_per_hour`); it is against the same pool
with all the agents that it may have. Nothing here is a guess: what can't be known is None.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

import msgspec

from amas.core.windows import holds
from amas.model.fleet import PoolSpec
from amas.model.scaling import HostScaling, PoolScaling

SavingKind = Literal["scaling", "window", "hosts", "prompt_cache"]


class Saving(msgspec.Struct, frozen=True, kw_only=True):
    """One optimisation that is at work now."""

    kind: SavingKind
    words: str
    """For people, in a sentence."""
    usd_per_hour: float | None = None
    """Null where nothing says what it is worth."""


class Savings(msgspec.Struct, frozen=True, kw_only=True):
    """All that is saved now."""

    usd_per_hour: float | None
    """The sum of those whose worth is known; null when none's is."""
    active: list[Saving]


def savings(
    pools: Iterable[PoolSpec],
    views: Mapping[str, PoolScaling],
    *,
    now_ms: int,
    hosts: tuple[HostScaling | None, PoolScaling | None] = (None, None),
    cached: tuple[int, int] = (0, 0),
) -> Savings:
    """Return what is saved now; `cached`: tokens that providers read from their caches in the last day, and all input tokens."""
    pools = list(pools)
    active = [*_smaller(pools, views), *_windows(pools, now_ms), *_fewer_hosts(*hosts), *_cached(*cached)]
    known = [saving.usd_per_hour for saving in active if saving.usd_per_hour is not None]
    return Savings(usd_per_hour=sum(known) if known else None, active=active)


def _smaller(pools: Iterable[PoolSpec], views: Mapping[str, PoolScaling]) -> Iterator[Saving]:
    for pool in pools:
        spec, view = pool.scaling, views.get(pool.name)
        if spec is None or view is None or view.recommend_only or view.replicas >= spec.max:
            continue
        fewer = spec.max - view.replicas
        usd = fewer * spec.agent_usd_per_hour if spec.agent_usd_per_hour is not None else None
        yield Saving(kind="scaling", words=f"{pool.name} has {view.replicas} of at most {spec.max} agents", usd_per_hour=usd)


def _windows(pools: Iterable[PoolSpec], now_ms: int) -> Iterator[Saving]:
    for pool in pools:
        for window in pool.scaling.windows if pool.scaling else ():
            if holds(window.when, window.zone, now_ms):
                bounds = " and ".join(
                    f"at {what} {size}" for what, size in (("least", window.min), ("most", window.max)) if size is not None
                )
                yield Saving(kind="window", words=f"{pool.name} has {bounds} agents now ({window.when} {window.zone})")


def _fewer_hosts(spec: HostScaling | None, view: PoolScaling | None) -> Iterator[Saving]:
    if spec is not None and view is not None and view.replicas < spec.scaling.max:
        yield Saving(kind="hosts", words=f"{view.replicas} of at most {spec.scaling.max} hosts run")


def _cached(cached: int, read: int) -> Iterator[Saving]:
    if cached:
        share = f"{cached / read:.0%} of the last day's" if read else "some"
        yield Saving(kind="prompt_cache", words=f"{share} input tokens came from providers' caches")
