"""Recording and alert rules for Prometheus.

The alerts are the fleet's own default rules (`model/alert_defaults.py`) in PromQL, with the same names, bounds and times, so that
both say the same; where only the fleet has the figure, Prometheus passes on what the fleet says. To them come rules for what a
fleet can't say of itself: that it is away. Names and labels are checked against `catalogue.py`.

Several control planes of one fleet tell the same of the engine: `one` takes a figure once, `each` adds up what every process
counts by itself.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import AlertRule, Severity
from amas.observe import names

JOB = "amas"
EVALUATED_EVERY = "15s"


class Recording(NamedTuple):
    """A series that Prometheus works out ahead."""

    name: str
    expression: str
    labels: frozenset[str] = frozenset()


class Alerting(NamedTuple):
    """When Prometheus raises an alert."""

    name: str
    severity: Severity
    expression: str
    for_s: float
    """Seconds for which it must hold; 0: at once."""
    summary: str
    runbook: str = ""


def one(expression: str) -> str:
    """Return what all control planes tell of one engine, once."""
    return f"max without (instance) ({expression})"


def each(expression: str) -> str:
    """Return the sum of what control planes count by themselves."""
    return f"sum without (instance) ({expression})"


def rate(name: str, matchers: str = "", *, over: str = "1m") -> str:
    """Return how fast a counter of the catalogue grows, a second."""
    return f"rate({name}_total{f'{{{matchers}}}' if matchers else ''}[{over}])"


def quantile(share: float, name: str, *by: str, over: str = "5m") -> str:
    """Return a histogram's quantile; engine's or processes', the sum has the same shape."""
    return f"histogram_quantile({share:g}, sum by ({', '.join(('le', *by))}) (rate({name}_bucket[{over}])))"


def mean(name: str, *, over: str = "5m") -> str:
    """Return a histogram's mean; nothing where it didn't grow."""
    return f"sum(rate({name}_sum[{over}])) / (sum(rate({name}_count[{over}])) > 0)"


ENDED, FAILED_SHARE, UTILISATION = "amas:tasks_ended:rate1m", "amas:tasks_failed:ratio5m", "amas:agents_working:ratio"
CPU_SHARE, MEMORY_SHARE, DISK_FREE = "amas:machine_cpu:ratio1m", "amas:machine_memory:ratio", "amas:disk_free:ratio"
RECOVERY, HTTP_P99 = "amas:recovery_seconds:mean5m", "amas:http_request_seconds:p99_5m"
MESSAGE_P99, COST_RATE = "amas:message_latency_seconds:p99_5m", "amas:cost_usd:rate1h"

_ENDED_MIN = 10
"""Fewer ended tasks make no rate, as in the fleet's own rules."""
_TRIED = 'state=~"succeeded|failed"'
_ALL_ENDED = one(f"sum without (state) (increase({names.TASKS}_total{{{_TRIED}}}[5m]))")
_ALL_FAILED = one(f'sum without (state) (increase({names.TASKS}_total{{state="failed"}}[5m]))')
_BUSY = rate(names.MACHINE_CPU, 'mode="busy"')

RECORDINGS: tuple[Recording, ...] = (
    Recording(ENDED, one(rate(names.TASKS)), frozenset({"state"})),
    Recording(FAILED_SHARE, f"{_ALL_FAILED} / ({_ALL_ENDED} >= {_ENDED_MIN})"),
    Recording(UTILISATION, one(f'sum without (status) ({names.AGENTS}{{status="working"}}) / ({names.ACTIVE_AGENTS} > 0)')),
    Recording(
        CPU_SHARE,
        f"sum without (mode) ({_BUSY}) / sum without (mode) ({rate(names.MACHINE_CPU)})",
        frozenset({"instance"}),
    ),
    Recording(
        MEMORY_SHARE,
        f'sum without (what) ({names.MACHINE_MEMORY}{{what="used"}}) / sum without (what) ({names.MACHINE_MEMORY})',
        frozenset({"instance"}),
    ),
    Recording(
        DISK_FREE,
        f'sum without (what) ({names.DISK}{{what="free"}}) / sum without (what) ({names.DISK})',
        frozenset({"instance"}),
    ),
    Recording(RECOVERY, mean(names.RECOVERY_DURATION)),
    Recording(HTTP_P99, quantile(0.99, names.HTTP_DURATION, "route"), frozenset({"route"})),
    Recording(MESSAGE_P99, quantile(0.99, names.MESSAGE_LATENCY)),
    Recording(COST_RATE, each(rate(names.COST_USD, over="1h"))),
)
RECORDED: Mapping[str, frozenset[str]] = {recording.name: recording.labels for recording in RECORDINGS}

