"""The management layer: a lead splits its part over the input, has specialists do it, and adds up what comes back.

All leads of parts are one function; what a part consists of is in its task's input, from the playbook. The integration lead has
the report made. A lead never does a specialist's work, and a specialist that failed for good never fails the part.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.artifacts.store import ArtifactStore
from amas.core.quality import Redo
from amas.errors import GiveUp
from amas.model.fleet import FleetLimits
from amas.model.gate import GateSpec
from amas.model.goal import SubTask
from amas.model.states import Layer, Priority
from amas.model.task import Json
from amas.orchestration.playbooks import Phase
from amas.orchestration.split import PART_BYTES_MAX, FileEntry, Input, Part, again, aggregate, split, sub_tasks


class PartOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a lead, and its part's gate, get as input."""

    part: str
    phase: Phase
    goal: str = ""
    source: str = "ingest"
    """The key of the task that took the snapshot."""
    limits: FleetLimits = FleetLimits()
    priority: int = int(Priority.NORMAL)
    feedback: tuple[Redo, ...] = ()
    """What the gate wants done again; empty in the first round."""
    context_ref: str = ""
    """In a further round: the results that the first one had, by key."""
    gate: GateSpec = GateSpec()
    """The playbook's."""
    prefer: dict[str, str] = msgspec.field(default_factory=dict)
    """In a further round: which agent is to have a portion again, by the portion's key."""
    avoid: dict[str, str] = msgspec.field(default_factory=dict)
    """Which one is not."""


def order_of(ctx: Context) -> PartOrder:
    """Return a task's input as an order; GiveUp says what is wrong with it."""
    try:
        return msgspec.convert(ctx.input, PartOrder)
    except msgspec.ValidationError as error:
        raise GiveUp(f"the task's input is no order for a part: {error}", code="input_unusable") from error


def input_of(order: PartOrder, results: Mapping[str, Json], artifacts: ArtifactStore) -> Input:
    """Return the snapshot that a part is about, its list of files read."""
    ingest = results.get(order.source)
    if not isinstance(ingest, dict) or not isinstance(ingest.get("files_ref"), str):
        raise GiveUp(f"the part {order.part!r} can't start: there is no snapshot from {order.source!r}", code="input_unusable")
    return Input(ingest=ingest, files=msgspec.convert(artifacts.get_json(ingest["files_ref"]), list[FileEntry]))


def earlier_references(results: Mapping[str, Json], source: str) -> dict[str, Json]:
    """Return where the findings of earlier parts are, for specialists that build on them."""
    parts = [value for key, value in results.items() if key != source and isinstance(value, dict)]
    names = ("capability", "group", "findings_ref", "per_file_ref")
    found: list[Any] = [
        {name: result[name] for name in names if name in result} for part in parts for result in part.get("specialists") or []
    ]
    return {"earlier": found}


def slim(part: Part, artifacts: ArtifactStore) -> Part:
    """Return the part, its lists of covered files moved to artifacts where it would be too large for a result."""
    if len(msgspec.json.encode(part)) <= PART_BYTES_MAX:
        return part
    moved = [
        {**result, "covered": [], "covered_ref": artifacts.put_json(result.get("covered") or [])}
        for result in part["specialists"]
    ]
    return {**part, "specialists": moved}


def whole(part: Part, artifacts: ArtifactStore) -> Part:
    """Return the part with the lists that `slim` moved away."""
    back = [
        {**result, "covered": artifacts.get_json(result["covered_ref"])} if "covered_ref" in result else result
        for result in part["specialists"]
    ]
    return {**part, "specialists": back}


@agent("management.technical", "management.qa", "management.creative", "management.research", "management.analysis")
async def lead_part(ctx: Context) -> Json:
    """Have a part made by specialists and return it."""
    order = order_of(ctx)
    results = ctx.artifacts.get_json(order.context_ref) if order.context_ref else ctx.results
    source = input_of(order, results, ctx.artifacts)
    portions, left_out = split(order.phase, source, max_subtasks=order.limits.max_subtasks)
    if order.feedback:
        portions = again(portions, order.feedback)
    more = earlier_references(results, order.source)
    ctx.progress(0.1, f"{len(portions)} portions")
    tasks = [_told(task, order) for task in sub_tasks(portions, source, priority=order.priority, more=more)]
    outcomes = await ctx.spawn(tasks) if tasks else {}
    part = aggregate(order.phase, portions, outcomes, left_out=left_out)
    return slim({**part, "led_by": {"task_id": ctx.id, "agent_id": ctx.agent_id}}, ctx.artifacts)


def _told(task: SubTask, order: PartOrder) -> SubTask:
    """Return a portion's task with what the gate said of it, for the agent that had it or for another one."""
    words = [redo.reason for redo in order.feedback if f"{redo.capability}/{redo.group}" == task.key]
    prefer, avoid = order.prefer.get(task.key), order.avoid.get(task.key)
    if words:
        task = msgspec.structs.replace(task, input={**task.input, "feedback": words})
    return msgspec.structs.replace(task, prefer=(prefer,) if prefer else (), avoid=(avoid,) if avoid else ())


@agent("management.integration")
async def integrate(ctx: Context) -> Json:
    """Have the report made of the parts, and return it."""
    given = ctx.input if isinstance(ctx.input, dict) else {}
    results = {key: whole(value, ctx.artifacts) if _is_part(value) else value for key, value in ctx.results.items()}
    ingest = results.get("ingest")
    write = SubTask(
        key="write",
        capability=str(given.get("writer") or "reporting.write"),
        input={
            "goal": given.get("goal", ""),
            "notes": given.get("notes", []),
            "source": ingest.get("source", "") if isinstance(ingest, dict) else "",
            # The parts may be larger than an input may be; only siblings' results come by themselves.
            "results_ref": ctx.artifacts.put_json(results),
        },
        title="Write the report",
        layer=Layer.SPECIALIST,
    )
    outcome = (await ctx.spawn([write]))["write"]
    if outcome.failure is not None:
        raise GiveUp(f"the report could not be written: {outcome.failure.message}", code=outcome.failure.code)
    return outcome.result


def _is_part(value: Json) -> bool:
    return isinstance(value, dict) and isinstance(value.get("specialists"), list)
