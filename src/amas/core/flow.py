"""Whether a flow may start, in which order its tasks go in, and the sub-tasks that it means.

`problems` returns one sentence for each mistake, with the field it stands in, so that a file's reader can tell the line. Called
by whoever starts a flow: the client, the control plane, the command line, and the built-in agent for flows within flows. Pure.
"""

from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from amas.core.conditions import compiled, references
from amas.core.gates import mistakes
from amas.core.plan import find_cycle
from amas.errors import ExpressionInvalid, FlowInvalid
from amas.model.flow import (
    APPROVAL_CAPABILITY,
    BUILT_IN,
    FLOW_CAPABILITY,
    GATE_CAPABILITY,
    MAP_CAPABILITY,
    REPLAN_CAPABILITY,
    RESERVED_PREFIX,
    SIGNAL_CAPABILITY,
    TIMER_CAPABILITY,
    Flow,
    FlowTask,
    MapOver,
    Wait,
)
from amas.model.goal import SubTask
from amas.model.limits import reserves_of
from amas.model.states import Priority
from amas.model.task import Json, TaskKind

TASKS_MAX = 1_000_000
INNER_TASKS_MAX = 1000
"""Of a flow within a flow, whose tasks are stored in one call of the engine."""
KEY_CHARS_MAX = 200
NESTED_MAX = 8

_DOES = ("capability", "map", "flow", "timer_s", "signal", "approval")
_OF_AGENTS = ("when", "replan", "undo", "gate", "pool", "concurrency", "provider", "estimate")


class FlowProblem(NamedTuple):
    """One mistake: where it stands, as files write it (`tasks[2].needs`), and how to mend it."""

    field: str
    message: str


def check(flow: Flow, *, capabilities: Collection[str] | None = None) -> None:
    """Raise `FlowInvalid` with every mistake of a flow; `capabilities`: what the fleet can do, where it is known."""
    if found := [problem.message for problem in problems(flow, capabilities=capabilities)]:
        raise FlowInvalid(flow.name, found)


def problems(flow: Flow, *, capabilities: Collection[str] | None = None) -> Iterator[FlowProblem]:
    """Yield what is wrong with a flow, in its order; nothing when it may start."""
    known = None if capabilities is None else frozenset(capabilities) | frozenset(BUILT_IN)
    yield from _of_flow(flow, "", known, depth=1)


def _of_flow(flow: Flow, at: str, known: frozenset[str] | None, *, depth: int) -> Iterator[FlowProblem]:
    keys = Counter(task.key for task in flow.tasks)
    most = TASKS_MAX if depth == 1 else INNER_TASKS_MAX
    if not flow.tasks:
        yield FlowProblem(f"{at}tasks", f"the flow {flow.name!r} has no task")
    if len(flow.tasks) > most:
        yield FlowProblem(f"{at}tasks", f"the flow {flow.name!r} has {len(flow.tasks)} tasks; at most {most} are taken here")
    if flow.output and flow.output not in keys:
        yield FlowProblem(f"{at}output", f"the output {flow.output!r} is no task of the flow {flow.name!r}")
    for key in (key for key, count in keys.items() if count > 1):
        index = next(index for index, task in enumerate(flow.tasks) if task.key == key)
        yield FlowProblem(f"{at}tasks[{index}].key", f"the key {key!r} names {keys[key]} tasks: give each its own")
    for index, task in enumerate(flow.tasks):
        field = f"{at}tasks[{index}]"
        for name, sentence in (
            *_of_key(task),
            *_of_kind(task),
            *_of_needs(task, keys),
            *_of_policy(task, known),
            *_of_gate(task),
        ):
            yield FlowProblem(f"{field}.{name}", sentence)
        if task.flow is not None:
            if depth >= NESTED_MAX:
                yield FlowProblem(f"{field}.flow", f"flows stand within flows more than {NESTED_MAX} deep")
            else:
                yield from _of_flow(task.flow, f"{field}.flow.", known, depth=depth + 1)
    cycle = find_cycle({task.key: task.needs for task in flow.tasks})
    if cycle:
        yield FlowProblem(f"{at}tasks", f"the tasks wait for each other in a circle: {' -> '.join(cycle)}")


def _of_key(task: FlowTask) -> Iterator[tuple[str, str]]:
    if not task.key or len(task.key) > KEY_CHARS_MAX:
        yield "key", f"a key has 1 to {KEY_CHARS_MAX} characters: {task.key[:40]!r}"
    if task.key.startswith(RESERVED_PREFIX):
        yield "key", f"the key {task.key!r} begins with {RESERVED_PREFIX!r}, which the engine's own tasks do: name it otherwise"


