"""Grafana's dashboards, as data: what each shows, and the JSON that Grafana imports (schema of Grafana 10 and later).

Expressions take names from `names.py` and `rules.py` only and are checked against `catalogue.py`.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from amas.observe import names, rules
from amas.observe.rules import each, mean, one, quantile, rate

COLUMNS, WIDTH, HEIGHT = 24, 8, 8
"""Of Grafana's grid, and of a panel there: three in a row."""
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


class Panel(NamedTuple):
    """One chart."""

    title: str
    unit: str
    """As Grafana names units."""
    lines: Sequence[tuple[str, str]]
    """(expression, legend): `{{label}}` stands for a label's value."""


class Dashboard(NamedTuple):
    """One page of charts."""

    uid: str
    title: str
    panels: Sequence[Panel]


_AGENTS = Panel("Agents by status", "short", [(one(names.AGENTS), "{{status}}")])
_THROUGHPUT = Panel("Tasks a second", "ops", [(rules.ENDED, "{{state}}")])
_RESPONSE = Panel("Mean time from submission to end", "s", [(one(names.TASK_RESPONSE), "response")])
_SUCCESS = Panel("Share of tasks that succeed", "percentunit", [(f"1 - {rules.FAILED_SHARE}", "succeeded")])
_CPU = Panel("CPU: cores taken, by part", "short", [(one(rate(names.CPU)), "{{part}}")])
_QUEUED = Panel("Tasks that are queued", "short", [(one(names.TASKS_QUEUED), "{{queue}}")])
_DEAD = Panel("Dead letters", "short", [(one(names.DEAD_LETTERS), "dead letters")])
_LAG = Panel("Hosts' latest loop", "s", [(one(names.HOST_LAG), "late by")])
_UTILISATION = Panel("Utilisation", "percentunit", [(rules.UTILISATION, "agents at work")])

