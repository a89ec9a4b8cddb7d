"""Which pool gets a task, where several can do it: success, time, money and queues, weighed by what is known and how well.

What is known of a (capability, pool, version) is a `Belief`: sums over its outcomes, all of which halve with every half-life.
From them follow a Beta distribution of the success rate and a normal-gamma of the logarithm of the duration. A pool's share is
how often it comes out best when each pool's figures are drawn from its distributions (Thompson, 1933, as probability matching):
who is surely worse gets nothing by merit, who is hardly known gets its chance. An exploration budget is spread evenly on top, so
that a pool that became better is found out.

Pure: chance is handed in, time is `elapsed_s`. Called by `controllers/router.py` and the simulator.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from amas.model.routing import Choice, Route, RoutingSpec, RoutingWeights

PRIOR_SUCCESSES, PRIOR_FAILURES = 4.0, 1.0
"""Of agents nobody has seen at work yet: four of five attempts succeed, give or take a lot."""
PRIOR_LOG_S, PRIOR_LOG_TRIALS = 0.0, 0.5
"""A task takes a second, for what half an observation is worth."""
PRIOR_SHAPE, PRIOR_SPREAD = 1.5, 0.75
"""Gamma on the precision of the log duration: one task takes two or three times as long as the next."""
INHERITED_TRIALS = 10.0
"""A new version begins with what is known of the one before, but never more surely than by so many outcomes."""
FORGOTTEN_TRIALS = 0.01
"""A belief that rests on less isn't kept."""
SUCCESS_MIN = 0.02
"""Nobody is thought to need more than fifty attempts."""
LOG_S_MAX = 14.0
"""Twelve days: keeps the exponential of an unlikely draw finite."""
DRAWS = 128
"""Thompson draws for a share: it is exact to a few percent, and exploration covers what falls through."""
HORIZON_S = 2.0
"""A pool's own queue holds what its agents do in about two sweeps; what is beyond isn't committed to anyone."""
ALLOWANCE_MAX = 10_000
EXPLORED_BELOW = 0.05
"""A pool that is the best with less probability has its share from exploration."""
SLACK = 1.1
"""Who is within a tenth of the best pulls beside it."""


class Chance(Protocol):
    """Where draws come from: `random.Random`, seeded by the caller."""

    def betavariate(self, alpha: float, beta: float, /) -> float:
        """Return a draw from Beta(alpha, beta)."""
        ...

    def gammavariate(self, alpha: float, beta: float, /) -> float:
        """Return a draw from Gamma with shape alpha and scale beta."""
        ...

    def gauss(self, mu: float, sigma: float, /) -> float:
        """Return a draw from a normal distribution."""
        ...


