"""The control plane's metrics: what this process observes itself, and what is read where it is known when somebody asks.

`Metrics` holds the former; `page` renders it with a `Snapshot`, which the server takes at scrape time. A
figure without a source is absent, or a histogram that stays empty; none is ever made up. What there is to show stands in
`catalogue.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isinf
from typing import NamedTuple

import msgspec
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from amas.engine.recoveries import RecoveryFigures
from amas.model.breaker import BreakerState
from amas.model.healing import Cause
from amas.observe import names
from amas.observe.catalogue import BY_NAME

PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
"""The label for queues that the fleet file doesn't declare."""

MESSAGE_FATES = (
    "sent", "delivered", "redelivered", "acknowledged", "expired", "dead", "refused_forged", "refused_replayed", "refused_stale",
    "refused_forbidden", "refused_full",
)  # fmt: skip
"""As the engine counts them."""

BREAKER_VALUES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
NAMES_MAX = 20
"""Of a pool's agents' own figures: each host tells so many, and they are nearly always the same."""
BREAKERS_MAX = 200
"""On the page; whoever names a dependency by something that varies doesn't fill a database with it."""

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Usage(NamedTuple):
    """What the fleet's processes and the control plane's machine take; a part that can't be told is left out."""

    cpu_s: Mapping[str, float]
    """Since each began, by part: `engine`, `control_plane`, `hosts`."""
    memory: Mapping[str, int]
    """Resident bytes, by part."""
    network: Mapping[str, int]
    """The engine's bytes, `received` and `sent`."""
    storage: Mapping[str, int]
    """Bytes on disk, by part: `engine`, `records`, `logs`."""
    machine_cpu_s: Mapping[str, float]
    """`busy` and `idle`, of all cores together."""
    machine_memory: Mapping[str, int]
    """Bytes `used` and `available`."""
    machine_network: Mapping[str, int]
    """Bytes `received` and `sent`."""
    disk: Mapping[str, int]
    """Bytes `used` and `free`."""


class PoolSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large a pool is."""

    wanted: int
    seated: int
    """Agents that hosts have been given."""
    grown: int = 0
    """How often the autoscaler made it larger, since ever."""
    shrunk: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The engine as it was at one scrape."""

    workflows_open: int
    agents: Mapping[str, int]
    """By status."""
    hosts: int
    running: int
    queued: Mapping[str, int]
    """By queue."""
    bounds: Mapping[str, int]
    """The most that may be queued, for those queues that have a bound."""
    totals: Mapping[str, int]
    """The engine's counters since it began, by name."""
    recorder_lag_s: float | None
    response_s: float | None = None
    """As `GET /api/metrics` tells it; None where no task ended lately."""
    messages_held: int
    """In all inboxes."""
    messages: Mapping[str, int]
    """What was counted of messages since the engine began, by what became of them."""
    pools: Mapping[str, PoolSize] = msgspec.field(default_factory=dict)
    """By name, those of the fleet that is wanted."""
    cost_usd: float = 0.0
    """That this process has recorded; so are the next two."""
    tokens: Mapping[str, int] = msgspec.field(default_factory=dict)
    """By kind: `input`, `output`, `cached` (of the input), `other` (agents didn't say which)."""
    model_requests: int = 0
    backups_made: int = 0
    """By this process; so is the next."""
    backups_failed: int = 0
    backup_age_s: float | None = None
    """Of the newest; None where this process doesn't lead, or the fleet has none."""
    recoveries: Mapping[Cause, RecoveryFigures] = msgspec.field(default_factory=dict)
    """By what failed, since the engine began."""
    quarantined: int = 0
    """Agents."""
    breakers: Mapping[str, BreakerState] = msgspec.field(default_factory=dict)
    """By the dependency's name, which authors choose: few, and none an id."""
    alerts: Mapping[tuple[str, str, str], int] = msgspec.field(default_factory=dict)
    """By rule, severity and status: of how many subjects."""
    told: Mapping[str, Mapping[str, float]] = msgspec.field(default_factory=dict)
    """By pool and name, what agents tell of themselves."""
    host_lag_s: float | None = None
    """By how much the latest host's loop answered late; None without hosts."""
    usage: Usage | None = None


