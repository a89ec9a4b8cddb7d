"""What would change if another fleet were declared: pure, in words and in figures, for people to read before they say yes."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from amas.model.desired import Desired, Scale
from amas.model.fleet import FleetSpec
from amas.model.meant import meant_or_known


class FieldChange(msgspec.Struct, frozen=True):
    """One field, before and after; None where it isn't there."""

    field: str
    before: Any
    after: Any


class Change(msgspec.Struct, frozen=True):
    """What happens to one pool, provider or tenant, or to the fleet itself."""

    what: str
    """`fleet`, `pool coder`, `provider acme`, `tenant shop`."""
    how: str
    """`added`, `removed` or `changed`."""
    agents: int = 0
    """Agents more (or fewer) to run."""
    fields: tuple[FieldChange, ...] = ()
    """What is changed; empty when it is added or removed."""


class Difference(msgspec.Struct, frozen=True):
    """All of it; nothing at all when `changes` is empty."""

    changes: tuple[Change, ...]
    agents_before: int
    agents_after: int
    hosts_before: int
    hosts_after: int
    queues_lost: tuple[str, ...] = ()
    """Queues that nobody would be served from any more: of capabilities, and of pools (`@coder`)."""
    scales_dropped: tuple[str, ...] = ()
    """Pools whose scale goes, because they go or the new limits don't allow it."""
    scales_kept: tuple[str, ...] = ()
    """Pools that run as many agents as their scale says, whatever the file says."""


def difference(desired: Desired, fleet: FleetSpec) -> Difference:
    """Return what changes when `fleet` is declared in place of what is."""
    kept = scales_kept(desired.scales, fleet)
    after = Desired(fleet=fleet, scales=kept, host_scale=desired.host_scale)
    before = desired.fleet
    held, wanted = (_sizes(desired), _sizes(after))
    return Difference(
        changes=tuple(_changes(before, fleet, held, wanted)),
        agents_before=sum(held.values()),
        agents_after=sum(wanted.values()),
        hosts_before=desired.hosts,
        hosts_after=after.hosts,
        queues_lost=tuple(sorted(_queues(before) - _queues(fleet))) if before else (),
        scales_dropped=tuple(sorted(desired.scales.keys() - kept.keys())),
        scales_kept=tuple(sorted(kept)),
    )


def scales_kept(scales: Mapping[str, Scale], fleet: FleetSpec) -> dict[str, Scale]:
    """Return the scales that a fleet allows: of pools that it has, within its limits."""
    names, most = {pool.name for pool in fleet.pools}, fleet.limits.max_agents_per_pool
    kept = {name: scale for name, scale in scales.items() if name in names and scale.replicas <= most}
    total = sum(pool.replicas for pool in Desired(fleet=fleet, scales=kept).pools)
    return kept if total <= fleet.limits.max_total_agents else {}


def why_not(desired: Desired, pool_name: str, replicas: int) -> str:
    """Return why a pool can't be scaled so, as one sentence with the way out; "" when it can."""
    fleet = desired.fleet
    if fleet is None:
        return "no fleet is declared: start one with `amas up`, or declare one with `amas apply FILE`"
    sizes = _sizes(desired)
    if pool_name not in sizes:
        return f"there is no pool {pool_name!r}{meant_or_known(pool_name, sizes)}"
    limits = fleet.limits
    if not 0 <= replicas <= limits.max_agents_per_pool:
        return (
            f"{replicas} agents of {pool_name} can't be: this fleet allows from 0 to {limits.max_agents_per_pool} in a pool; "
            "raise limits.max_agents_per_pool in its file and apply it"
        )
    total = sum(sizes.values()) - sizes[pool_name] + replicas
    if total > limits.max_total_agents:
        return (
            f"{replicas} agents of {pool_name} would make {total} in all, and this fleet allows {limits.max_total_agents}; "
            "raise limits.max_total_agents in its file and apply it, or scale another pool down"
        )
    return ""


