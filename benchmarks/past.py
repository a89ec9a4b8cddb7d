"""A long past, written into a fleet's history: copies of one finished task, as they would stand there had agents done them.

Each is a task of its own time, one every 86 ms back from the original, by the agents of all pools in turn, and cost a call of a
model. Two of three are a tenant's, every twentieth failed once and was tried again, and every fourth is one of a goal's fifty.
What the records keep as sums is left to the fleet, which adds it up as after an upgrade.
"""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

APART_MS = 86
"""A million of them are a day's."""
AT_ONCE = 50_000
"""Rows of a transaction: the fleet's own recorder writes in between."""
LOCKED_S = 60.0
SUMS = ("hour_sums", "day_sums", "agent_sums", "outcome_sums", "minute_sums")
NOTHING_SUMMED = 1 << 62

_ID = "printf('%08x-%04x-7%03x-8000-%012x', ({0}) / 65536, ({0}) % 65536, ({1}) % 4096, {1})"
_FLOW = "i - i % 200"
_WORKFLOW = f"CASE WHEN i % 4 = 0 THEN {_ID.format(f't.created_ms - ({_FLOW}) * {APART_MS}', _FLOW)} END"
_TENANT = "CASE i % 3 WHEN 0 THEN 'acme' WHEN 1 THEN 'zeta' END"
_AGENT = "p.name || '-' || (1 + i / :pools % p.replicas)"
_AGO = f"i * {APART_MS}"
_TASK = _ID.format(f"t.created_ms - {_AGO}", "i")
_TIMES = ("created_ms", "queued_ms", "started_ms", "finished_ms")
_FROM = (
    "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i < :last) INSERT INTO {} ({}) SELECT {} "
    "FROM n JOIN tasks t ON t.id = :task JOIN past_pools p ON p.n = i % :pools WHERE {}"
)

_ROWS: dict[str, tuple[dict[str, str], str]] = {
    "workflows": (
        {
            "id": _WORKFLOW,
            "state": "'succeeded'",
            "created_ms": f"t.created_ms - {_AGO}",
            "finished_ms": f"t.finished_ms - {_AGO}",
        },
        "i % 200 = 0",
    ),
    "goals": ({"workflow_id": _WORKFLOW, "text": "'Read ' || i", "priority": "1", "goal": ":goal"}, "i % 200 = 0"),
    "costs": (
        {
            "task_id": _TASK,
            "attempt": "1",
            "step": "'model/1'",
            "number": "0",
            "at_ms": f"t.finished_ms - {_AGO}",
            "workflow_id": _WORKFLOW,
            "tenant": _TENANT,
            "agent_id": _AGENT,
            "provider": "'openai'",
            "model": "CASE WHEN i % 5 THEN 'small' ELSE 'large' END",
            "input_tokens": "100",
            "output_tokens": "20",
            "cached_tokens": "60",
            "tokens": "120",
            "calls": "1",
            "usd_micro": "100 + i % 7",
            "duration_ms": "900",
        },
        "true",
    ),
    "attempts": (
        {
            "task_id": _TASK,
            "attempt": "{attempt}",
            "agent_id": _AGENT,
            "host_id": "t.host_id",
            "state": "'{state}'",
            "started_ms": f"t.started_ms - {_AGO}",
            "finished_ms": f"t.finished_ms - {_AGO}",
        },
        "i % 20 = 0",
    ),
}


def _task(column: str) -> str:
    """Return what stands in a copy's column."""
    if column in _TIMES:
        return f"t.{column} - {_AGO}"
    given = {"id": _TASK, "agent_id": _AGENT, "tenant": _TENANT, "workflow_id": _WORKFLOW}
    return given.get(column) or ("CASE WHEN i % 20 THEN 1 ELSE 2 END" if column == "attempt" else f"t.{column}")


def _statements(records: sqlite3.Connection) -> list[str]:
    found = []
    for table, (columns, where) in _ROWS.items():
        for attempt, state in ((1, "failed"), (2, "succeeded")) if table == "attempts" else ((1, ""),):
            given = ", ".join(each.replace("{attempt}", str(attempt)).replace("{state}", state) for each in columns.values())
            found.append(_FROM.format(table, ", ".join(columns), given, where))
    names = [row[1] for row in records.execute("PRAGMA table_info(tasks)")]
    found.append(_FROM.format("tasks", ", ".join(names), ", ".join(map(_task, names)), "true"))
    return found


def fill(path: Path, *, task_id: str, pools: Sequence[tuple[str, int]], finished: int, goal: bytes) -> None:
    """Make the history as long as was asked for; `pools`: their names and how many agents each has; `goal`: one, encoded."""
    with closing(sqlite3.connect(path, timeout=LOCKED_S, isolation_level=None)) as records:
        records.execute("CREATE TEMP TABLE past_pools (n INTEGER PRIMARY KEY, name TEXT, replicas INTEGER)")
        records.executemany("INSERT INTO past_pools VALUES (?, ?, ?)", [(n, *pool) for n, pool in enumerate(pools)])
        statements = _statements(records)
        for first in range(1, finished + 1, AT_ONCE):
            given = {
                "first": first,
                "last": min(finished, first + AT_ONCE - 1),
                "task": task_id,
                "pools": len(pools),
                "goal": goal,
            }
            records.execute("BEGIN IMMEDIATE")
            for statement in statements:
                records.execute(statement, given)
            records.execute("COMMIT")
        records.execute("BEGIN IMMEDIATE")
        for table in SUMS:
            records.execute(f"DELETE FROM {table}")
        records.execute("UPDATE recorder SET summed_from_ms = ?", (NOTHING_SUMMED,))
        records.execute("COMMIT")


def is_summed(path: Path) -> bool:
    """Return whether the fleet has added it up."""
    with closing(sqlite3.connect(path, timeout=LOCKED_S)) as records:
        return bool(records.execute("SELECT summed_from_ms = 0 FROM recorder").fetchone()[0])
