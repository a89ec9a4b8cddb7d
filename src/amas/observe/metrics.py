"""The control plane's metrics: what this process observes itself, and what is read where it is known when somebody asks.

`Metrics` holds the former; `page` renders it with a `Snapshot`, which the server takes at scrape time. A
figure without a source is absent, or a histogram that stays empty; none is ever made up.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import isinf

import msgspec
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from amas.engine.recoveries import RecoveryFigures
from amas.model.breaker import BreakerState
from amas.model.healing import Cause
from amas.observe import names

PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OTHER = "other"
"""The label for queues that the fleet file doesn't declare."""

MESSAGE_FATES = (
    "sent", "delivered", "redelivered", "acknowledged", "expired", "dead", "refused_forged", "refused_replayed", "refused_stale",
    "refused_forbidden", "refused_full",
)  # fmt: skip
"""As the engine counts them."""

BREAKER_VALUES = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}
BREAKERS_MAX = 200
"""On the page; whoever names a dependency by something that varies doesn't fill a database with it."""

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


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


class Histogrammed(msgspec.Struct, frozen=True, kw_only=True):
    """Durations that somebody else counts."""

    name: str
    meaning: str
    buckets: Sequence[tuple[float, int]]
    """Upper bound in seconds, cumulative count; the last bound is infinity."""
    sum_s: float


