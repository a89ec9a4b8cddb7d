"""What the gates of one workflow did: from the results of those that have ended, and the journaled opinions of those at work."""

import msgspec

from amas.core.gates import Opinion, Quality, Round, score_of
from amas.model.flow import GATE_CAPABILITY
from amas.model.task import Json, TaskView
from amas.server.gate_shapes import DeliveryShape, GateShape, WorkflowQuality
from amas.server.lookups import TREE_MAX, find_task, workflow_exists
from amas.server.plane import ControlPlane

APPROVAL = "executive.approve"
_GATES = frozenset({GATE_CAPABILITY, "executive.quality"})
_GATE_KEY = "gate/"
"""Of a part's gate, whatever capability its playbook has it judged by."""
_STEP = "judge-"


async def workflow_quality(plane: ControlPlane, workflow_id: str) -> WorkflowQuality:
    """Return every gate of a workflow with its rounds, and how the delivery was signed; WorkflowUnknown when nobody knows it."""
    await workflow_exists(plane, workflow_id)
    views = await plane.queue.workflow_tasks(workflow_id, limit=TREE_MAX)
    views = views or await plane.records.tasks(workflow_id=workflow_id, limit=TREE_MAX)
    gates, delivery = [], None
    for view in views:
        if view.capability in _GATES or view.key.startswith(_GATE_KEY):
            gates.append(await _gate(plane, view))
        elif view.capability == APPROVAL:
            delivery = _delivery(await _result(plane, view))
    return WorkflowQuality(workflow_id=workflow_id, gates=gates, delivery=delivery)


async def _result(plane: ControlPlane, view: TaskView) -> dict[str, Json]:
    found = await plane.values.get((await find_task(plane, view.id)).result)
    return found if isinstance(found, dict) else {}


async def _gate(plane: ControlPlane, view: TaskView) -> GateShape:
    about = GateShape(task_id=view.id, key=view.key, title=view.title, state=view.state)
    if not view.state.terminal:
        return msgspec.structs.replace(about, rounds=await _so_far(plane, view.id))
    said = (await _result(plane, view)).get("quality")
    if said is None:
        return about
    quality = msgspec.convert(said, Quality)
    return msgspec.structs.replace(
        about,
        threshold=quality.threshold,
        score=quality.score,
        accepted=quality.accepted,
        accepted_by=quality.accepted_by,
        rounds=list(quality.rounds),
        up=list(quality.up),
        judged_by=quality.judged_by,
    )


async def _so_far(plane: ControlPlane, task_id: str) -> list[Round]:
    """Return the rounds of a gate that is at work, as its journal has them."""
    rounds: dict[int, list[Opinion]] = {}
    for name, held in sorted((await plane.queue.steps(task_id)).items()):
        number, _, judge = name.removeprefix(_STEP).partition("/")
        if name.startswith(_STEP) and "/" not in judge:  # deeper ones are a model's single requests
            opinion = msgspec.convert(await plane.values.get(msgspec.msgpack.decode(held)), Opinion)
            rounds.setdefault(int(number), []).append(opinion)
    return [Round(round=number, score=score_of(said), opinions=tuple(said)) for number, said in sorted(rounds.items())]


def _delivery(result: dict[str, Json]) -> DeliveryShape | None:
    if "signed_by" not in result:
        return None
    return DeliveryShape(
        approved=bool(result.get("approved")),
        score=float(result.get("score") or 0.0),
        signed_by=str(result["signed_by"]),
        signature=str(result.get("signature") or ""),
    )
