"""A history of an earlier version is read as before by this one, and can be recovered from."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa

import amas.records
from amas.model.states import TaskState
from amas.records.database import Database
from amas.records.ended import Span
from amas.records.migrate import migrate
from amas.records.store import Records

pack = msgspec.msgpack.encode


def _to_version(connection: sa.Connection, version: str) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(amas.records.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, version)


def _task(task_id: str, state: str, **columns: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("workflow_id", "key", "needs", "agent_id", "host_id", "pool", "started_ms", "finished_ms", "result"))
    task = {"id": task_id, "state": state, "capability": "work", "priority": 2, "attempt": 0, "failures": 0, "created_ms": 1}
    return empty | task | {"input": pack({"x": 1})} | columns


def _attempt(task_id: str, attempt: int, state: str) -> dict[str, Any]:
    return {"task_id": task_id, "attempt": attempt, "agent_id": "worker-1", "host_id": "h1", "state": state, "started_ms": 5}


def _described(connection: sa.Connection) -> dict[str, Any]:
    """Return all that a database says of its tables, but for the order of their columns."""
    found, described = sa.inspect(connection), dict[str, Any]()
    for table in found.get_table_names():
        columns = {column["name"]: {**column, "type": str(column["type"])} for column in found.get_columns(table)}
        described[table] = (
            columns,
            found.get_pk_constraint(table)["constrained_columns"],
            {str(index["name"]): index for index in _shown(found.get_indexes(table))},
            found.get_table_options(table),
        )
    described["version"] = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    return described


def _shown(indices: Any) -> Any:
    """Return indices with the conditions that they hold under as text."""
    options = [{name: str(value) for name, value in index["dialect_options"].items()} for index in indices]
    return [{**index, "dialect_options": given} for index, given in zip(indices, options, strict=True)]


async def test_a_new_history_has_what_all_scripts_together_make(new_records_url: Callable[[], Awaitable[str]]) -> None:
    scripted, made = Database(await new_records_url()), Database(await new_records_url())
    try:
        async with scripted.writing() as connection:
            await connection.run_sync(_to_version, "head")
            wanted = await connection.run_sync(_described)
        await migrate(made)
        async with made.reading() as connection:
            assert await connection.run_sync(_described) == wanted
        await migrate(made)
    finally:
        await scripted.close()
        await made.close()


async def test_a_history_of_the_first_version(records_url: str) -> None:
    database = Database(records_url)
    ran = {"agent_id": "worker-1", "host_id": "h1", "pool": "worker", "started_ms": 5}
    rows = [
        _task("a", "succeeded", attempt=1, finished_ms=9, result=pack("done"), **ran),
        _task("b", "running", attempt=2, workflow_id="w", key="k", needs=pack(["a"]), **ran),
        _task("c", "queued"),
    ]
    attempts = [_attempt("a", 1, "succeeded"), _attempt("b", 1, "failed"), _attempt("b", 2, "running")]
    event = {
        "entry": 1 << 20,
        "workflow_id": "w",
        "kind": "submit",
        "at_ms": 1,
        "tasks": b'[{"id":"b","state":"queued","key":"k"}]',
    }
    async with database.writing() as connection:
        await connection.run_sync(_to_version, "0001")
        for table, given in (("tasks", rows), ("attempts", attempts), ("events", [event])):
            names = list(given[0])
            text = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(f':{name}' for name in names)})"
            await connection.execute(sa.text(text), given)
        await connection.execute(sa.text("INSERT INTO recorder (id, cell, position) VALUES (1, 'local', 1)"))
    await database.close()
    async with await Records.open(records_url) as records:
        done, running = await records.task("a"), await records.task("b")
        assert done is not None and (done.input, done.result, done.priority) == ({"x": 1}, "done", 2)
        assert running is not None and (running.key, running.needs, running.workflow_id) == ("k", ("a",), "w")
        (first,) = await records.attempts("a")
        assert (first.state, first.started_ms, first.finished_ms) == ("succeeded", 5, 9)
        assert [attempt.state for attempt in await records.attempts("b")] == ["failed", "running"]
        (told,) = await records.events()
        assert [(change.id, change.state, change.key) for change in told.tasks] == [("b", TaskState.QUEUED, "k")]
        assert [task.id for task in await records.tasks(agent_id="worker-1")] == ["b", "a"]
        (lost,) = await records.lost_work.tasks(["b"], {})
        assert lost.outline.options == {"n": ["a"], "w": "w"}
        found = await records.analytics(0)
        assert [(pool.name, pool.succeeded) for pool in found.pools] == [("worker", 1)]
        assert found.open == {TaskState.RUNNING: 1, TaskState.QUEUED: 1}


async def test_a_history_of_the_second_version_knows_whose_work_each_task_is(records_url: str) -> None:
    database = Database(records_url)
    columns = {"state": "queued", "capability": "work", "created_ms": 1, "spec": pack(["work"])}
    rows = [
        {"id": name, "options": options, **columns}
        for name, options in (("a", pack({"t": "acme"})), ("b", pack({"m": 1})), ("c", None))
    ]
    async with database.writing() as connection:
        await connection.run_sync(_to_version, "0002")
        text = f"INSERT INTO tasks ({', '.join(rows[0])}) VALUES ({', '.join(f':{name}' for name in rows[0])})"
        await connection.execute(sa.text(text), rows)
    await database.close()
    async with await Records.open(records_url) as records:
        assert {task.id: task.tenant for task in await records.tasks()} == {"a": "acme", "b": "", "c": ""}
        _, found = await records.costs("tenant", Span())
        assert found == []
