"""The agents that every host carries: maps, flows within flows, new plans for what failed, and gates.

Each spawns sub-tasks and is suspended while they run, so that it holds nothing; killed at any point, its next attempt finds them
where they are. They decide from their input and needs alone, so every attempt spawns the same under the same keys.
"""

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from amas.agents.base import agent, combined
from amas.agents.context import Context
from amas.agents.gate_agent import gate_agent
from amas.core.conditions import resolved, value_of
from amas.core.flow import sub_tasks
from amas.core.flow_check import check
from amas.errors import ExpressionInvalid, FlowInvalid, GiveUp
from amas.model.fleet import PoolSpec
from amas.model.flow import BUILT_IN, FLOW_CAPABILITY, MAP_CAPABILITY, REPLAN_CAPABILITY, Flow, FlowTask, MapOver, Replan
from amas.model.gate import GateSpec
from amas.model.goal import SubTask
from amas.model.healing import HealingSpec
from amas.model.states import Layer, Priority, TaskState
from amas.model.task import Failure, Json, TaskOutcome

ELEMENTS_IN_A_CALL = 1000
"""Sub-tasks that one attempt spawns: the engine stores them in one call, which serves nobody else meanwhile."""
ELEMENTS_MAX = ELEMENTS_IN_A_CALL**2
"""A longer list is split into maps of so many elements."""
ATTEMPTS_AT_ONCE = 32
"""On one host; each is a few milliseconds of work, the waiting isn't counted."""


def flow_pool(host_id: str, gate: GateSpec | None = None) -> PoolSpec:
    """Return the pool that a host carries besides those of its fleet; nobody sees it among the agents.

    `gate`: the fleet's, for tasks that leave something of theirs open.
    """
    return PoolSpec(
        name=f"amas-flow-{host_id}",
        agent="amas.agents.flow_agents:flow_agent",
        capabilities=BUILT_IN,
        layer=Layer.EXECUTIVE,
        tasks_per_agent=ATTEMPTS_AT_ONCE,
        options={"gate": msgspec.to_builtins(gate)} if gate else {},
        healing=HealingSpec(stuck_after_s=0.0),  # what it waits for here is somebody's model or scorer
    )


class MapOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a map's task gets as input."""

    map: MapOver
    input: Json = None
    priority: int = int(Priority.NORMAL)
    slice: tuple[int, int] | None = None
    """Of the list, from and up to; None for all of it."""


@agent(MAP_CAPABILITY)
async def map_agent(task: Context) -> list[Json]:
    """Have one sub-task done for each element and return their results in the order of the list."""
    order = _order(task, MapOrder)
    scope = {"input": order.input, "needs": task.results}
    items = _elements(order.map.over, scope)
    start, end = order.slice or (0, len(items))
    if not end - start:
        return []
    if end - start > ELEMENTS_IN_A_CALL:
        return await _in_slices(task, order, end)
    mapped = order.map
    lanes = 0 if mapped.at_once >= end - start else mapped.at_once
    enough = 0 if order.slice else mapped.enough
    tolerant = mapped.on_failure == "skip" or mapped.enough > 0
    children = [
        SubTask(
            key=_key(index),
            capability=mapped.capability,
            input=_resolve(mapped.input, {**scope, "item": items[index], "index": index}),
            title=f"{task.spec.title or task.spec.key} [{index}]",
            priority=order.priority,
            timeout_s=mapped.timeout_s,
            retry=mapped.retry,
            pool=mapped.pool,
            concurrency=mapped.concurrency,
            provider=mapped.provider,
            estimate=mapped.estimate,
            on_failure="skip" if tolerant else "fail",  # to the element after it in its lane
            runs_after=(_key(index - lanes),) if lanes and index - lanes >= start else (),
        )
        for index in range(start, end)
    ]
    if enough > len(children):
        raise GiveUp(f"the list has {len(children)} elements, of which {enough} must succeed", code="quorum_missed")
    outcomes = await task.spawn(children, wait=enough or ("all" if tolerant else len(children)))
    return _results([outcomes[child.key] for child in children], children, enough=enough, tolerant=tolerant)