class Belief(msgspec.Struct, frozen=True, array_like=True):
    """What outcomes tell: sums, of which the older count for less."""

    successes: float = 0.0
    failures: float = 0.0
    timed: float = 0.0
    """Tasks whose duration is known: those that succeeded without a failure or a lost host."""
    log_s: float = 0.0
    """Sum of the logarithms of their seconds."""
    log_s_squared: float = 0.0
    seconds: float = 0.0
    usd: float = 0.0
    """Dollars of all attempts."""
    usd_squared: float = 0.0
    """Sum of their squares."""

    @property
    def trials(self) -> float:
        """How many outcomes it rests on."""
        return self.successes + self.failures

    @property
    def success(self) -> float:
        """The expected success rate."""
        return (self.successes + PRIOR_SUCCESSES) / (self.trials + PRIOR_SUCCESSES + PRIOR_FAILURES)

    @property
    def usd_each(self) -> float:
        """Mean dollars of an attempt."""
        return self.usd / self.trials if self.trials > 0 else 0.0

    def scaled(self, factor: float) -> "Belief":
        """Return the same belief, held with `factor` times the certainty."""
        return Belief(*(value * factor for value in msgspec.structs.astuple(self)))

    def plus(self, other: "Belief") -> "Belief":
        """Return what both tell together."""
        return Belief(*(a + b for a, b in zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)))

    def minus(self, seen: "Belief") -> "Belief":
        """Return what is new since `seen`; of sums that began anew, all of it."""
        if self.trials < seen.trials:
            return self
        return self.plus(seen.scaled(-1.0))

    def duration(self) -> tuple[float, float, float, float]:
        """Return the normal-gamma of the log duration: mean, its weight, shape and rate of the precision."""
        n, weight = self.timed, PRIOR_LOG_TRIALS + self.timed
        mean = (PRIOR_LOG_TRIALS * PRIOR_LOG_S + self.log_s) / weight
        if n <= 0:
            return mean, weight, PRIOR_SHAPE, PRIOR_SPREAD
        own = self.log_s / n
        spread = max(0.0, self.log_s_squared - n * own * own)
        apart = PRIOR_LOG_TRIALS * n / weight * (own - PRIOR_LOG_S) ** 2
        return mean, weight, PRIOR_SHAPE + n / 2, PRIOR_SPREAD + (spread + apart) / 2

    @property
    def median_s(self) -> float:
        """The expected median duration in seconds."""
        return math.exp(min(self.duration()[0], LOG_S_MAX))

    @property
    def mean_s(self) -> float:
        """The expected mean duration in seconds."""
        return (self.seconds + PRIOR_LOG_TRIALS * self.median_s) / (self.timed + PRIOR_LOG_TRIALS)


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A pool that can do the capability, as it stands."""

    pool: str
    belief: Belief
    slots: int
    """Tasks that its live agents do at a time; 0: it has none."""
    waiting: int = 0
    """Tasks queued for it alone."""
    versions: tuple[str, ...] = ()


def decayed(belief: Belief, elapsed_s: float, half_life_s: float) -> Belief:
    """Return a belief `elapsed_s` later."""
    return belief.scaled(0.5 ** (max(0.0, elapsed_s) / half_life_s))


def inherited(before: Belief) -> Belief:
    """Return what a new version begins with, `before` being the belief in the old one: the same figures, less surely."""
    return before.scaled(min(1.0, INHERITED_TRIALS / before.trials)) if before.trials > 0 else before


def of_versions(held: Mapping[str, Belief], live: Sequence[str]) -> dict[str, Belief]:
    """Return the belief in each live version of a pool, by version.

    `held`: what is known by version. One that isn't known yet inherits from the version that is known best.
    """
    best = max(held.values(), key=lambda belief: belief.trials, default=Belief())
    return {version: held.get(version) or inherited(best) for version in live}


def points(weights: RoutingWeights, *, success: float, seconds: float, wait_s: float, usd: float) -> float:
    """Return what a task is expected to cost until it is done: every failed attempt is followed by another."""
    success = max(success, SUCCESS_MIN)
    attempt = weights.time * (wait_s + seconds) + weights.agent_time * seconds + weights.usd * usd
    return attempt / success + weights.failure * (1 - success) / success


def decide(capability: str, pools: Sequence[Candidate], spec: RoutingSpec, chance: Chance, *, waiting: int = 0) -> Route:
    """Return the route of a capability: shares that add up to 1 where any pool is live.

    `waiting`: tasks in the capability's own queue. cost: 128 draws for each live pool.
    """
    live = [pool for pool in pools if pool.slots > 0]
    merit = _best_shares(live, spec.weights, chance)
    even = spec.explore / len(live) if live else 0.0
    pulling = _pulling(live, spec.weights, waiting)
    choices = [
        _choice(
            pool,
            spec.weights,
            share=(1 - spec.explore) * merit[pool.pool] + even,
            explored=merit[pool.pool] < EXPLORED_BELOW,
            pulls=pool.pool in pulling,
        )
        for pool in live
    ]
    choices += [
        Choice(pool=pool.pool, versions=pool.versions, pulls=False, waiting=pool.waiting, excluded="no live agents")
        for pool in pools
        if pool.slots <= 0
    ]
    return Route(capability=capability, choices=tuple(sorted(choices, key=lambda one: (-one.share, one.pool))), waiting=waiting)


def _best_shares(live: Sequence[Candidate], weights: RoutingWeights, chance: Chance) -> dict[str, float]:
    wins = dict.fromkeys((pool.pool for pool in live), 0)
    for _ in range(DRAWS if live else 0):
        drawn = [(_drawn_points(pool, weights, chance), pool.pool) for pool in live]
        wins[min(drawn)[1]] += 1
    return {pool: won / DRAWS for pool, won in wins.items()}


def _drawn_points(pool: Candidate, weights: RoutingWeights, chance: Chance) -> float:
    belief = pool.belief
    success = chance.betavariate(belief.successes + PRIOR_SUCCESSES, belief.failures + PRIOR_FAILURES)
    mean, weight, shape, rate = belief.duration()
    precision = chance.gammavariate(shape, 1 / rate)
    log_s = chance.gauss(mean, 1 / math.sqrt(max(weight * precision, 1e-9)))
    seconds = math.exp(min(log_s, LOG_S_MAX))
    wait_s = pool.waiting * belief.mean_s / pool.slots
    return points(weights, success=success, seconds=seconds, wait_s=wait_s, usd=belief.usd_each)


def _expected(pool: Candidate, weights: RoutingWeights, waiting: int) -> float:
    belief = pool.belief
    wait_s = waiting * belief.mean_s / pool.slots
    return points(weights, success=belief.success, seconds=belief.mean_s, wait_s=wait_s, usd=belief.usd_each)


def _pulling(live: Sequence[Candidate], weights: RoutingWeights, waiting: int) -> set[str]:
    """Return the pools that take from the capability's queue: those that do better at once than the best after its backlog."""
    if not live:
        return set()
    after_backlog = min(_expected(pool, weights, waiting) for pool in live)
    return {pool.pool for pool in live if _expected(pool, weights, 0) <= after_backlog * SLACK}