class Histogrammed(msgspec.Struct, frozen=True, kw_only=True):
    """Durations that somebody else counts."""

    name: str
    buckets: Sequence[tuple[float, int]]
    """Upper bound in seconds, cumulative count; the last bound is infinity."""
    sum_s: float


class Metrics:
    """What this process observes itself."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each route and status, which tells nothing here
        self.registry = CollectorRegistry()
        http = BY_NAME[names.HTTP_DURATION]
        self.http = Histogram(http.name, http.meaning, http.labels, registry=self.registry, buckets=_BUCKETS_S)

    def page(self, snapshot: Snapshot | None, durations: Sequence[Histogrammed], *, queues: frozenset[str]) -> bytes:
        """Return the page in Prometheus's text format; `queues` are the labels that queues may have, the others count as one.

        `snapshot` is None when the engine didn't answer: its gauges are then absent.
        """
        scraped = CollectorRegistry()
        scraped.register(_Scraped(snapshot, durations, queues))
        return generate_latest(self.registry) + generate_latest(scraped)


Values = Mapping[tuple[str, ...], float]
"""By the labels' values, in the family's order."""


def _family(name: str, values: Values | float) -> Metric:
    """Return a gauge or a counter; without labels it is one number."""
    family = BY_NAME[name]
    kind = GaugeMetricFamily if family.kind == "gauge" else CounterMetricFamily
    made = kind(name, family.meaning, labels=family.labels)
    for labels, value in (values if isinstance(values, Mapping) else {(): values}).items():
        made.add_metric(labels, value)
    return made


def _histogram(name: str, told: Mapping[tuple[str, ...], tuple[Sequence[tuple[float, int]], float]]) -> Metric:
    """Return a histogram of (cumulative buckets, sum in seconds) by the labels' values."""
    family = BY_NAME[name]
    made = HistogramMetricFamily(name, family.meaning, labels=family.labels)
    for labels, (buckets, sum_s) in told.items():
        made.add_metric(labels, [("+Inf" if isinf(bound) else repr(bound), count) for bound, count in buckets], sum_s)
    return made


def _by_one(values: Mapping[str, float]) -> Values:
    return {(label,): value for label, value in values.items()}


