"""What `amas top` shows: each view turns the API's answers into rows, and says which view lies below a row.

A cell is plain text without control characters: names, notes and failures come from agents, and a terminal obeys what it is sent.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from amas.cli.api import Api, quoted
from amas.cli.output import harmless, moment, seconds
from amas.clock import now_ms

Figures = dict[str, Any]
"""What `GET /api/metrics` answers."""
ROWS_MAX = 200
"""More than a person reads; `amas ps` lists all."""


class Row(NamedTuple):
    """One line of a view."""

    key: str
    """What it is of; names the view below it."""
    cells: tuple[str, ...]


class View(NamedTuple):
    """One table of the screen."""

    title: str
    columns: tuple[str, ...]
    rows: Callable[[Api, Figures], list[Row]]
    """Asks the API, or only looks at the figures: it runs beside the screen."""
    below: Callable[[str], "View"] | None = None
    """What enter shows, by a row's key."""
    none: str = "none"
    """Said where there are no rows."""


def row(key: str, *cells: object) -> Row:
    """Return a row of values as people read them."""
    return Row(key, tuple(harmless("" if cell is None else str(cell)).replace("\n", " ") for cell in cells))


def headline(figures: Figures) -> list[str]:
    """Return the figures of the whole fleet, in lines of at most 80 columns each."""
    agents, tasks, cost = figures["agents"], figures["tasks"], figures["cost"] or {}
    rate, response, success = figures["tasks_per_second"], figures["average_response_s"], figures["success_rate"]
    busy, lag = figures["utilisation"], figures["recorder_lag_s"]
    spent = f"cost {cost['usd_last_hour']:.2f} $/h, {cost['usd_last_day']:.2f} $/day" if cost else "cost unknown"
    memory = sum(host["rss_bytes"] for host in figures["hosts"])
    return [
        f"agents {agents['total']:,}: {agents['working']:,} working, {agents['idle']:,} idle, "
        f"{agents['error']:,} error, {agents['healing']:,} healing",
        f"tasks {'?' if rate is None else f'{rate:,.1f}'}/s  running {tasks['running']:,}  "
        f"queued {sum(tasks['queued'].values()):,}  delayed {tasks['delayed']:,}  dead {tasks['dead_letters']:,}",
        f"response {'?' if response is None else f'{response:.3f} s'}  success {'?' if success is None else f'{success:.2%}'}  "
        f"busy {'?' if busy is None else f'{busy:.0%}'}  history {'?' if lag is None else f'{lag:.1f} s'} behind",
        f"workflows {figures['workflows_open']:,}  hosts {len(figures['hosts'])}  memory {memory / 2**30:.1f} GiB  {spent}",
    ]


def _pools(api: Api, _: Figures) -> list[Row]:
    found = sorted(api.get("/api/pools")["items"], key=lambda pool: (-pool["agents"]["working"], pool["pool"]))
    return [
        row(
            pool["pool"],
            pool["pool"],
            *(pool["agents"][name] for name in ("total", "working", "idle", "error", "healing")),
            pool["tasks_succeeded"],
            pool["tasks_failed"],
        )
        for pool in found
    ]


def _queues(_: Api, figures: Figures) -> list[Row]:
    bounds = figures["tasks"]["bounds"]
    depths = sorted(figures["tasks"]["queued"].items(), key=lambda item: (-item[1], item[0]))
    return [row(queue, queue, depth, bounds.get(queue, "none")) for queue, depth in depths]


def _hosts(_: Api, figures: Figures) -> list[Row]:
    return [
        row(
            host["id"],
            host["id"],
            host["agents"],
            host["running"],
            f"{host['cpu_s']:,.1f} s",
            f"{host['rss_bytes'] / 2**20:,.0f} MiB",
            f"{host['loop_lag_s'] * 1000:.1f} ms",
        )
        for host in figures["hosts"]
    ]


def _when(ms: int) -> str:
    """Return the time of day, or the day and the time of what was before today."""
    told, today = moment(ms), moment(now_ms())
    return told[11:] if told[:10] == today[:10] else told[5:16]


def _task_rows(items: list[dict[str, Any]]) -> list[Row]:
    return [
        row(
            task["id"],
            _when(task["finished_ms"] or task["started_ms"] or task["created_ms"]),
            task["state"],
            task["capability"],
            task["agent_id"],
            (task["failure"] or {}).get("message") or task["note"] or task["title"],
        )
        for task in items
    ]


def _failures(api: Api, _: Figures) -> list[Row]:
    return _task_rows(api.get("/api/tasks", state="failed", limit=50)["items"])


_TASK_COLUMNS = ("when", "state", "capability", "agent", "what")


def task(task_id: str) -> View:
    """Return the view of one task: its fields, then its attempts."""

    def rows(api: Api, _: Figures) -> list[Row]:
        found = api.get(f"/api/tasks/{quoted(task_id)}")
        attempts = found.pop("attempts")
        shown = [
            row(name, name.replace("_", " "), moment(value) if name.endswith("_ms") else value)
            for name, value in found.items()
            if value not in ("", None, [], 0)
        ]
        for each in attempts:
            took = seconds(each["started_ms"], each["finished_ms"])
            why = (each["failure"] or {}).get("message", "")
            said = f"{each['outcome']} on {each['host_id']} by {each['agent_id']} {took} {why}"
            shown.append(row(f"attempt {each['attempt']}", f"attempt {each['attempt']}", said))
        return shown

    return View(f"task {task_id}", ("", ""), rows)


def agent(agent_id: str) -> View:
    """Return the view of one agent: its newest tasks."""

    def rows(api: Api, _: Figures) -> list[Row]:
        return _task_rows(api.get("/api/tasks", agent_id=agent_id, limit=50)["items"])

    return View(f"agent {agent_id}: its newest tasks", _TASK_COLUMNS, rows, task)


def agents(**of: str) -> View:
    """Return the view of the agents of a pool or a host, those at work first."""

    def rows(api: Api, _: Figures) -> list[Row]:
        found = [
            item
            for status in ("working", "error", "healing", "idle")
            for item in api.get("/api/agents", **of, status=status, limit=ROWS_MAX)["items"]
        ]
        return [
            row(item["agent_id"], item["agent_id"], item["status"], item["host_id"], item["version"], len(item["current_tasks"]))
            for item in found[:ROWS_MAX]
        ]

    (name, value), *_ = of.items()
    return View(f"agents of {name} {value}", ("agent", "status", "host", "version", "at work on"), rows, agent)


VIEWS = (
    View(
        "Pools",
        ("pool", "agents", "working", "idle", "error", "healing", "done", "failed"),
        _pools,
        lambda pool: agents(pool=pool),
    ),
    View("Queues", ("queue", "waiting", "bound"), _queues, none="nothing is queued"),
    View("Hosts", ("host", "agents", "running", "CPU", "memory", "loop lag"), _hosts, lambda host: agents(host=host)),
    View("Failures", _TASK_COLUMNS, _failures, task, "no task has failed for good"),
)
"""What the number keys show."""