def _choice(pool: Candidate, weights: RoutingWeights, *, share: float, explored: bool, pulls: bool) -> Choice:
    belief = pool.belief
    in_horizon = math.ceil(pool.slots * HORIZON_S / max(belief.median_s, 0.001))
    return Choice(
        pool=pool.pool,
        versions=pool.versions,
        share=share,
        explored=explored,
        allowance=min(max(2 * pool.slots, in_horizon), ALLOWANCE_MAX),
        pulls=pulls,
        points=_expected(pool, weights, pool.waiting),
        success=belief.success,
        trials=belief.trials,
        median_s=belief.median_s,
        usd=belief.usd_each,
        waiting=pool.waiting,
        slots=pool.slots,
    )


def with_trial(route: Route, *, base: str, trial: Candidate, share: float, spec: RoutingSpec) -> Route:
    """Return a route in which a new version, on trial, takes `share` of what its base has.

    It pulls nothing, so it never gets more than that; what its queue has no room for goes to whoever else is free first.
    """
    given = next((choice.share for choice in route.choices if choice.pool == base and not choice.excluded), 1.0)
    if trial.slots <= 0:
        return route
    tried = _choice(trial, spec.weights, share=given * share, explored=False, pulls=False)
    kept = tuple(
        msgspec.structs.replace(choice, share=given * (1 - share), pulls=True) if choice.pool == base else choice
        for choice in route.choices
    )
    choices = sorted((*kept, msgspec.structs.replace(tried, trial=True)), key=lambda one: (-one.share, one.pool))
    return msgspec.structs.replace(route, choices=tuple(choices))


def draw(route: Route, task_id: str) -> Choice | None:
    """Return what the engine draws for a new task, by share alone (`routing.draw` in 07_routes.lua); None where none has one."""
    point = int(hashlib.sha1(f"{task_id}\n0".encode(), usedforsecurity=False).hexdigest()[:8], 16) / 2**32
    drawn, reached = None, 0.0
    for choice in route.choices:
        if not choice.excluded:
            drawn, reached = choice, reached + choice.share
            if point < reached:
                break
    return drawn


def alike(one: Route, other: Route, *, within: float = 0.01) -> bool:
    """Return whether two routes of a capability send tasks the same way, shares apart by `within` at most."""
    ours, theirs = ({choice.pool: choice for choice in route.choices} for route in (one, other))
    return ours.keys() == theirs.keys() and all(
        _rules(choice) == _rules(theirs[pool]) and abs(choice.share - theirs[pool].share) <= within
        for pool, choice in ours.items()
    )


def refreshed(route: Route, newer: Route) -> Route:
    """Return a route that sends tasks as `route` does, with the figures of `newer`, which is alike."""
    told = {choice.pool: choice for choice in newer.choices}
    return msgspec.structs.replace(
        newer,
        choices=tuple(
            msgspec.structs.replace(
                told[choice.pool],
                share=choice.share,
                allowance=choice.allowance,
                pulls=choice.pulls,
                explored=choice.explored,
                trial=choice.trial,
            )
            for choice in route.choices
        ),
    )


def _rules(choice: Choice) -> tuple[bool, int, tuple[str, ...], str]:
    """Return what the engine goes by besides the share; an allowance counts as another when it doubles."""
    return choice.pulls, choice.allowance.bit_length(), choice.versions, choice.excluded
