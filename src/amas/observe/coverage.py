"""What a Prometheus has no data for, of all that the dashboards, the rules and their recordings ask.

Called by `amas monitoring check` and by the test that runs a real Prometheus beside a fleet.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from amas.observe import names
from amas.observe.catalogue import series_in
from amas.observe.dashboards import DASHBOARDS
from amas.observe.rules import ALERTINGS, RECORDINGS, RECOVERY

Ask = Callable[[str], bool]
"""Whether Prometheus has data for an expression."""

WAITS_FOR: Mapping[str, str] = {
    names.DECOMPOSITION_DURATION: "a goal to be planned",
    names.ASSIGNMENT_DURATION: "an agent to get a task of a goal's plan",
    names.MESSAGE_LATENCY: "an agent to be sent a message",
    names.RECOVERY_DURATION: "something to fail and be made good",
    RECOVERY: "something to fail and be made good",
    names.BACKUP_AGE: "a back-up to be taken",
    names.ALERTS: "an alert to be raised",
    names.SCALINGS: "the autoscaler to change a pool's size",
    names.BREAKER_STATE: "an agent to use a dependency",
    names.TASK_RESPONSE: "a task to end",
    names.QUEUE_BOUND: "a queue with a bound",
    names.TASKS_QUEUED: "a queue",
    names.POOL_AGENTS: "a pool",
    names.AGENTS_TOLD: "an agent with a report_metrics of its own",
    names.HOST_LAG: "a host",
    names.MODEL_TOKENS: "a model to be asked",
    names.HTTP_DURATION: "requests",
}
"""What may have to happen before there is data: by what an expression asks for."""
_EVENTS = re.compile("|".join(re.escape(name) for name in sorted(WAITS_FOR, key=len, reverse=True)))


class Empty(NamedTuple):
    """Something without data."""

    where: str
    """`dashboard: panel`, `recorded` or an alert's name."""
    expression: str
    waits_for: str
    """What has to happen first; "" where nothing does, and so something is wrong."""


def asked() -> Iterator[tuple[str, str]]:
    """Yield each place and expression that there should be data for; of alerts, which are silent when all is well, the series."""
    for dashboard in DASHBOARDS:
        for panel in dashboard.panels:
            yield from ((f"{dashboard.title.removeprefix('amas: ')}: {panel.title}", expression) for expression, _ in panel.lines)
    yield from (("recorded", rule.name) for rule in RECORDINGS)
    for alert in ALERTINGS:
        yield from ((alert.name, series) for series in series_in(alert.expression))


def empty(has_data: Ask) -> list[Empty]:
    """Return what there is no data for, each expression once."""
    places: dict[str, str] = {}
    for where, expression in asked():
        places.setdefault(expression, where)
    recorded = {rule.name: rule.expression for rule in RECORDINGS}
    return [
        Empty(where, expression, _waits_for(recorded.get(expression, expression)))
        for expression, where in places.items()
        if not has_data(expression)
    ]


def _waits_for(expression: str) -> str:
    found = _EVENTS.search(expression)
    return WAITS_FOR[found[0]] if found else ""
