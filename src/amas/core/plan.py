"""Whether a plan may start: one validator for every planner, rules or model.

`problems` returns one sentence for each rule that a plan breaks; none means that it may run. Called by the coordinator before
anything is spawned. Pure: it must never repair a plan.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from amas.core.authority import Hierarchy, step_problems
from amas.core.estimate import over_budget
from amas.model.authority import Member
from amas.model.fleet import FleetLimits
from amas.model.goal import ROOT_CAPABILITY, Complexity, Plan, SubTask
from amas.model.limits import Amounts
from amas.model.states import Priority

DEPTH_MAX = 20
"""Tasks in the longest chain of needs; a plan that is deeper is a queue in disguise and a model's favourite mistake."""

_GRADES = ((5, Complexity.SIMPLE), (15, Complexity.MODERATE), (30, Complexity.COMPLEX))


def graded(subtasks: int) -> Complexity:
    """Return how complex a plan of so many sub-tasks is."""
    return next((grade for most, grade in _GRADES if subtasks <= most), Complexity.VERY_COMPLEX)


def problems(
    plan: Plan,
    *,
    capabilities: Collection[str],
    limits: FleetLimits,
    members: Sequence[Member] = (),
    budget: Amounts | None = None,
) -> list[str]:
    """Return what is wrong with a plan, a sentence each; an empty list when nothing is.

    `members`: the fleet's, where known. The plan's estimate, where it has one, is held against `budget`.
    """
    needs = {task.key: task.needs for task in plan.tasks}
    found = [*_size(plan, limits), *_keys(plan.tasks), *_tasks(plan.tasks, capabilities, needs), *_rights(plan.tasks, members)]
    cycle = find_cycle(needs)
    if cycle:
        found.append(f"the tasks wait for each other in a circle: {' -> '.join(cycle)}")
    elif (deepest := depth(needs)) > DEPTH_MAX:
        found.append(f"the longest chain has {deepest} tasks; at most {DEPTH_MAX} may follow one another")
    if plan.estimate is not None:
        found += over_budget(plan.estimate, budget)
    return [*found, *_deliverable(plan, needs)]


def find_cycle(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a path of keys that ends where it starts, each needing the next; empty when there is none."""
    done: set[str] = set()
    for start in needs:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, bool]] = [(start, False)]
        while stack:
            key, leaving = stack.pop()
            if leaving:
                path.pop()
                on_path.discard(key)
                done.add(key)
            elif key in on_path:
                return [*path[path.index(key) :], key]
            elif key not in done:
                path.append(key)
                on_path.add(key)
                stack.append((key, True))
                stack += [(need, False) for need in needs[key] if need in needs]
    return []


def depth(needs: Mapping[str, Sequence[str]]) -> int:
    """Return how many tasks the longest chain has; the graph must be without cycles."""
    depths: dict[str, int] = {}
    stack = list(needs)
    while stack:
        key = stack[-1]
        open_needs = [need for need in needs[key] if need in needs and need not in depths]
        if open_needs:
            stack += open_needs
            continue
        depths[key] = 1 + max((depths[need] for need in needs[key] if need in needs), default=0)
        stack.pop()
    return max(depths.values(), default=0)


def needed_by(key: str, needs: Mapping[str, Sequence[str]]) -> set[str]:
    """Return `key` and all that it needs, directly or through others."""
    reached: set[str] = set()
    stack = [key]
    while stack:
        each = stack.pop()
        if each in needs and each not in reached:
            reached.add(each)
            stack += needs[each]
    return reached


def _size(plan: Plan, limits: FleetLimits) -> Iterator[str]:
    if not plan.tasks:
        yield "the plan has no task"
    if len(plan.tasks) > limits.max_subtasks:
        yield f"the plan has {len(plan.tasks)} tasks; this fleet's limit (max_subtasks) is {limits.max_subtasks}"


def _keys(tasks: Sequence[SubTask]) -> Iterator[str]:
    seen: set[str] = set()
    told: set[str] = set()
    for task in tasks:
        if not task.key:
            yield f"a task for {task.capability!r} has no key"
        elif task.key in seen and task.key not in told:
            told.add(task.key)
            yield f"the key {task.key!r} is used more than once"
        seen.add(task.key)


def _tasks(tasks: Sequence[SubTask], capabilities: Collection[str], known: Collection[str]) -> Iterator[str]:
    priorities = {int(priority) for priority in Priority}
    for task in tasks:
        if task.capability not in capabilities:
            yield f"task {task.key!r} needs the capability {task.capability!r}, which no agent of this fleet has"
        for need in dict.fromkeys(task.needs):
            if need not in known:
                yield f"task {task.key!r} needs {need!r}, which is not in the plan"
        if task.priority not in priorities:
            yield f"task {task.key!r} has the priority {task.priority}; it must be {min(priorities)} to {max(priorities)}"


def _rights(tasks: Sequence[SubTask], members: Sequence[Member]) -> Iterator[str]:
    coordinators = [member for member in members if ROOT_CAPABILITY in member.capabilities]
    if coordinators:
        yield from step_problems(tasks, by=coordinators[0], hierarchy=Hierarchy.of(members))


def _deliverable(plan: Plan, needs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if plan.deliverable not in needs:
        yield f"the deliverable {plan.deliverable!r} is not a task of the plan"
        return
    used = needed_by(plan.deliverable, needs)
    for key in plan.aside:
        used |= needed_by(key, needs)
    for key in needs:
        if key not in used:
            yield f"nobody uses the result of task {key!r}: let the deliverable need it, or leave it out"