class _Scraped(Collector):
    """Turns one snapshot into families."""

    def __init__(self, snapshot: Snapshot | None, durations: Sequence[Histogrammed], queues: frozenset[str]) -> None:
        self._snapshot, self._durations, self._queues = snapshot, durations, queues

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a source."""
        for kept in self._durations:
            yield _histogram(kept.name, {(): (kept.buckets, kept.sum_s)})
        found = self._snapshot
        yield _family(names.ENGINE_UP, int(found is not None))
        if found is not None:
            yield from self._tasks(found)
            yield from _fleet(found)
            yield from _pools(found)
            yield from _messages(found)
            yield from _tools(found)
            yield from _spent(found)
            yield from _kept(found)
            if found.usage is not None:
                yield from _usage(found.usage)

    def _tasks(self, found: Snapshot) -> Iterator[Metric]:
        yield _family(names.ACTIVE_WORKFLOWS, found.workflows_open)
        yield _family(names.TASKS, {(state,): found.totals.get(state, 0) for state in ("succeeded", "failed", "cancelled")})
        depths = dict.fromkeys(sorted(self._queues), 0)
        for queue, depth in found.queued.items():
            label = queue if queue in self._queues else OTHER
            depths[label] = depths.get(label, 0) + depth
        yield _family(names.TASKS_QUEUED, _by_one(depths))
        bounds = {queue: bound for queue, bound in sorted(found.bounds.items()) if queue in self._queues}
        yield _family(names.QUEUE_BOUND, _by_one(bounds))
        yield _family(names.TASKS_RUNNING, found.running)
        yield _family(names.TASKS_DELAYED, found.totals.get("delayed", 0))
        yield _family(names.DEAD_LETTERS, found.totals.get("dead_letters", 0))


def _fleet(found: Snapshot) -> Iterator[Metric]:
    yield _family(names.ACTIVE_AGENTS, sum(map(found.agents.get, ("idle", "working"), (0, 0))))
    yield _family(names.AGENTS, _by_one(dict(sorted(found.agents.items()))))
    yield _family(names.AGENTS_QUARANTINED, found.quarantined)
    yield _family(names.HOSTS, found.hosts)
    yield _family(names.HOSTS_LOST, found.totals.get("hosts_lost", 0))
    if found.host_lag_s is not None:
        yield _family(names.HOST_LAG, found.host_lag_s)
    yield _histogram(
        names.RECOVERY_DURATION, {(cause,): (taken.buckets, taken.sum_s) for cause, taken in found.recoveries.items()}
    )
    breakers = sorted(found.breakers.items())[:BREAKERS_MAX]
    yield _family(names.BREAKER_STATE, {(name,): BREAKER_VALUES[state] for name, state in breakers})
    yield _family(names.ALERTS, dict(sorted(found.alerts.items())))


def _pools(found: Snapshot) -> Iterator[Metric]:
    agents: dict[tuple[str, ...], float] = {}
    scalings: dict[tuple[str, ...], float] = {}
    for pool, size in sorted(found.pools.items()):
        agents |= {(pool, "wanted"): size.wanted, (pool, "seated"): size.seated}
        scalings |= {(pool, "up"): size.grown, (pool, "down"): size.shrunk}
    yield _family(names.POOL_AGENTS, agents)
    told: Values = {
        (pool, name): value for pool, of in sorted(found.told.items()) for name, value in sorted(of.items())[:NAMES_MAX]
    }
    yield _family(names.AGENTS_TOLD, told)
    yield _family(names.SCALINGS, scalings)


def _messages(found: Snapshot) -> Iterator[Metric]:
    yield _family(names.MESSAGE_QUEUE_DEPTH, found.messages_held)
    yield _family(names.MESSAGES, {(what,): found.messages.get(what, 0) for what in MESSAGE_FATES})


def _tools(found: Snapshot) -> Iterator[Metric]:
    decisions = ("allowed", "refused")
    yield _family(names.TOOL_CALLS, {(each,): found.totals.get(f"tool_calls_{each}", 0) for each in decisions})


def _spent(found: Snapshot) -> Iterator[Metric]:
    yield _family(names.COST_USD, found.cost_usd)
    yield _family(names.MODEL_TOKENS, _by_one(found.tokens))
    yield _family(names.MODEL_REQUESTS, found.model_requests)


def _kept(found: Snapshot) -> Iterator[Metric]:
    yield _family(names.BACKUPS, {("made",): found.backups_made, ("failed",): found.backups_failed})
    if found.backup_age_s is not None:
        yield _family(names.BACKUP_AGE, found.backup_age_s)
    if found.response_s is not None:
        yield _family(names.TASK_RESPONSE, found.response_s)
    if found.recorder_lag_s is not None:
        yield _family(names.RECORDER_LAG, found.recorder_lag_s)


def _usage(used: Usage) -> Iterator[Metric]:
    yield _family(names.CPU, _by_one(used.cpu_s))
    yield _family(names.MEMORY, _by_one(used.memory))
    yield _family(names.NETWORK, _by_one(used.network))
    yield _family(names.STORAGE, _by_one(used.storage))
    yield _family(names.MACHINE_CPU, _by_one(used.machine_cpu_s))
    yield _family(names.MACHINE_MEMORY, _by_one(used.machine_memory))
    yield _family(names.MACHINE_NETWORK, _by_one(used.machine_network))
    yield _family(names.DISK, _by_one(used.disk))