DASHBOARDS: tuple[Dashboard, ...] = (
    Dashboard(
        "amas-fleet",
        "amas: fleet",
        (
            _AGENTS,
            _THROUGHPUT,
            _RESPONSE,
            _SUCCESS,
            _UTILISATION,
            Panel("Alerts that fire", "short", [(one(f'{names.ALERTS}{{alertstate="firing"}}'), "{{alertname}}")]),
            _CPU,
            Panel("Memory, by part", "bytes", [(one(names.MEMORY), "{{part}}")]),
            Panel(
                "Network",
                "Bps",
                [
                    (one(rate(names.NETWORK)), "engine {{direction}}"),
                    (rate(names.MACHINE_NETWORK), "{{instance}} {{direction}}"),
                ],
            ),
            Panel("Storage, by part", "bytes", [(one(names.STORAGE), "{{part}}")]),
            Panel(
                "The machine",
                "percentunit",
                [
                    (rules.CPU_SHARE, "{{instance}} CPU busy"),
                    (rules.MEMORY_SHARE, "{{instance}} memory used"),
                    (rules.DISK_FREE, "{{instance}} disk free"),
                ],
            ),
            Panel(
                "Cost",
                "currencyUSD",
                [(f"{rules.COST_RATE} * 3600", "an hour"), (f"{rules.COST_RATE} * 3600 * 24 * 30", "a month, projected")],
            ),
        ),
    ),
    Dashboard(
        "amas-workflows",
        "amas: workflow execution",
        (
            Panel("Open workflows", "short", [(one(names.ACTIVE_WORKFLOWS), "open")]),
            _THROUGHPUT,
            _QUEUED,
            Panel(
                "Tasks that run or wait for a time",
                "short",
                [(one(names.TASKS_RUNNING), "running"), (one(names.TASKS_DELAYED), "delayed")],
            ),
            Panel(
                "Time to a plan",
                "s",
                [
                    (quantile(0.5, names.DECOMPOSITION_DURATION), "median"),
                    (quantile(0.95, names.DECOMPOSITION_DURATION), "95 %"),
                ],
            ),
            Panel(
                "How full queues are",
                "percentunit",
                [(one(f"{names.TASKS_QUEUED} / ({names.QUEUE_BOUND} > 0)"), "{{queue}}")],
            ),
        ),
    ),
    Dashboard(
        "amas-agents",
        "amas: agent activity",
        (
            _AGENTS,
            Panel("Agents that can work", "short", [(one(names.ACTIVE_AGENTS), "active")]),
            _UTILISATION,
            Panel("Agents by pool", "short", [(one(names.POOL_AGENTS), "{{pool}} {{what}}")]),
            Panel("What agents tell of themselves", "short", [(one(names.AGENTS_TOLD), "{{pool}} {{figure}}")]),
            Panel("Changes of size", "short", [(one(f"increase({names.SCALINGS}_total[5m])"), "{{pool}} {{direction}}")]),
            Panel("Agents in quarantine", "short", [(one(names.AGENTS_QUARANTINED), "quarantined")]),
            Panel("Hosts", "short", [(one(names.HOSTS), "live")]),
            _LAG,
            Panel("Tokens a second", "short", [(each(rate(names.MODEL_TOKENS)), "{{kind}}")]),
        ),
    ),
    Dashboard(
        "amas-messages",
        "amas: message bus",
        (
            Panel("Messages in inboxes", "short", [(one(names.MESSAGE_QUEUE_DEPTH), "held")]),
            Panel("Messages a second", "ops", [(one(rate(names.MESSAGES)), "{{what}}")]),
            Panel(
                "Time to delivery",
                "s",
                [(quantile(0.5, names.MESSAGE_LATENCY), "median"), (rules.MESSAGE_P99, "99 %")],
            ),
            Panel("Uses of tools a second", "ops", [(one(rate(names.TOOL_CALLS)), "{{decision}}")]),
        ),
    ),
    Dashboard(
        "amas-performance",
        "amas: performance benchmarks",
        (
            _THROUGHPUT,
            _RESPONSE,
            Panel(
                "Time to an agent",
                "s",
                [(quantile(0.5, names.ASSIGNMENT_DURATION), "median"), (quantile(0.95, names.ASSIGNMENT_DURATION), "95 %")],
            ),
            Panel("Requests a second", "reqps", [(f"sum by (route) (rate({names.HTTP_DURATION}_count[1m]))", "{{route}}")]),
            Panel("Requests, 99 %", "s", [(rules.HTTP_P99, "{{route}}")]),
            Panel("History behind the engine", "s", [(one(names.RECORDER_LAG), "lag")]),
            _CPU,
            _LAG,
            Panel("Requests to models a second", "reqps", [(each(rate(names.MODEL_REQUESTS)), "requests")]),
        ),
    ),
    Dashboard(
        "amas-errors",
        "amas: error rates and recovery times",
        (
            Panel("Share of tasks that fail for good", "percentunit", [(rules.FAILED_SHARE, "failed")]),
            _DEAD,
            Panel(
                "Requests that fail, a second",
                "reqps",
                [(f'sum by (status) (rate({names.HTTP_DURATION}_count{{status=~"[45].."}}[1m]))', "{{status}}")],
            ),
            Panel(
                "Time to recover",
                "s",
                [(mean(names.RECOVERY_DURATION), "mean"), (quantile(0.95, names.RECOVERY_DURATION, "cause"), "95 %, {{cause}}")],
            ),
            Panel("Hosts lost", "short", [(one(f"increase({names.HOSTS_LOST}_total[5m])"), "in five minutes")]),
            Panel("Breakers: 0 closed, 1 half-open, 2 open", "short", [(one(names.BREAKER_STATE), "{{dependency}}")]),
            Panel("Engine answers", "short", [(one(names.ENGINE_UP), "up")]),
            Panel("Age of the newest back-up", "s", [(one(names.BACKUP_AGE), "age")]),
            Panel("Back-ups", "short", [(each(f"increase({names.BACKUPS}_total[1h])"), "{{result}}")]),
        ),
    ),
)


def expressions() -> list[str]:
    """Return every expression of the dashboards, to be checked."""
    return [expression for dashboard in DASHBOARDS for panel in dashboard.panels for expression, _ in panel.lines]


def dashboard_json(dashboard: Dashboard) -> str:
    """Return a dashboard as Grafana imports it."""
    document: dict[str, Any] = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["amas"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "15s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]},
        "panels": [_panel_json(number, panel) for number, panel in enumerate(dashboard.panels)],
    }
    return json.dumps(document, indent=2) + "\n"


def _panel_json(number: int, panel: Panel) -> dict[str, Any]:
    in_row = COLUMNS // WIDTH
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"h": HEIGHT, "w": WIDTH, "x": number % in_row * WIDTH, "y": number // in_row * HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
            for at, (expression, legend) in enumerate(panel.lines)
        ],
    }
