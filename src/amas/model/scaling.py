"""Scaling as declared, observed and decided: how many agents a pool has, and why.

A `ScalingSpec` is a pool's `scaling:` block; `core/scaling.py` decides from it, `controllers/autoscaler.py` carries that out, and
a `PoolScaling` is what people are shown of it. All of it goes over the wire as it stands here.
"""

import msgspec

AUTOSCALER = "autoscaler"
"""Who is named in the desired state for what was decided here; a size that anybody else set stays until it is given back."""


class ScalingTargets(msgspec.Struct, frozen=True, kw_only=True):
    """What is meant to be had of each signal; one that isn't said plays no part. The pool gets what the neediest one asks for."""

    queue_depth: float | None = None
    """Waiting tasks for each agent, beyond those that work."""
    queue_total: float | None = None
    """Waiting tasks of the whole pool: with twice as many it asks for twice as many agents."""
    oldest_s: float | None = None
    """Seconds that the task at the head has waited."""
    utilisation: float | None = None
    """Share of the tasks that its agents could do at a time, 0 to 1."""
    cpu: float | None = None
    """CPUs that each of its hosts uses: a host is one process, so 0.7 is 70 % of a core."""
    memory_mb: float | None = None
    """Resident MiB of each of its hosts."""
    messages: float | None = None
    """Messages in inboxes, for each agent."""
    workflows: float | None = None
    """Open workflows of the cell, for each agent."""


class ScalingPace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a pool grows, or shrinks: by `count` agents or `percent`, whichever is more, in `every_s`."""

    count: int
    percent: float = 0.0
    every_s: float = 60.0
    after_s: float = 0.0
    """It has to be called for as long as this, without a break."""
    cooldown_s: float = 0.0
    """Seconds after any change of size in which there is no such change."""


class ScalingWindow(msgspec.Struct, frozen=True, kw_only=True):
    """Other bounds at certain times of the week: more by day, fewer at night and on weekends."""

    when: str
    """`Mon-Fri 08:00-20:00`, `Sat,Sun`, `daily 22:00-06:00`; what goes past midnight belongs to the day on which it begins."""
    zone: str = "UTC"
    """A name of the IANA database, such as Europe/Berlin."""
    min: int | None = None
    max: int | None = None


class VerticalSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How the memory limit of a pool's isolated attempts follows what they take."""

    memory: float = 0.8
    """Share of the limit, 0 to 1: an attempt that takes more raises it."""
    step_mb: int
    max_mb: int
    cooldown_s: float = 1800.0
    """Seconds after any change in which there is no other."""
    back_s: float = 7200.0
    """The limit goes back by a step, to what is declared at last, when for as long as this the lower one would have done."""


class ScalingSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool's size follows its work."""

    min: int = 1
    """0: it goes to nothing when it has nothing to do."""
    max: int
    targets: ScalingTargets = ScalingTargets()
    up: ScalingPace = ScalingPace(count=3, percent=50.0, after_s=60.0)
    down: ScalingPace = ScalingPace(count=1, percent=10.0, after_s=300.0)
    tolerance: float = 0.1
    """A pool that is off by no more than this share stays as it is."""
    idle_s: float = 300.0
    """Where `min` is 0: seconds without any work after which the last agent goes."""
    windows: tuple[ScalingWindow, ...] = ()
    usd_per_hour: float | None = None
    """It doesn't grow beyond what this pays for."""
    agent_usd_per_hour: float | None = None
    """What a working agent costs in an hour; None: what the last hour's work cost."""
    forecast: bool = False
    """Provide for what arrivals of late make expect."""
    recommend_only: bool = False
    """Say what would be done and do nothing."""
    vertical: VerticalSpec | None = None
    """None: the memory limit stays as declared."""


class HostScaling(msgspec.Struct, frozen=True, kw_only=True):
    """How the number of the local platform's hosts follows load."""

    agents: int = 10_000
    """That one host seats, by weight: an agent counts by the tasks it takes at a time, an isolated one several times."""
    scaling: ScalingSpec
    """Bounds, paces and the target of `cpu`; what else a pool's says plays no part."""


class HostsSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen of all hosts at a time."""

    at_ms: int
    weight: int = 0
    """Of the agents that are wanted."""
    cpu: tuple[float, ...] = ()
    """CPUs that each host uses of which that is known by now."""


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What is seen of a pool at a time."""

    at_ms: int
    waiting: float = 0.0
    """Tasks that agents could begin, and that fall to this pool."""
    share: float = 1.0
    """Of the work in its queues, what falls to this pool: less than all where other pools serve them too."""
    backlog: int = 0
    """All tasks in the queues that it serves."""
    arrived: int | None = None
    """Tasks ever queued there; None while nobody counts them."""
    running: int = 0
    seated: int | None = None
    """Agents that hosts have been given, which may be others than are wanted by now; None where nobody gives them."""
    cpu: float | None = None
    memory_mb: float | None = None
    messages: int = 0
    workflows: int = 0


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """What one signal asks for."""

    name: str
    value: float
    target: float | None = None
    agents: int
    words: str
    """For people: `130 tasks wait, 10 for an agent`."""


class ScalingDecision(msgspec.Struct, frozen=True, kw_only=True):
    """How many agents a pool is to have, and why."""

    at_ms: int = 0
    before: int = 0
    replicas: int = 0
    reason: str = ""
    """One sentence with its figures."""
    signals: tuple[Signal, ...] = ()
    """The neediest first."""


class ScalingStep(msgspec.Struct, frozen=True, kw_only=True):
    """One change of size that was made, or, where nothing but advice is wanted, recommended."""

    at_ms: int
    before: int
    replicas: int
    reason: str


class LimitView(msgspec.Struct, frozen=True, kw_only=True):
    """A pool's memory limit as people are shown it; all in MiB."""

    memory_mb: int
    """That new attempts have now."""
    declared_mb: int
    max_mb: int
    used_mb: int
    """The most that an attempt has, or had within half a minute."""
    recommended_mb: int
    reason: str
    steps: tuple[ScalingStep, ...] = ()
    """The last changes, newest first; their sizes are MiB."""


class PoolScaling(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as people are shown it."""

    pool: str
    replicas: int
    """That are wanted now."""
    min: int
    max: int
    recommended: int = 0
    """The last decision; another number than `replicas` where that isn't carried out."""
    reason: str = ""
    pinned_by: str = ""
    """Who set the size by hand; empty where the autoscaler decides."""
    recommend_only: bool = False
    at_ms: int = 0
    signals: tuple[Signal, ...] = ()
    steps: tuple[ScalingStep, ...] = ()
    """The last ones, newest first."""
    grown: int = 0
    """How often it grew, since ever."""
    shrunk: int = 0
    limit: LimitView | None = None
    """Where the memory limit of its attempts follows what they take."""


class ScalingBoard(msgspec.Struct, frozen=True, kw_only=True):
    """All pools whose size follows their work, by name."""

    pools: tuple[PoolScaling, ...] = ()
    hosts: PoolScaling | None = None
    """The hosts, where their number follows load: `replicas` and the like count hosts."""