async def _in_slices(task: Context, order: MapOrder, length: int) -> list[Json]:
    """Have maps of a thousand elements each do a long list; with a limit of elements at a time, one after the other."""
    if length > ELEMENTS_MAX:
        raise GiveUp(f"the list has {length} elements; a map takes at most {ELEMENTS_MAX}", code="map_too_long")
    starts = range(0, length, ELEMENTS_IN_A_CALL)
    children = [
        SubTask(
            key=f"slice/{start}",
            capability=MAP_CAPABILITY,
            input=msgspec.to_builtins(
                msgspec.structs.replace(order, slice=(start, min(start + ELEMENTS_IN_A_CALL, length))), str_keys=True
            ),
            title=f"{task.spec.title or task.spec.key} [{start}..]",
            priority=order.priority,
            inherits_needs=True,
            runs_after=(f"slice/{start - ELEMENTS_IN_A_CALL}",) if order.map.at_once and start else (),
        )
        for start in starts
    ]
    tolerant = order.map.on_failure == "skip" or order.map.enough > 0
    outcomes = await task.spawn(children, wait="all" if tolerant else len(children))
    results = [each for part in _results([outcomes[child.key] for child in children], children) for each in part]
    enough = order.map.enough
    if enough and sum(each is not None for each in results) < enough:
        raise GiveUp(f"fewer than {enough} of {length} elements succeeded", code="quorum_missed")
    return results


def _key(index: int) -> str:
    return f"{index:06d}"


def _results(
    outcomes: Sequence[TaskOutcome], children: Sequence[SubTask], *, enough: int = 0, tolerant: bool = False
) -> list[Json]:
    done = [outcome.result if outcome.state is TaskState.SUCCEEDED else None for outcome in outcomes]
    succeeded = sum(outcome.state is TaskState.SUCCEEDED for outcome in outcomes)
    if enough:
        if succeeded < enough:
            raise GiveUp(f"{succeeded} of {len(outcomes)} elements succeeded; {enough} are needed", code="quorum_missed")
        return done
    if not tolerant:
        for child, outcome in zip(children, outcomes, strict=True):
            if outcome.state in {TaskState.FAILED, TaskState.CANCELLED}:
                why = _why(outcome)
                raise GiveUp(f"element {child.key.lstrip('0') or '0'} failed: {why.message}", code="element_failed")
    return done


def _elements(over: str, scope: dict[str, Json]) -> list[Json]:
    try:
        found = value_of(over, scope)
    except ExpressionInvalid as error:
        raise GiveUp(str(error), code=error.code) from error
    if not isinstance(found, list):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise GiveUp(f"{over!r} must give a list, and gives {kind}", code="no_list")
    return found


def _resolve(template: Json, scope: dict[str, Json]) -> Json:
    try:
        return resolved(template, scope)
    except ExpressionInvalid as error:
        raise GiveUp(str(error), code=error.code) from error


class FlowOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the task of a flow within a flow gets as input."""

    flow: Flow
    input: Json = None
    priority: int = int(Priority.NORMAL)


@agent(FLOW_CAPABILITY)
async def flow_agent_of_flows(task: Context) -> Json:
    """Have a flow's tasks done as sub-tasks, each with the needs of this one besides its own; return the flow's result."""
    order = _order(task, FlowOrder)
    flow = order.flow
    outcomes = await task.spawn(_spawnable(sub_tasks(flow, priority=order.priority)))
    return _output(flow, outcomes)


def _spawnable(tasks: Sequence[SubTask]) -> list[SubTask]:
    """Return a flow's tasks as sub-tasks of one task: those that need nothing get what it got."""
    return [each if each.needs else msgspec.structs.replace(each, inherits_needs=True) for each in tasks]


