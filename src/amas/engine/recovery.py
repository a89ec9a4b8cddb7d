"""Putting a lost engine's work into this one: a Python face of `functions/70_recover.lua`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.engine.queue import RETENTION_S, encode
from amas.model.blob import Blob, wrap
from amas.model.recovery import LostTask, LostWorkflow


class Restored(NamedTuple):
    """How much was stored; what the engine knew already doesn't count."""

    workflows: int
    ended: int
    open: int


class _Workflow(msgspec.Struct, frozen=True, array_like=True):
    id: str
    goal: Blob
    root_id: str
    created_ms: int
    counts: dict[str, int]
    at_a_time: int
    """0: it doesn't take turns."""
    tenant: str


class _Task(msgspec.Struct, frozen=True, array_like=True):
    id: str
    queue: str
    spec: Blob
    priority: int
    options: dict[str, Any]
    attempt: int
    failures: int
    started_ms: int
    state: str
    finished_ms: int
    result: Blob
    failure: Blob
    steps: list[Blob | str]
    children: list[str]


class Recovery:
    """One cell's engine, to be filled."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S) -> None:
        self._engine = engine
        self._retention_ms = round(retention_s * 1000)

    async def put(
        self,
        *,
        workflows: Sequence[tuple[LostWorkflow, dict[str, int]]] = (),
        ended: Sequence[LostTask] = (),
        open_tasks: Sequence[tuple[LostTask, dict[str, Any]]] = (),
        goals_at_a_time: int = 0,
        now_ms: int = SERVER_CLOCK,
    ) -> Restored:
        """Store what the engine doesn't know: workflows with their counters, ended tasks, open tasks with the options they get.

        Goals among the workflows are let in as they come, at most `goals_at_a_time`; others wait, as new ones would. 0: no limit.

        What an open task needs, and its sub-tasks, must be there already or come with it. Safe to say again.
        """
        answer = await self._engine.call(
            "recover",
            now_ms,
            self._retention_ms,
            encode([_workflow(*lost, goals_at_a_time) for lost in workflows]),
            encode([_task(task, task.outline.options) for task in ended]),
            encode([_task(task, options) for task, options in open_tasks]),
        )
        return Restored(*map(int, answer))


def _workflow(lost: LostWorkflow, counted: dict[str, int], at_a_time: int) -> _Workflow:
    most = at_a_time if lost.is_goal else 0
    return _Workflow(lost.id, wrap(lost.goal), lost.root_id, lost.created_ms, counted, most, lost.tenant)


def _task(task: LostTask, options: dict[str, Any]) -> _Task:
    steps: list[Blob | str] = []
    for name, result in task.steps:
        steps += [name, wrap(result)]
    return _Task(
        task.outline.id,
        task.queue,
        wrap(task.spec),
        task.priority,
        options,
        task.attempt,
        task.failures,
        task.started_ms,
        task.outline.state.value,
        task.finished_ms,
        wrap(task.result),
        wrap(task.failure),
        steps,
        task.children,
    )
