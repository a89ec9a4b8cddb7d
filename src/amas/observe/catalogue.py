"""Every metric of the page: its kind, its labels and what it means.

`metrics.py` makes the page from this list and can show nothing else; rules and dashboards (`rules.py`, `dashboards.py`) are
checked against it, so none of them asks for a metric or a label that doesn't exist.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from amas.observe import names

Kind = Literal["gauge", "counter", "histogram"]


class Family(NamedTuple):
    """One metric."""

    name: str
    """As in `names`: a counter is exposed with `_total` behind it, a histogram with `_bucket`, `_sum` and `_count`."""
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    """Each from a closed set: no ids of agents, tasks, hosts or workflows."""

    def series(self) -> Iterator[tuple[str, frozenset[str]]]:
        """Return what Prometheus stores of it: names, and the labels of each."""
        labels = frozenset(self.labels)
        match self.kind:
            case "gauge":
                yield self.name, labels
            case "counter":
                yield f"{self.name}_total", labels
            case "histogram":
                yield f"{self.name}_bucket", labels | {"le"}
                yield from ((f"{self.name}_{part}", labels) for part in ("sum", "count"))


FAMILIES: tuple[Family, ...] = (
    Family(names.ENGINE_UP, "gauge", "1 when the engine answered this scrape, else 0."),
    # work
    Family(names.ACTIVE_WORKFLOWS, "gauge", "Workflows that are open."),
    Family(names.DECOMPOSITION_DURATION, "histogram", "Seconds from the start of the attempt that planned a goal to its plan."),
    Family(
        names.ASSIGNMENT_DURATION,
        "histogram",
        "Seconds from when a task of the hierarchy could first be claimed to its first claim by an agent.",
    ),
    Family(names.TASKS, "counter", "Tasks that ended, by how, since the engine began.", ("state",)),
    Family(names.TASKS_QUEUED, "gauge", "Tasks that are queued, by queue: a capability or @pool.", ("queue",)),
    Family(
        names.QUEUE_BOUND,
        "gauge",
        "The most tasks that may be queued, by queue: submissions beyond it wait or are refused.",
        ("queue",),
    ),
    Family(names.TASKS_RUNNING, "gauge", "Tasks that are running."),
    Family(names.TASKS_DELAYED, "gauge", "Tasks that wait for a time."),
    Family(names.TASK_RESPONSE, "gauge", "Mean seconds from submission to end of the tasks that ended in the last five minutes."),
    Family(names.DEAD_LETTERS, "gauge", "Tasks that failed for good."),
    # agents and hosts
    Family(names.ACTIVE_AGENTS, "gauge", "Agents on live hosts that can work or do."),
    Family(names.AGENTS, "gauge", "Agents on hosts that hold a lease, by status.", ("status",)),
    Family(names.POOL_AGENTS, "gauge", "Agents by pool: that are wanted, and that hosts have been given.", ("pool", "what")),
    Family(
        names.AGENTS_TOLD,
        "gauge",
        "What agents tell of themselves (`report_metrics`), added up by pool; authors choose the figures' names.",
        ("pool", "figure"),
    ),
    Family(names.SCALINGS, "counter", "Changes of a pool's size by the autoscaler, ever.", ("pool", "direction")),
    Family(names.AGENTS_QUARANTINED, "gauge", "Agents that get no tasks, because they kept crashing or somebody said so."),
    Family(names.HOSTS, "gauge", "Hosts that hold a lease."),
    Family(names.HOSTS_LOST, "counter", "Hosts whose lease ran out."),
    Family(names.HOST_LAG, "gauge", "By how many seconds the latest of the hosts' event loops answered."),
    Family(
        names.RECOVERY_DURATION,
        "histogram",
        "Seconds from a failure's last sign of life until the work went on, by what failed, since the engine began.",
        ("cause",),
    ),
    Family(names.BREAKER_STATE, "gauge", "A dependency's circuit breaker: 0 closed, 1 half-open, 2 open.", ("dependency",)),
    Family(
        names.ALERTS,
        "gauge",
        "Alerts by rule that are pending or firing, each for a subject such as a host.",
        ("alertname", "severity", "alertstate"),
    ),
    # messages
    Family(
        names.MESSAGE_QUEUE_DEPTH,
        "gauge",
        "Messages that agents' inboxes hold, handed out or not. Tasks that are queued are counted apart.",
    ),
    Family(names.MESSAGES, "counter", "Messages between agents, by what became of them, since the engine began.", ("what",)),
    Family(names.MESSAGE_LATENCY, "histogram", "Seconds from sending a message between agents to its first delivery."),
    Family(names.TOOL_CALLS, "counter", "Uses of tools that agents asked for, by what the policies said.", ("decision",)),
    # costs
    Family(names.COST_USD, "counter", "Dollars spent, as the leading control plane recorded them."),
    Family(names.MODEL_TOKENS, "counter", "Tokens used, the same way; cached ones are part of the input.", ("kind",)),
    Family(names.MODEL_REQUESTS, "counter", "Requests to providers, the same way."),
    # the fleet's own parts
    Family(
        names.HTTP_DURATION,
        "histogram",
        "Seconds from a request's arrival to the end of its answer; streams are left out.",
        ("method", "route", "status"),
    ),
    Family(names.RECORDER_LAG, "gauge", "Age in seconds of the oldest change that the records don't hold yet."),
    Family(names.BACKUPS, "counter", "Back-ups that this process made or failed to make.", ("result",)),
    Family(names.BACKUP_AGE, "gauge", "Seconds since the newest back-up was taken."),
    Family(names.CPU, "counter", "Seconds of CPU that the fleet's processes took: engine, control_plane, hosts.", ("part",)),
    Family(names.MEMORY, "gauge", "Resident memory of the fleet's processes.", ("part",)),
    Family(
        names.NETWORK,
        "counter",
        "Bytes that the engine received from and sent to the fleet's processes, which talk through it.",
        ("direction",),
    ),
    Family(names.STORAGE, "gauge", "Bytes on disk of the engine's file, a local history and the logs.", ("part",)),
    # the control plane's machine
    Family(names.MACHINE_CPU, "counter", "Seconds of this machine's cores, busy and idle.", ("mode",)),
    Family(names.MACHINE_MEMORY, "gauge", "This machine's memory, used and available.", ("what",)),
    Family(names.MACHINE_NETWORK, "counter", "Bytes over this machine's interfaces but the loopback.", ("direction",)),
    Family(names.DISK, "gauge", "The disk below the fleet's home, used and free.", ("what",)),
)
BY_NAME: Mapping[str, Family] = {family.name: family for family in FAMILIES}
SERIES: Mapping[str, frozenset[str]] = dict(each for family in FAMILIES for each in family.series())
"""Every name that an expression may ask for, and its labels."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_ASKED = re.compile(r"\b((?:amas|orchestration)[_:][A-Za-z0-9_:]*)\s*(?:\{([^}]*)\})?")
_MATCHER = re.compile(r"([A-Za-z_]\w*)\s*(?:=~|!~|!=|=)")


def unknown_in(expression: str, recorded: Mapping[str, frozenset[str]]) -> list[str]:
    """Return the metrics and labels that an expression picks series by and that don't exist, in words.

    `recorded`: the names that recording rules make.
    """
    found = []
    for name, matchers in _ASKED.findall(_TEXT.sub('""', expression)):
        labels = SERIES.get(name, recorded.get(name))
        if labels is None:
            found.append(name)
        else:
            found += [f"{name}{{{label}}}" for label in _MATCHER.findall(matchers) if label not in labels]
    return found


def series_in(expression: str) -> list[str]:
    """Return the names that an expression asks for, each once: series and recordings."""
    return list(dict.fromkeys(name for name, _ in _ASKED.findall(_TEXT.sub('""', expression))))