class Metrics:
    """What this process observes itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.http = Histogram(
            names.HTTP_DURATION,
            "Seconds from a request's arrival to the end of its answer; streams are left out.",
            ("method", "route", "status"),
            registry=self.registry,
            buckets=_BUCKETS_S,
        )

    def page(self, snapshot: Snapshot | None, durations: Sequence[Histogrammed], *, queues: frozenset[str]) -> bytes:
        """Return the page in Prometheus's text format; `queues` are the labels that queues may have, the others count as one.

        `snapshot` is None when the engine didn't answer: its gauges are then absent.
        """
        scraped = CollectorRegistry()
        scraped.register(_Scraped(snapshot, durations, queues))
        return generate_latest(self.registry) + generate_latest(scraped)


class _Scraped(Collector):
    """Turns one snapshot into families."""

    def __init__(self, snapshot: Snapshot | None, durations: Sequence[Histogrammed], queues: frozenset[str]) -> None:
        self._snapshot, self._durations, self._queues = snapshot, durations, queues

    def collect(self) -> Iterator[Metric]:
        """Yield every family that has a source."""
        for kept in self._durations:
            buckets = [("+Inf" if isinf(bound) else repr(bound), count) for bound, count in kept.buckets]
            yield HistogramMetricFamily(kept.name, kept.meaning, buckets, kept.sum_s)
        found = self._snapshot
        yield GaugeMetricFamily(names.ENGINE_UP, "1 when the engine answered this scrape, else 0.", value=int(found is not None))
        if found is not None:
            yield from self._required(found)
            yield from self._tasks(found)
            yield from self._fleet(found)
            yield from self._sizes(found)
            yield from self._spent(found)
            yield from self._healing(found)
            yield from self._breakers(found)
            yield self._alerts(found)

    def _alerts(self, found: Snapshot) -> Metric:
        alerts = GaugeMetricFamily(
            names.ALERTS,
            "Alerts by rule that are pending or firing, each for a subject such as a host.",
            labels=("alertname", "severity", "alertstate"),
        )
        for labels, count in sorted(found.alerts.items()):
            alerts.add_metric(labels, count)
        return alerts

    def _healing(self, found: Snapshot) -> Iterator[Metric]:
        recoveries = HistogramMetricFamily(
            names.RECOVERY_DURATION,
            "Seconds from a failure's last sign of life until the work went on, by what failed, since the engine began.",
            labels=("cause",),
        )
        for cause, taken in found.recoveries.items():
            buckets = [("+Inf" if isinf(bound) else repr(bound), count) for bound, count in taken.buckets]
            recoveries.add_metric((cause,), buckets, taken.sum_s)
        yield recoveries
        yield GaugeMetricFamily(
            names.AGENTS_QUARANTINED,
            "Agents that get no tasks, because they kept crashing or somebody said so.",
            found.quarantined,
        )

    def _sizes(self, found: Snapshot) -> Iterator[Metric]:
        agents = GaugeMetricFamily(
            names.POOL_AGENTS, "Agents by pool: that are wanted, and that hosts have been given.", labels=("pool", "what")
        )
        scalings = CounterMetricFamily(
            names.SCALINGS, "Changes of a pool's size by the autoscaler, ever.", labels=("pool", "direction")
        )
        for pool, size in sorted(found.pools.items()):
            agents.add_metric((pool, "wanted"), size.wanted)
            agents.add_metric((pool, "seated"), size.seated)
            scalings.add_metric((pool, "up"), size.grown)
            scalings.add_metric((pool, "down"), size.shrunk)
        yield agents
        yield scalings

    def _spent(self, found: Snapshot) -> Iterator[Metric]:
        yield CounterMetricFamily(
            names.COST_USD, "Dollars spent, as the leading control plane recorded them.", value=found.cost_usd
        )
        tokens = CounterMetricFamily(
            names.MODEL_TOKENS, "Tokens used, the same way; cached ones are part of the input.", labels=("kind",)
        )
        for kind, count in found.tokens.items():
            tokens.add_metric((kind,), count)
        yield tokens
        yield CounterMetricFamily(names.MODEL_REQUESTS, "Requests to providers, the same way.", value=found.model_requests)

    def _breakers(self, found: Snapshot) -> Iterator[Metric]:
        breakers = GaugeMetricFamily(
            names.BREAKER_STATE, "A dependency's circuit breaker: 0 closed, 1 half-open, 2 open.", labels=("dependency",)
        )
        for name, state in sorted(found.breakers.items())[:BREAKERS_MAX]:
            breakers.add_metric((name,), BREAKER_VALUES[state])
        yield breakers

    def _required(self, found: Snapshot) -> Iterator[Metric]:
        yield GaugeMetricFamily(names.ACTIVE_WORKFLOWS, "Workflows that are open.", value=found.workflows_open)
        yield GaugeMetricFamily(
            names.ACTIVE_AGENTS,
            "Agents on live hosts that can work or do.",
            value=sum(map(found.agents.get, ("idle", "working"), (0, 0))),
        )
        yield GaugeMetricFamily(
            names.MESSAGE_QUEUE_DEPTH,
            "Messages that agents' inboxes hold, handed out or not. Tasks that are queued are counted apart.",
            value=found.messages_held,
        )
        messages = CounterMetricFamily(
            names.MESSAGES, "Messages between agents, by what became of them, since the engine began.", labels=("what",)
        )
        for what in MESSAGE_FATES:
            messages.add_metric((what,), found.messages.get(what, 0))
        yield messages

    def _tasks(self, found: Snapshot) -> Iterator[Metric]:
        ended = CounterMetricFamily(names.TASKS, "Tasks that ended, by how, since the engine began.", labels=("state",))
        for state in ("succeeded", "failed", "cancelled"):
            ended.add_metric((state,), found.totals.get(state, 0))
        yield ended
        depths = dict.fromkeys(sorted(self._queues), 0)
        for queue, depth in found.queued.items():
            label = queue if queue in self._queues else OTHER
            depths[label] = depths.get(label, 0) + depth
        queued = GaugeMetricFamily(
            names.TASKS_QUEUED, "Tasks that are queued, by queue: a capability or @pool.", labels=("queue",)
        )
        for label, depth in depths.items():
            queued.add_metric((label,), depth)
        yield queued
        bounds = GaugeMetricFamily(
            names.QUEUE_BOUND,
            "The most tasks that may be queued, by queue: submissions beyond it wait or are refused.",
            labels=("queue",),
        )
        for queue, bound in sorted(found.bounds.items()):
            if queue in self._queues:
                bounds.add_metric((queue,), bound)
        yield bounds
        yield GaugeMetricFamily(names.TASKS_RUNNING, "Tasks that are running.", value=found.running)
        yield GaugeMetricFamily(names.TASKS_DELAYED, "Tasks that wait for a time.", value=found.totals.get("delayed", 0))
        yield GaugeMetricFamily(names.DEAD_LETTERS, "Tasks that failed for good.", value=found.totals.get("dead_letters", 0))

    def _fleet(self, found: Snapshot) -> Iterator[Metric]:
        agents = GaugeMetricFamily(names.AGENTS, "Agents on hosts that hold a lease, by status.", labels=("status",))
        for status, count in sorted(found.agents.items()):
            agents.add_metric((status,), count)
        yield agents
        yield GaugeMetricFamily(names.HOSTS, "Hosts that hold a lease.", value=found.hosts)
        yield CounterMetricFamily(names.HOSTS_LOST, "Hosts whose lease ran out.", value=found.totals.get("hosts_lost", 0))
        backups = CounterMetricFamily(names.BACKUPS, "Back-ups that this process made or failed to make.", labels=("result",))
        backups.add_metric(("made",), found.backups_made)
        backups.add_metric(("failed",), found.backups_failed)
        yield backups
        if found.backup_age_s is not None:
            yield GaugeMetricFamily(names.BACKUP_AGE, "Seconds since the newest back-up was taken.", value=found.backup_age_s)
        if found.recorder_lag_s is not None:
            yield GaugeMetricFamily(
                names.RECORDER_LAG,
                "Age in seconds of the oldest change that the records don't hold yet.",
                value=found.recorder_lag_s,
            )
