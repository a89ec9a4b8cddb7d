"""Whether somebody in the hierarchy may do what it is about to do; the same rules hold for plans and for what agents spawn.

Work goes to one's own layer or to one further down; what goes up is a question, to one's own leads. A pool's rights say the rest.
A refusal is one sentence that names pool, layer, right and the way out; "" is none. Called by hosts, before anything is stored,
and by the validator of plans. Pure: it must never change what was asked for so that it fits.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from amas.model.authority import Member, Right
from amas.model.flow import BUILT_IN, ESCALATION_CAPABILITY, FLOW_CAPABILITY, REPLAN_CAPABILITY
from amas.model.goal import ROOT_CAPABILITY, SubTask
from amas.model.states import Layer

RANK = {layer: rank for rank, layer in enumerate(Layer)}
"""0 for the layer that reports to nobody."""

TAKES: dict[str, Right] = {ROOT_CAPABILITY: Right.PLAN, "executive.approve": Right.APPROVE}
"""What work of a capability asks of those who do it."""

_DOES = {
    Right.PLAN: "have a plan carried out",
    Right.SPLIT: "have sub-tasks done",
    Right.SPAWN: "make further agents",
    Right.APPROVE: "sign or approve",
    Right.ESCALATE: "hand a question to its lead",
    Right.MESSAGE: "write beyond its own team",
    Right.SPEND: "spend money",
}


class Hierarchy(NamedTuple):
    """Everybody's place, looked up by pool and by what they can do."""

    members: dict[str, Member]
    able: dict[str, tuple[Member, ...]]
    """Those who have a capability."""

    @classmethod
    def of(cls, members: Iterable[Member]) -> "Hierarchy":
        """Return the hierarchy of some pools."""
        by_pool = {member.pool: member for member in members}
        able: dict[str, tuple[Member, ...]] = {}
        for member in by_pool.values():
            for capability in member.capabilities:
                able[capability] = (*able.get(capability, ()), member)
        return cls(by_pool, able)

    def leads(self, member: Member) -> tuple[Member, ...]:
        """Return those above a member, its own lead first."""
        above: list[Member] = []
        while (lead := self.members.get(member.lead)) is not None and lead not in above:
            above.append(lead)
            member = lead
        return tuple(above)


def lacks(member: Member, right: Right) -> str:
    """Return why a member may not use `right`; "" when it may."""
    if right in member.rights:
        return ""
    return (
        f"the pool {member.pool!r} ({member.layer} layer) has no right to {right} and so can't {_DOES[right]}: "
        f"give it with rights: [{right}] in the fleet file, or escalate to "
        + (f"its lead {member.lead!r}" if member.lead else "a person")
    )


def refusal(member: Member, tasks: Sequence[SubTask], hierarchy: Hierarchy) -> str:
    """Return why a member may not have these sub-tasks done; "" when it may. Linear in the tasks."""
    seen: set[tuple[str, str]] = set()
    for task in tasks:
        asked = task.capability, task.pool
        if task.kind != "work" or asked in seen:
            continue
        seen.add(asked)
        if why := _refused(member, task, hierarchy):
            return why
    return ""


def _refused(member: Member, task: SubTask, hierarchy: Hierarchy) -> str:
    if task.capability == ESCALATION_CAPABILITY:
        if why := lacks(member, Right.ESCALATE):
            return why
        if Right.APPROVE in member.rights:  # who judges work asks those above whoever did it
            return ""
        above = [lead.pool for lead in hierarchy.leads(member)]
        return (
            ""
            if task.pool in above
            else f"the pool {member.pool!r} may escalate to its leads alone: {', '.join(above) or 'none'}"
        )
    right = Right.PLAN if task.capability in {FLOW_CAPABILITY, REPLAN_CAPABILITY} else Right.SPLIT
    if Right.PLAN not in member.rights and (why := lacks(member, right)):  # who may have a plan carried out may split, too
        return why
    above_it = next((each for each in _takers(task, hierarchy) if RANK[each.layer] < RANK[member.layer]), None)
    if above_it is None:
        return ""
    return (
        f"the pool {member.pool!r} ({member.layer} layer) has no right to task {above_it.pool!r} ({above_it.layer} layer) with "
        f"{task.capability!r}: work goes to one's own layer or down; escalate, or name a pool that isn't above with pool="
    )


def _takers(task: SubTask, hierarchy: Hierarchy) -> tuple[Member, ...]:
    """Return those who may come to do a sub-task, as far as they are known here."""
    if task.pool:
        return (hierarchy.members[task.pool],) if task.pool in hierarchy.members else ()
    return hierarchy.able.get(task.capability, ())


def step_problems(tasks: Sequence[SubTask], *, by: Member, hierarchy: Hierarchy) -> Iterator[str]:
    """Yield a sentence for each step of a plan that nobody may take, or that `by`, who carries the plan out, may not give."""
    for task in tasks:
        if task.kind != "work" or task.capability in BUILT_IN:
            continue
        if task.pool and task.capability not in getattr(hierarchy.members.get(task.pool), "capabilities", ()):
            yield f"task {task.key!r} is for the pool {task.pool!r}, which can't do {task.capability!r}"
            continue
        right, takers = TAKES.get(task.capability), _takers(task, hierarchy)
        if right and takers and not all(right in each.rights for each in takers):
            pools = ", ".join(f"{each.pool} ({each.layer})" for each in takers if right not in each.rights)
            yield f"task {task.key!r} needs the right to {right}, which {pools} lacks: give it with rights: [{right}]"
        elif why := _refused(by, task, hierarchy):
            yield f"task {task.key!r}: {why}"
