"""Another way for the part of a plan that failed, by rules: what the playbook says gives the same output, or smaller portions.

What is done stays done: of a part that its gate gave up on, the specialists' results are kept, and only the portions that are
missing (and what works from them) are planned again. What has no other way is left out, and the plan's notes say so. Called by
planners, within the coordinator's step; it reads the part's lists, and writes the part that is kept to the artifact store.
"""

import msgspec

from amas.core.replan import again, fallen, part_of
from amas.errors import ArtifactError, GiveUp
from amas.model.goal import PlanChange, SubTask
from amas.model.task import Json
from amas.orchestration.leads import PartOrder, input_of, whole
from amas.orchestration.part_again import Means, PartAgain, Ways, part_again
from amas.orchestration.planner import FleetFacts, Setback


def rules_change(setback: Setback, facts: FleetFacts, *, ways: Ways | None = None) -> PlanChange:
    """Return the other way for all that failed; a change without tasks, but with notes, where there is none.

    `ways` stand before what the playbook says.
    """
    playbook = next((each for each in facts.playbooks if each.name == setback.plan.playbook), None)
    known = {**(playbook.instead if playbook else {}), **(ways or {})}
    change = _tasks_again(setback, facts, known)
    for gate in setback.given_up:
        more = _part_again(gate, setback, facts, known)
        change = PlanChange(
            tasks=(*change.tasks, *more.tasks),
            instead={**change.instead, **more.instead},
            gone=(*change.gone, *more.gone),
            notes=(*change.notes, *more.notes),
        )
    return change


def _tasks_again(setback: Setback, facts: FleetFacts, ways: Ways) -> PlanChange:
    """Return the change for tasks that failed, with those that fell with them."""
    if not setback.failed:
        return PlanChange()
    others: dict[str, str] = {}
    notes = []
    for task in setback.failed:
        outcome = setback.outcomes[task.key]
        why = outcome.failure.message if outcome.failure else "it failed"
        other = next((each for each in ways.get(task.capability, ()) if each in facts.capabilities), "")
        name = task.title or task.key
        if not other:
            return PlanChange(
                notes=(f"not planned again: {name}: {task.capability} failed ({why}), nothing gives the same output",)
            )
        others[task.key] = other
        notes.append(f"planned again: {name}: {task.capability} failed ({why}); {other} did it instead")
    lost = {task.key for task in setback.failed} | {task.key for task in fallen(setback.plan, setback.outcomes)}
    change = again([task for task in setback.plan.tasks if task.key in lost], setback.number, others)
    return msgspec.structs.replace(change, notes=tuple(notes))


def _part_again(gate: SubTask, setback: Setback, facts: FleetFacts, ways: Ways) -> PlanChange:
    """Return the change for one part: its lead once more, for what is missing, and its gate."""
    order = msgspec.convert(gate.input, PartOrder)
    lead = next(task for task in setback.plan.tasks if task.key in gate.needs and task.capability == order.phase.lead)
    try:
        made = _made_again(order, gate, setback, Means(facts.capabilities, ways, order.limits.max_subtasks))
    except (ArtifactError, GiveUp) as error:
        return PlanChange(notes=(f"not planned again: {order.phase.title or order.part}: {error}",))
    if not made.changed:
        return PlanChange(notes=made.notes)
    change = again([lead, gate], setback.number, {})
    further = msgspec.structs.replace(
        order,
        part=change.instead[lead.key],  # the gate finds its part under this name among the results that it needs
        phase=made.phase,
        kept_ref=setback.artifacts.put_json(made.kept),
    )
    given: Json = msgspec.to_builtins(further)
    tasks = [msgspec.structs.replace(task, input=given) for task in change.tasks]
    works = tuple(work.capability for work in made.phase.work)
    return PlanChange(tasks=(msgspec.structs.replace(tasks[0], spawns=works), tasks[1]), instead=change.instead, notes=made.notes)


def _made_again(order: PartOrder, gate: SubTask, setback: Setback, means: Means) -> PartAgain:
    part = part_of(setback.outcomes[gate.key])
    assert part is not None, "a gate that gave up has passed a part on"
    results = {key: outcome.result for key, outcome in setback.outcomes.items()}
    return part_again(order.phase, whole(part, setback.artifacts), input_of(order, results, setback.artifacts), means)
