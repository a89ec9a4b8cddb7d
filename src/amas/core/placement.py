"""Which hosts run which agents: pure, on ranges of agents' numbers, so that a million agents cost as little as a hundred.

`place` deals the agents of every pool over the hosts that may have them, and moves as few as it can:

- every agent has one host, as long as a host is open; of each pool any two open hosts have the same number, or one more;
- what is left over of the pools goes where the load is least, so that pools of few agents don't all land on one host. Dealt
  anew, two hosts' loads differ by at most the weight of the heaviest agent;
- a host that goes away moves its own agents alone, a new one gets only its share, and a pool that grows or shrinks moves agents
  of no other; the agents that a pool loses are those with the highest numbers, or the one that is taken out (`taken_out`);
- a pool with a `node_selector` is dealt so over the hosts that have its labels, and sits nowhere else;
- a fleet grows no faster than it allows: `admitted` says whom the pools may have now;
- what was dealt already stays as it is: placing again changes nothing.

A cordoned host keeps what it has and gets no more. One that is drained, or gone, isn't among the hosts at all.
"""

import heapq
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from amas.model.desired import Desired, Seats
from amas.model.fleet import PoolSpec
from amas.model.numbers import Numbers, expand, shared
from amas.model.numbers import ranges as ranges_of

ISOLATED_WEIGHT = 8
"""An isolated agent's task is a process of its own: it takes several times the memory of one in the host's, and a fork."""


Ranges = list[tuple[int, int]]
Labels = Mapping[str, Mapping[str, str]]
"""Each host's labels; a host that isn't there has none."""
NO_LABELS: Labels = MappingProxyType({})
NO_COUNTS: Mapping[str, int] = MappingProxyType({})


def agent_weight(pool: PoolSpec) -> int:
    """Return what one agent of a pool weighs: the tasks it runs at a time, each by its isolation."""
    return pool.tasks_per_agent * (ISOLATED_WEIGHT if pool.isolation == "process" else 1)