def told(found: Difference, queued: Mapping[str, int]) -> list[str]:
    """Return the difference in plain words, one line each; the last is the sum. `queued`: tasks by queue."""
    if not found.changes:
        return [f"nothing changes: {found.agents_after} agents on {_hosts(found.hosts_after)}"]
    lines = [line for change in found.changes for line in _change_told(change)]
    lines += [_loss_told(queue, queued.get(queue, 0)) for queue in found.queues_lost if queued.get(queue) or queue[0] != "@"]
    lines += [f"! the scale of {pool} is dropped" for pool in found.scales_dropped]
    lines += [f"  {pool} keeps the size that its scale says: `amas scale {pool} --reset` ends that" for pool in found.scales_kept]
    more = found.agents_after - found.agents_before
    lines.append(
        f"{found.agents_before} -> {found.agents_after} agents ({more:+d}) on "
        + (
            _hosts(found.hosts_after)
            if found.hosts_before == found.hosts_after
            else f"{found.hosts_before} -> {_hosts(found.hosts_after)}"
        )
    )
    return lines


def _loss_told(queue: str, tasks: int) -> str:
    whose = f"are the pool {queue[1:]}'s own" if queue.startswith("@") else f"need {queue}"
    if not tasks:
        return f"! nobody can do {queue} any more; none is queued"
    return f"! {tasks} queued task{'' if tasks == 1 else 's'} that {whose} stay queued until somebody can do them"


def _queues(fleet: FleetSpec) -> set[str]:
    return {queue for pool in fleet.pools for queue in pool.queues}


def _hosts(count: int) -> str:
    return f"{count} host{'' if count == 1 else 's'}"


def _change_told(change: Change) -> Iterator[str]:
    sign = {"added": "+", "removed": "-", "changed": "~"}[change.how]
    agents = f" ({change.agents:+d} agent{'' if abs(change.agents) == 1 else 's'})" if change.agents else ""
    yield f"{sign} {change.what}{agents}"
    for field in change.fields:
        yield f"    {field.field}: {_shown(field.before)} -> {_shown(field.after)}"


def _shown(value: Any) -> str:
    return "(none)" if value is None else value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _sizes(desired: Desired) -> dict[str, int]:
    return {pool.name: pool.replicas for pool in desired.pools}


def _changes(before: FleetSpec | None, after: FleetSpec, held: Mapping[str, int], wanted: Mapping[str, int]) -> Iterator[Change]:
    old, new = _parts(before) if before else {}, _parts(after)
    for what in [*new, *(what for what in old if what not in new)]:
        pool = what.removeprefix("pool ") if what.startswith("pool ") else ""
        more = wanted.get(pool, 0) - held.get(pool, 0) if pool else 0
        if what not in old:
            yield Change(what, "added", more)
        elif what not in new:
            yield Change(what, "removed", more)
        elif fields := tuple(_fields(old[what], new[what])):
            yield Change(what, "changed", more, fields)


_OWN_PARTS = {"pools", "providers", "tenants", "policies"}


def _parts(fleet: FleetSpec) -> dict[str, dict[str, Any]]:
    """Return what a fleet consists of, each part as plain values, flat: `limits.memory_mb`."""
    whole = msgspec.to_builtins(fleet)
    parts = {"fleet": {name: value for name, value in whole.items() if name not in _OWN_PARTS}}
    parts |= {f"pool {pool['name']}": {name: value for name, value in pool.items() if name != "name"} for pool in whole["pools"]}
    parts |= {f"provider {one['name']}": one for one in whole["providers"]}
    parts |= {f"tenant {name}": tenant for name, tenant in whole["tenants"].items()}
    parts |= {f"policy {one['name']}": one for one in whole["policies"]}
    return {what: dict(_flat(part)) for what, part in parts.items()}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", sorted(value) if name == "rights" and value is not None else value


def _fields(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[FieldChange]:
    for field in [*after, *(field for field in before if field not in after)]:
        filled = {} in (before.get(field), after.get(field)) and any(
            each.startswith(f"{field}.") for each in (*before, *after)
        )  # a mapping that was empty, or is now: its keys tell it
        if before.get(field) != after.get(field) and not filled:
            yield FieldChange(field, before.get(field), after.get(field))
