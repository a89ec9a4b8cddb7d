"""The sub-tasks that a flow means, in an order in which they can be stored; `flow_check.py` says whether it may start. Pure."""

from collections import deque
from collections.abc import Sequence

import msgspec

from amas.model.flow import (
    APPROVAL_CAPABILITY,
    FLOW_CAPABILITY,
    GATE_CAPABILITY,
    MAP_CAPABILITY,
    REPLAN_CAPABILITY,
    RESERVED_PREFIX,
    SIGNAL_CAPABILITY,
    TIMER_CAPABILITY,
    Flow,
    FlowTask,
    Wait,
)
from amas.model.goal import SubTask
from amas.model.states import Priority
from amas.model.task import Json, TaskKind


def in_order(tasks: Sequence[FlowTask]) -> list[FlowTask]:
    """Return tasks so that each comes after those that it needs, otherwise as they stood; there must be no cycle."""
    position = {task.key: index for index, task in enumerate(tasks)}
    if all(position[need] < index for index, task in enumerate(tasks) for need in task.needs):
        return list(tasks)
    dependents: list[list[int]] = [[] for _ in tasks]
    open_needs = [len(task.needs) for task in tasks]
    for index, task in enumerate(tasks):
        for need in task.needs:
            dependents[position[need]].append(index)
    ready = deque(index for index, count in enumerate(open_needs) if not count)
    ordered = []
    while ready:
        index = ready.popleft()
        ordered.append(tasks[index])
        for after in dependents[index]:
            open_needs[after] -= 1
            if not open_needs[after]:
                ready.append(after)
    return ordered


def sub_tasks(flow: Flow, *, priority: int = int(Priority.NORMAL)) -> list[SubTask]:
    """Return the sub-tasks that a flow means, in an order in which they can be stored; the flow has been checked."""
    made = []
    for task in in_order(flow.tasks):
        made.append(_sub_task(task, priority))
        if task.undo is not None:
            made.append(
                SubTask(
                    key=undo_key(task.key),
                    capability=task.undo.capability,
                    input=task.undo.input,
                    title=f"undo {task.title or task.key}",
                    undoes=task.key,
                )
            )
    return made


def undo_key(key: str) -> str:
    """Return the key of the task that undoes another."""
    return f"{RESERVED_PREFIX}undo/{key}"


def _sub_task(task: FlowTask, priority: int) -> SubTask:
    priority = priority if task.priority is None else task.priority
    capability, given = _work(task, priority)
    kind: TaskKind = "timer" if task.timer_s else "signal" if task.signal or task.approval else "work"
    made = SubTask(
        key=task.key,
        capability=capability,
        input=given,
        needs=task.needs,
        title=task.title,
        priority=priority,
        timeout_s=task.timeout_s,
        retry=task.retry,
        on_failure="skip" if task.on_failure == "skip" else "fail",
        delay_s=task.delay_s + task.timer_s,
        deadline_s=task.deadline_s,
        expires_s=task.expires_s,
        when=task.when,
        pool=task.pool,
        kind=kind,
        quorum=quorum_of(task.wait),
        concurrency=task.concurrency,
        provider=task.provider,
        estimate=task.estimate,
    )
    if task.gate is not None:
        return gated(msgspec.structs.replace(made, gate=task.gate))
    if task.replan is not None:
        return _around(made, REPLAN_CAPABILITY, {"replan": msgspec.to_builtins(task.replan), "priority": priority})
    return made


def gated(task: SubTask) -> SubTask:
    """Return the task that has `task` done and judged, in its place."""
    return _around(task, GATE_CAPABILITY, {"gate": msgspec.to_builtins(task.gate)})


def _around(task: SubTask, capability: str, said: dict[str, Json]) -> SubTask:
    """Return a built-in agent's task that has `task` done in its place: it stands in the flow, `task` only does the work."""
    inner = msgspec.structs.replace(
        task, gate=None, needs=(), runs_after=(), quorum=0, when="", delay_s=0.0, deadline_s=0.0, inherits_needs=True, undoes=""
    )
    return SubTask(
        key=task.key,
        capability=capability,
        input={"task": msgspec.to_builtins(inner), **said},
        needs=task.needs,
        runs_after=task.runs_after,
        inherits_needs=task.inherits_needs,
        title=task.title,
        layer=task.layer,
        priority=task.priority,
        delay_s=task.delay_s,
        deadline_s=task.deadline_s,
        when=task.when,
        quorum=task.quorum,
        on_failure=task.on_failure,
        undoes=task.undoes,
    )


def quorum_of(wait: Wait) -> int:
    """Return how many needs must succeed, 0 for all."""
    return 0 if wait == "all" else 1 if wait == "any" else int(wait)


def _work(task: FlowTask, priority: int) -> tuple[str, Json]:
    """Return the capability and the input that a node's task has."""
    if task.map is not None:
        return MAP_CAPABILITY, {"map": msgspec.to_builtins(task.map), "input": task.input, "priority": priority}
    if task.flow is not None:
        return FLOW_CAPABILITY, {"flow": msgspec.to_builtins(task.flow), "input": task.input, "priority": priority}
    if task.timer_s:
        return TIMER_CAPABILITY, task.input
    if task.signal:
        return SIGNAL_CAPABILITY, task.input
    if task.approval:
        return APPROVAL_CAPABILITY, {"question": task.approval, "about": task.input}
    return task.capability, task.input