def open_hosts(desired: Desired, live: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return those of the live hosts that may get agents, and those that only keep what they have."""
    may_get, may_keep = [], []
    for host in sorted(live):
        order = desired.orders.get(host)
        if order is None or not (order.drained or order.cordoned):
            may_get.append(host)
        elif not order.drained:
            may_keep.append(host)
    return may_get, may_keep


def fits(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Return whether a host with these labels may seat agents that ask for a selector's."""
    return all(labels.get(name) == value for name, value in selector.items())


def place(
    pools: Sequence[PoolSpec],
    hosts: Sequence[str],
    present: Mapping[str, Iterable[Seats]],
    *,
    cordoned: Collection[str] = (),
    labels: Labels = NO_LABELS,
) -> dict[str, tuple[Seats, ...]]:
    """Return each host's seats; a host without any isn't named.

    `hosts` may get agents and `cordoned` keep theirs; `present` is what was dealt before, to whomever.
    """
    seats: dict[str, list[Seats]] = {}
    load = dict.fromkeys(hosts, 0)
    for group in _by_selector(pools):
        able = [host for host in (*hosts, *cordoned) if fits(group[0].node_selector, labels.get(host, {}))]
        free, kept = [host for host in able if host in load], [host for host in able if host not in load]
        for host, pool, numbers in _dealt(group, free, present, kept, {host: load[host] for host in free}):
            seats.setdefault(host, []).append(Seats(pool.name, tuple(numbers)))
            if host in load:
                load[host] += _count(numbers) * agent_weight(pool)
    return {host: tuple(of) for host, of in seats.items()}


class Admitted(NamedTuple):
    """Whom a fleet that grows may have now."""

    pools: list[PoolSpec]
    """With the agents that they may have."""
    came: int
    """How many agents are new."""
    lacking: int
    """How many more are wanted."""


def admitted(
    pools: Sequence[PoolSpec], present: Mapping[str, Iterable[Seats]], *, many: int, had: Mapping[str, int] = NO_COUNTS
) -> Admitted:
    """Return the pools with those who are there, whoever takes a lost agent's place, and `many` others in all.

    `present` is what was dealt before, to whomever; `had`, by pool, how many there were before hosts were lost with all of them.
    What may come is shared by what the pools lack.
    """
    pieces = _pieces(present, present.keys())
    held = {
        pool.name: _joined([piece for of in _held(pool, pieces.get(pool.name, [])).values() for piece in of]) for pool in pools
    }
    there = {pool.name: max(_count(held[pool.name]), min(had.get(pool.name, 0), pool.replicas)) for pool in pools}
    lacking = {pool.name: pool.replicas - there[pool.name] for pool in pools}
    total = sum(lacking.values())
    if total <= many:
        return Admitted(list(pools), total, 0)
    come = {name: many * count // total for name, count in lacking.items()}
    for name in sorted(lacking, key=lambda name: many * lacking[name] % total, reverse=True)[: many - sum(come.values())]:
        come[name] += 1
    now = [_of(pool, held[pool.name], there[pool.name] + come[pool.name]) for pool in pools]
    return Admitted(now, many, total - many)


def _of(pool: PoolSpec, held: Ranges, size: int) -> PoolSpec:
    """Return a pool of so many agents: those that it has, and of the others the lowest."""
    new = _take(_without(pool.numbers, held), size - _count(held))
    gone, after = [], 1
    for first, last in _joined(held + new):
        if first > after:
            gone.append((after, first - 1))
        after = last + 1
    return msgspec.structs.replace(pool, replicas=size, gone=tuple(gone))


def growth_s(desired: Desired) -> float:
    """Return the seconds that the agents which are wanted and sit nowhere take to come, as fast as the fleet allows."""
    if desired.fleet is None:
        return 0.0
    return admitted(desired.pools, desired.seats, many=0).lacking / desired.fleet.limits.max_agent_spawn_rate


def unseated(desired: Desired, live: Collection[str], labels: Labels) -> dict[str, str]:
    """Return, by pool, why some of its agents have no live host, as a sentence with the way out."""
    found, (may_get, _) = {}, open_hosts(desired, live)
    for pool in desired.pools:
        seated = sum(seats.count for host in live for seats in desired.seats.get(host, ()) if seats.pool == pool.name)
        if missing := max(0, pool.replicas - seated):
            found[pool.name] = f"{missing} of {pool.name}'s agents have no host: {_why(pool, may_get, live, labels)}"
    return found


def _why(pool: PoolSpec, may_get: Collection[str], live: Collection[str], labels: Labels) -> str:
    asked = ", ".join(f"{name}={value}" for name, value in sorted(pool.node_selector.items()))
    able = [host for host in sorted(live) if fits(pool.node_selector, labels.get(host, {}))]
    if not live:
        return "no host lives"
    if not able:
        start = " ".join(["amas host", *(f"--label {each}" for each in asked.split(", "))])
        return f"none that lives has {asked}: start one with `{start}`, or label one in the fleet file (hosts: {{labels: ...}})"
    if not any(host in may_get for host in able):
        those = f"all with {asked}" if asked else "all"
        return f"{those} are drained or cordoned ({', '.join(able)}): `amas uncordon {able[0]}` opens one"
    return "they are being dealt out"


def _by_selector(pools: Iterable[PoolSpec]) -> list[list[PoolSpec]]:
    """Return the pools that may sit on the same hosts together, those with the most labels first: the others find room beside."""
    groups: dict[tuple[tuple[str, str], ...], list[PoolSpec]] = {}
    for pool in pools:
        groups.setdefault(tuple(sorted(pool.node_selector.items())), []).append(pool)
    return [groups[selector] for selector in sorted(groups, key=lambda selector: (-len(selector), selector))]


def _dealt(
    pools: Sequence[PoolSpec],
    hosts: Sequence[str],
    present: Mapping[str, Iterable[Seats]],
    cordoned: Collection[str],
    load: dict[str, int],
) -> Iterator[tuple[str, PoolSpec, Ranges]]:
    """Return who of these pools sits where, given what the hosts bear already."""
    pieces = _pieces(present, {*hosts, *cordoned})
    held = {pool.name: _held(pool, pieces.get(pool.name, [])) for pool in pools}
    counts = {name: {host: _count(ranges) for host, ranges in of.items()} for name, of in held.items()}
    wanted = _shares(pools, hosts, counts, cordoned, load) if hosts else counts
    for pool in pools:
        for host, numbers in _deal(pool.numbers, held[pool.name], wanted[pool.name]).items():
            if numbers:
                yield host, pool, numbers


def taken_out(pool: PoolSpec, number: int) -> Numbers:
    """Return the numbers that are gone from a pool of one agent fewer when this one of its agents is taken out."""
    left = set(expand(pool.numbers)) - {number}
    return ranges_of(set(range(1, max(left, default=0))) - left)


def _pieces(present: Mapping[str, Iterable[Seats]], hosts: Collection[str]) -> dict[str, list[tuple[int, int, str]]]:
    """Return, by pool, what these hosts have: (first, last, host)."""
    pieces: dict[str, list[tuple[int, int, str]]] = {}
    for host, of in present.items():
        if host in hosts:
            for seats in of:
                pieces.setdefault(seats.pool, []).extend((first, last, host) for first, last in seats.numbers)
    return pieces


def _held(pool: PoolSpec, pieces: list[tuple[int, int, str]]) -> dict[str, Ranges]:
    """Return what each host has of a pool and may keep: numbers that the pool still has, none of them twice."""
    held: dict[str, Ranges] = {}
    numbers, after = pool.numbers, 1
    for first, last, host in sorted(pieces):
        if mine := list(shared(max(first, after), last, numbers)):
            held.setdefault(host, []).extend(mine)
            after = last + 1
    return held


def _shares(
    pools: Sequence[PoolSpec],
    hosts: Sequence[str],
    counts: Mapping[str, Mapping[str, int]],
    cordoned: Collection[str],
    load: dict[str, int],
) -> dict[str, dict[str, int]]:
    """Return how many agents of each pool each host is to have; `load` is what hosts bear beyond what all have alike."""
    fresh = [host for host in hosts if not any(of.get(host) for of in counts.values())]
    shares: dict[str, dict[str, int]] = {}
    extras: dict[str, int] = {}
    weights = {pool.name: agent_weight(pool) for pool in pools}
    for pool in pools:
        has = counts[pool.name]
        shares[pool.name] = {host: has[host] for host in cordoned if has.get(host)}
        each, extras[pool.name] = divmod(pool.replicas - sum(shares[pool.name].values()), len(hosts))
        shares[pool.name].update(dict.fromkeys(hosts, each))
    for name in _lightest_last(weights):  # who has one more keeps it
        floor = shares[name][hosts[0]]
        above = [host for host in hosts if counts[name].get(host, 0) > floor]
        keep = heapq.nsmallest(extras[name], above, key=lambda host: (load[host], -counts[name][host], host))
        _add(shares[name], load, keep, weights[name])
        extras[name] -= len(keep)
    for name in _lightest_last(weights):
        floor = min(shares[name][host] for host in hosts)
        below = [host for host in hosts if shares[name][host] == floor]
        _add(shares[name], load, heapq.nsmallest(extras[name], below, key=lambda host: (load[host], host)), weights[name])
    if fresh and len(fresh) < len(hosts):
        _fill(fresh, hosts, shares, load, weights)
    return shares


def _lightest_last(weights: Mapping[str, int]) -> list[str]:
    return sorted(weights, key=lambda name: -weights[name])


def _add(share: dict[str, int], load: dict[str, int], chosen: Iterable[str], weight: int) -> None:
    for host in chosen:
        share[host] += 1
        load[host] += weight


def _fill(
    fresh: Sequence[str],
    hosts: Sequence[str],
    shares: Mapping[str, dict[str, int]],
    load: dict[str, int],
    weights: Mapping[str, int],
) -> None:
    """Give hosts that have nothing yet their share of the pools that have too few agents for all."""
    while True:
        to = min(fresh, key=lambda host: (load[host], host))
        for giver in sorted(hosts, key=lambda host: (-load[host], host)):
            gap = load[giver] - load[to]
            fitting = [name for name, share in shares.items() if share[giver] > share[to] and weights[name] < gap]
            if fitting:
                name = max(fitting, key=lambda name: (weights[name], name))
                _add(shares[name], load, (to,), weights[name])
                shares[name][giver] -= 1
                load[giver] -= weights[name]
                break
        else:
            return


def _deal(numbers: Numbers, held: Mapping[str, Ranges], wanted: Mapping[str, int]) -> dict[str, Ranges]:
    """Return each host's numbers: what it has, without the highest where that is too much, and of the free ones what it lacks."""
    kept = {host: _lowest(held.get(host, []), count) for host, count in wanted.items()}
    free = _without(numbers, sorted(piece for of in kept.values() for piece in of))
    for host, count in wanted.items():
        lacking = count - _count(kept[host])
        if lacking:
            kept[host] = _joined(kept[host] + _take(free, lacking))
    return kept


def _count(ranges: Iterable[tuple[int, int]]) -> int:
    return sum(last - first + 1 for first, last in ranges)


def _lowest(ranges: Ranges, count: int) -> Ranges:
    """Return the lowest `count` numbers of ranges in order."""
    found: Ranges = []
    for first, last in ranges:
        if count <= 0:
            break
        found.append((first, min(last, first + count - 1)))
        count -= last - first + 1
    return found


def _without(numbers: Numbers, taken: Ranges) -> Ranges:
    """Return those of the numbers that aren't taken, the highest first, as a stack whose end is the lowest.

    `taken` is in order, and each of its ranges lies within one of the numbers'.
    """
    free, at = [], 0
    for first, last in numbers:
        after = first
        while at < len(taken) and taken[at][1] <= last:
            if taken[at][0] > after:
                free.append((after, taken[at][0] - 1))
            after = taken[at][1] + 1
            at += 1
        if after <= last:
            free.append((after, last))
    return free[::-1]


def _take(free: Ranges, count: int) -> Ranges:
    """Take the lowest `count` numbers off a stack of free ones."""
    found: Ranges = []
    while count:
        first, last = free.pop()
        end = min(last, first + count - 1)
        found.append((first, end))
        count -= end - first + 1
        if end < last:
            free.append((end + 1, last))
    return found


def _joined(ranges: Ranges) -> Ranges:
    """Return ranges in order, neighbours made one."""
    found: Ranges = []
    for first, last in sorted(ranges):
        if found and found[-1][1] + 1 == first:
            found[-1] = (found[-1][0], last)
        else:
            found.append((first, last))
    return found