def _output(flow: Flow, outcomes: dict[str, TaskOutcome]) -> Json:
    skipped = {task.key for task in flow.tasks if task.on_failure == "skip"}
    for key, outcome in outcomes.items():
        if outcome.state is not TaskState.SUCCEEDED and key not in skipped:
            raise GiveUp(f"task {key!r} of the flow {flow.name!r} failed: {_why(outcome).message}", code="flow_failed")
    if flow.output:
        return outcomes[flow.output].result
    return {task.key: outcomes[task.key].result for task in flow.tasks}


class ReplanOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the task of a task with a new plan gets as input."""

    task: SubTask
    replan: Replan
    priority: int = int(Priority.NORMAL)


class NewPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the capability that was asked for a new plan answers."""

    result: Json = msgspec.UNSET
    """Instead of the task's own."""
    tasks: tuple[FlowTask, ...] = ()
    """To be done instead."""
    output: str = ""


@agent(REPLAN_CAPABILITY)
async def replan_agent(task: Context) -> Json:
    """Have a task done; when it fails for good, ask for a result or for tasks instead, a bounded number of times."""
    order = _order(task, ReplanOrder)
    outcome = (await task.spawn([order.task]))[order.task.key]
    for number in range(1, order.replan.rounds + 1):
        if outcome.state is TaskState.SUCCEEDED:
            break
        plan = await _ask(task, order, _why(outcome), number)
        if plan.result is not msgspec.UNSET:
            return plan.result
        outcome = await _carry_out(task, order, plan, number)
    if outcome.state is not TaskState.SUCCEEDED:
        raise GiveUp(f"{_why(outcome).message} (after {order.replan.rounds} new plans)", code=_why(outcome).code)
    return outcome.result


async def _ask(task: Context, order: ReplanOrder, failure: Failure, number: int) -> NewPlan:
    key = f"replan/{number}"
    asked = SubTask(
        key=key,
        capability=order.replan.capability,
        input={
            "task": {"key": order.task.key, "capability": order.task.capability, "input": order.task.input},
            "failure": {"code": failure.code, "message": failure.message},
            "round": number,
        },
        priority=order.priority,
        inherits_needs=True,
    )
    answer = (await task.spawn([asked]))[key]
    if answer.state is not TaskState.SUCCEEDED:
        raise GiveUp(f"{failure.message}; and no new plan came: {_why(answer).message}", code=failure.code)
    try:
        return msgspec.convert(answer.result, NewPlan)
    except msgspec.ValidationError as error:
        raise GiveUp(f"{order.replan.capability} answered no plan: {error}", code="plan_invalid") from error


async def _carry_out(task: Context, order: ReplanOrder, plan: NewPlan, number: int) -> TaskOutcome:
    """Have a new plan's tasks done as a flow within; return how it ended."""
    key = f"plan/{number}"
    flow = Flow(name=f"{order.task.key} {key}", tasks=plan.tasks, output=plan.output)
    try:
        check(flow)
    except FlowInvalid as error:
        raise GiveUp(f"{order.replan.capability} answered no plan: {error}", code="plan_invalid") from error
    inner = SubTask(
        key=key,
        capability=FLOW_CAPABILITY,
        input={"flow": msgspec.to_builtins(flow), "priority": order.priority},
        priority=order.priority,
        inherits_needs=True,
    )
    return (await task.spawn([inner]))[key]


flow_agent = combined(map_agent, flow_agent_of_flows, replan_agent, gate_agent)


Order = TypeVar("Order", MapOrder, FlowOrder, ReplanOrder)


def _order(task: Context, kind: type[Order]) -> Order:
    try:
        return msgspec.convert(task.input, kind)
    except msgspec.ValidationError as error:
        raise GiveUp(f"the task's input is none for {task.spec.capability}: {error}", code="input_unusable") from error


def _why(outcome: TaskOutcome) -> Failure:
    return outcome.failure or Failure("cancelled", f"it was {outcome.state}")