def _of_kind(task: FlowTask) -> Iterator[tuple[str, str]]:
    said = [name for name in _DOES if getattr(task, name)]
    if len(said) != 1:
        what = f"says {' and '.join(said)}" if said else "says nothing"
        yield "capability", f"task {task.key!r} {what} of what it does; say exactly one of {', '.join(_DOES)}"
    for name in ("timer_s", "delay_s", "timeout_s", "deadline_s", "expires_s"):
        if not 0 <= getattr(task, name) < float("inf"):
            yield name, f"{name} of task {task.key!r} is {getattr(task, name)!r}; it is a number of seconds, not less than 0"
    if task.expires_s and not (task.signal or task.approval):
        yield "expires_s", f"task {task.key!r} is no signal or approval, which alone expire: give it a deadline_s"
    if task.timer_s or task.signal or task.approval:
        for name in (name for name in _OF_AGENTS if getattr(task, name)):
            yield name, f"task {task.key!r} runs on no agent, so it takes no {name}: put it on the next"
    for name, limited in (("", task), ("map.", task.map)):
        if limited is not None and (wrong := _limits_problem(limited)):
            yield f"{name}concurrency", f"task {task.key!r}: {wrong}"
    if task.priority is not None and task.priority not in set(map(int, Priority)):
        yield "priority", f"the priority of task {task.key!r} is {task.priority}; it must be 0 to 3"


def _limits_problem(limited: FlowTask | MapOver) -> str:
    try:
        reserves_of(concurrency=limited.concurrency, provider=limited.provider, estimate=limited.estimate)
    except ValueError as error:
        return str(error)
    return ""


def _of_needs(task: FlowTask, keys: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    for need in task.needs:
        if need not in keys:
            yield "needs", f"task {task.key!r} needs {need!r}, which is not in the flow"
    if len(set(task.needs)) != len(task.needs):
        yield "needs", f"task {task.key!r} names a need twice"
    if isinstance(task.wait, int) and not 1 <= task.wait <= len(task.needs):
        yield "wait", f"task {task.key!r} waits for {task.wait} of its {len(task.needs)} needs; let it be 1 to {len(task.needs)}"
    elif task.wait == "any" and not task.needs:
        yield "wait", f"task {task.key!r} waits for any of its needs, but has none"


def _of_policy(task: FlowTask, known: frozenset[str] | None) -> Iterator[tuple[str, str]]:
    if (task.on_failure == "replan") != (task.replan is not None):
        yield "replan", f"task {task.key!r} must have both on_failure: replan and replan, which says who is asked, or neither"
    if task.replan and not 1 <= task.replan.rounds <= 10:
        yield "replan.rounds", f"task {task.key!r} asks for a new plan {task.replan.rounds} times; it must be 1 to 10"
    if task.map and (task.map.enough < 0 or task.map.at_once < 0):
        yield "map", f"map {task.key!r}: enough and at_once can't be less than 0"
    for field, expression in _expressions(task):
        try:
            compiled(expression)
        except ExpressionInvalid as error:
            yield field, f"task {task.key!r}: {error}"
    for field, capability in (
        ("capability", task.capability),
        ("map.capability", task.map.capability if task.map else ""),
        ("replan.capability", task.replan.capability if task.replan else ""),
        ("undo.capability", task.undo.capability if task.undo else ""),
    ):
        if capability and known is not None and capability not in known:
            yield field, f"task {task.key!r} needs the capability {capability!r}, which no agent of this fleet has"


def _of_gate(task: FlowTask) -> Iterator[tuple[str, str]]:
    if task.gate and not task.capability:
        yield "gate", f"task {task.key!r} has a gate, which only a task with a capability can: put it on those within"
    if task.gate and task.replan:
        yield "gate", f"task {task.key!r} has both a gate and replan: say one"
    for name, sentence in mistakes(task.gate):
        yield f"gate.{name}", f"the gate of task {task.key!r}: {name} {sentence}"


def _expressions(task: FlowTask) -> Iterator[tuple[str, str]]:
    if task.when:
        yield "when", task.when
    if task.map is not None:
        yield "map.over", task.map.over
        for expression in references(task.map.input):
            yield "map.input", expression


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
    if task.replan is None:
        return made
    inner = msgspec.structs.replace(made, needs=(), quorum=0, when="", delay_s=0.0, deadline_s=0.0, inherits_needs=True)
    return SubTask(
        key=task.key,
        capability=REPLAN_CAPABILITY,
        input={"task": msgspec.to_builtins(inner), "replan": msgspec.to_builtins(task.replan), "priority": priority},
        needs=task.needs,
        title=task.title,
        priority=priority,
        delay_s=task.delay_s,
        deadline_s=task.deadline_s,
        when=task.when,
        quorum=made.quorum,
    )


def gated(task: SubTask) -> SubTask:
    """Return the task that has `task` done and judged, in its place."""
    inner = msgspec.structs.replace(
        task, gate=None, needs=(), runs_after=(), quorum=0, when="", delay_s=0.0, deadline_s=0.0, inherits_needs=True, undoes=""
    )
    return SubTask(
        key=task.key,
        capability=GATE_CAPABILITY,
        input={"task": msgspec.to_builtins(inner), "gate": msgspec.to_builtins(task.gate)},
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