FIGURES: Mapping[str, str] = {
    "host_lost": one(f"increase({names.HOSTS_LOST}_total[5m])"),
    "agents_unhealthy": one(f'{names.AGENTS}{{status="error"}}'),
    "agents_missing": one(
        f'sum without (pool, what) ({names.POOL_AGENTS}{{what="wanted"}}) - sum without (status) ({names.AGENTS})'
    ),
    "host_lag_s": one(names.HOST_LAG),
    "hosts": one(names.HOSTS),
    "error_rate": FAILED_SHARE,
    "machine_cpu": CPU_SHARE,
    "machine_memory": MEMORY_SHARE,
    "disk_free": DISK_FREE,
    "recovery_s": RECOVERY,
    "records_lag_s": one(names.RECORDER_LAG),
}
"""The fleet's figures (`model.alerts.FIGURES`) that the metrics tell, too."""


def _of_fleet(rule: AlertRule) -> Alerting:
    """Return a rule of the fleet as Prometheus has it."""
    found, when = FIGURES.get(rule.when.figure), rule.when
    if found is None:  # the fleet has waited already
        said = f'sum(max without (instance) ({names.ALERTS}{{alertname="{rule.name}", alertstate="firing"}})) > 0'
        return Alerting(rule.name, rule.severity, said, 0, rule.summary, rule.runbook)
    expression = f"{found} {when.compare} {when.threshold:g}"
    return Alerting(rule.name, rule.severity, expression, rule.for_s, rule.summary, rule.runbook)


ALERTINGS: tuple[Alerting, ...] = (
    Alerting(
        "ControlPlaneDown",
        "critical",
        f'max by (job) (up{{job="{JOB}"}}) == 0 or absent(up{{job="{JOB}"}})',
        60,
        "No control plane answers.",
        "system-failure",
    ),
    Alerting(
        "EngineDown", "critical", f"max by (job) ({names.ENGINE_UP}) == 0", 30, "The engine doesn't answer.", "system-failure"
    ),
    Alerting(
        "QueueNearlyFull",
        "warning",
        one(f"{names.TASKS_QUEUED} / ({names.QUEUE_BOUND} > 0)") + " > 0.9",
        60,
        "A queue is nearly full: submissions will be refused.",
    ),
    Alerting("BreakerOpen", "warning", one(names.BREAKER_STATE) + " == 2", 60, "A dependency's breaker is open: work waits."),
    *map(_of_fleet, DEFAULT_RULES),
)


def expressions() -> list[str]:
    """Return every expression of the rules, to be checked."""
    return [*(rule.expression for rule in RECORDINGS), *(rule.expression for rule in ALERTINGS)]


def rules_document() -> dict[str, Any]:
    """Return Prometheus's rules file."""
    recorded = [{"record": rule.name, "expr": rule.expression} for rule in RECORDINGS]
    alerts = [
        {
            "alert": rule.name,
            "expr": rule.expression,
            "for": f"{rule.for_s:g}s",
            "labels": {"severity": rule.severity},
            "annotations": {"summary": rule.summary, **({"runbook": rule.runbook} if rule.runbook else {})},
        }
        for rule in ALERTINGS
    ]
    return {
        "groups": [
            {"name": f"{JOB}-{name}", "interval": EVALUATED_EVERY, "rules": rules}
            for name, rules in (("recorded", recorded), ("alerts", alerts))
        ]
    }
