"""Whether a flow may start: a sentence for each mistake, with the field it stands in, so that a file's reader can tell the line.

Called by whoever starts one: the client, the control plane, the command line, and the agent for flows within flows. Pure.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from amas.core.conditions import compiled, references
from amas.core.gates import mistakes
from amas.core.plan import find_cycle
from amas.errors import ExpressionInvalid, FlowInvalid
from amas.model.flow import BUILT_IN, RESERVED_PREFIX, Flow, FlowTask, MapOver
from amas.model.limits import reserves_of
from amas.model.states import Priority

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
            *_of_work(task),
            *_of_times(task),
            *_of_turn(task),
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


def _of_work(task: FlowTask) -> Iterator[tuple[str, str]]:
    said = [name for name in _DOES if getattr(task, name)]
    if len(said) != 1:
        what = f"says {' and '.join(said)}" if said else "says nothing"
        yield "capability", f"task {task.key!r} {what} of what it does; say exactly one of {', '.join(_DOES)}"
    if task.timer_s or task.signal or task.approval:
        for name in (name for name in _OF_AGENTS if getattr(task, name)):
            yield name, f"task {task.key!r} runs on no agent, so it takes no {name}: put it on the next"


def _of_times(task: FlowTask) -> Iterator[tuple[str, str]]:
    for name in ("timer_s", "delay_s", "timeout_s", "deadline_s", "expires_s"):
        if not 0 <= getattr(task, name) < float("inf"):
            yield name, f"{name} of task {task.key!r} is {getattr(task, name)!r}; it is a number of seconds, not less than 0"
    if task.expires_s and not (task.signal or task.approval):
        yield "expires_s", f"task {task.key!r} is no signal or approval, which alone expire: give it a deadline_s"


def _of_turn(task: FlowTask) -> Iterator[tuple[str, str]]:
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
