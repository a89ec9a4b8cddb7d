"""Routing as declared, decided and told: which of several pools that can do the same a task goes to, and why.

A `Route` is one capability's choice, made by `core/routing.py` and published by `controllers/router.py`; the engine draws from
its shares, and `orchestration/routing.py` explains a task's draw by it. All of it goes over the wire as it stands here.
"""

import msgspec


class RoutingWeights(msgspec.Struct, frozen=True, kw_only=True):
    """What counts, in points: the pool with the fewest points per task done is the best."""

    failure: float = 10.0
    """Points for a failed attempt: by default as bad as ten seconds."""
    time: float = 1.0
    """Points for each second until the task is done, the wait for an agent included."""
    usd: float = 100.0
    """Points for each dollar: by default a cent is as bad as a second."""
    agent_time: float = 0.0
    """Points for each second of an agent's time."""


class RoutingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet's `routing:` block."""

    enabled: bool = True
    explore: float = 0.05
    """The share of a capability's tasks that is spread evenly over its pools, whatever is known of them."""
    half_life_s: float = 1800.0
    """Seconds after which an outcome counts half."""
    weights: RoutingWeights = RoutingWeights()


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """One pool that can do a capability: its share of the tasks, and the figures that it follows from."""

    pool: str
    versions: tuple[str, ...] = ()
    """Of its live agents."""
    share: float = 0.0
    """0 to 1; the shares of a route add up to 1."""
    explored: bool = False
    """Its share is little more than what exploration gives to each."""
    allowance: int = 0
    """The most tasks that are put into its own queue; more wait in the capability's, for whoever is free first."""
    pulls: bool = True
    """Whether its free agents take from the capability's own queue."""
    points: float = 0.0
    """What a task is expected to cost here until it is done, by the fleet's weights."""
    success: float = 0.0
    """Expected share of attempts that succeed."""
    trials: float = 0.0
    """Attempts that this rests on; the older count for less."""
    median_s: float = 0.0
    """Expected median, from a task's start to its end."""
    usd: float = 0.0
    """Mean dollars of an attempt."""
    waiting: int = 0
    """Tasks queued for this pool alone."""
    slots: int = 0
    """Tasks that its live agents do at a time."""
    trial: bool = False
    """A new version during a roll-out, with a share that is set for it: it gets new tasks only."""
    excluded: str = ""
    """Why it gets nothing; empty for one that has a share."""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """How the tasks of one capability are shared."""

    capability: str
    choices: tuple[Choice, ...]
    """By share, the largest first."""
    waiting: int = 0
    """Tasks in the capability's own queue."""


class RouteTable(msgspec.Struct, frozen=True, kw_only=True):
    """All routes of a cell."""

    version: int = 0
    """Higher for each that was published; 0: there is none."""
    at_ms: int = 0
    routes: tuple[Route, ...] = ()


class RoutedTask(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine noted when it chose for a task."""

    how: str
    """`drawn` by share; `explored`: drawn, by a share that is little but exploration; `overflow`: the drawn pool's queue was at
    its allowance, so the task waits for the first free agent; `pulled` by such a one; `elsewhere`: drawn after a failure, another
    pool where there is one; `moved` from a pool that lost its agents, or its route."""
    pool: str
    """The pool drawn, or the one that pulled it."""
    share: float
    version: int
    """Of the table that it was drawn from."""
    queue: str = ""
    """Where it stands now, or stood when it was claimed."""
