"""The rules planner: a goal in plain words, read against the fleet's playbooks, becomes a plan. No model, no I/O.

Called by the coordinator inside a step. A goal that no playbook covers is refused with what the fleet can do instead.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import msgspec

from amas.core.plan import graded
from amas.errors import InputUnusable, NoPlaybook
from amas.model.fleet import FleetLimits
from amas.model.gate import GateSpec
from amas.model.goal import Goal, Plan, SubTask
from amas.model.states import Layer
from amas.model.task import Json
from amas.orchestration.intents import Asked, Matcher, Selection
from amas.orchestration.planner import FleetFacts
from amas.orchestration.playbooks import PARTS, Fixed, Phase, Playbook, Work
from amas.orchestration.wording import Reading

GATE = "gate/"
"""Before a part's key: the task that checks it."""
PREFERRED_TIMEOUT_MAX_S = 86_400
"""A day, which is what a workflow may take."""


class RulesPlanner:
    """Plans by playbooks alone."""

    async def plan(self, goal: Goal, facts: FleetFacts) -> Plan:
        """Return a plan for `goal`; NoPlaybook or InputUnusable says why there is none."""
        return rules_plan(goal, facts)


def rules_plan(goal: Goal, facts: FleetFacts) -> Plan:
    """Return the plan of the playbook that answers most of `goal`; NoPlaybook or InputUnusable says why there is none."""
    best: tuple[int, Playbook, Asked, Reading] | None = None
    uncovered: tuple[str, ...] = ()
    for playbook in facts.playbooks:
        matcher = _matcher(msgspec.json.encode(playbook))
        reading = matcher.reading(goal.text, goal.input_dir)
        asked = matcher.asked(reading, has_input=bool(goal.input_dir))
        uncovered = uncovered or asked.uncovered
        answered = sum(len(capabilities) for capabilities in asked.selection.values()) - 100 * len(asked.uncovered)
        if asked.selection and (best is None or answered > best[0]):
            best = answered, playbook, asked, reading
    if best is None:
        raise NoPlaybook(_no_playbook(goal, uncovered, facts.capabilities))
    _, playbook, asked, reading = best
    goal, path_notes = _with_input(goal, reading, playbook)
    selection, absent = _possible(asked.selection, facts.capabilities, playbook)
    playbook, unknown = _preferred(playbook, goal.preferences)
    notes = [*_notes(asked, reading), *path_notes, *absent, *unknown]
    return _plan(goal, playbook, selection, notes=notes, limits=facts.limits)


def playbook_plan(name: str, capabilities: Iterable[str], goal: Goal, facts: FleetFacts) -> Plan:
    """Return the plan of the playbook called `name` with its phases narrowed to `capabilities`, as somebody else chose them.

    NoPlaybook when there is no such playbook, or nothing of it is chosen that this fleet can do.
    """
    playbook = next((each for each in facts.playbooks if each.name == name), None)
    if playbook is None:
        raise NoPlaybook(f"there is no playbook {name!r}; there are {', '.join(each.name for each in facts.playbooks)}")
    wanted = frozenset(capabilities)
    selection = {phase.key: frozenset(work.capability for work in phase.work) & wanted for phase in playbook.phases}
    if not any(selection.values()):
        offered = sorted({work.capability for phase in playbook.phases for work in phase.work})
        raise NoPlaybook(f"nothing of the playbook {name!r} was chosen; it offers {', '.join(offered)}")
    reading = _matcher(msgspec.json.encode(playbook)).reading(goal.text, goal.input_dir)
    goal, path_notes = _with_input(goal, reading, playbook)
    possible, absent = _possible({key: chosen for key, chosen in selection.items() if chosen}, facts.capabilities, playbook)
    playbook, unknown = _preferred(playbook, goal.preferences)
    return _plan(goal, playbook, possible, notes=[*path_notes, *absent, *unknown], limits=facts.limits)


@lru_cache(maxsize=32)
def _matcher(playbook: bytes) -> Matcher:
    """Return a playbook's matcher, made once for each content."""
    return Matcher(msgspec.json.decode(playbook, type=Playbook))


def _with_input(goal: Goal, reading: Reading, playbook: Playbook) -> tuple[Goal, list[str]]:
    """Return the goal with its input folder, taken from its words where it came with none."""
    paths = [path for path in reading.paths if not path.startswith(("http://", "https://"))]
    absolute = [path for path in paths if path.startswith("/")]
    if not goal.input_dir and absolute:
        goal = msgspec.structs.replace(goal, input_dir=absolute[0])
    if not goal.input_dir and playbook.needs_input:
        raise InputUnusable("this goal is about a folder and none was given: name it with --input DIR, or in full in the goal")
    others = [path for path in reading.paths if path.rstrip("/") != goal.input_dir.rstrip("/")]
    return goal, [f"the goal names {path}; the input {goal.input_dir} was used, whole" for path in dict.fromkeys(others)]


def _preferred(playbook: Playbook, preferences: Mapping[str, Json]) -> tuple[Playbook, list[str]]:
    """Return the playbook as the goal's preferences want it, and a note for each that means nothing to it."""
    known = {work.timeout_by for phase in playbook.phases for work in phase.work if work.timeout_by}
    for name in known & set(preferences):
        value = preferences[name]
        if not isinstance(value, int | float) or isinstance(value, bool) or not 1 <= value <= PREFERRED_TIMEOUT_MAX_S:
            raise InputUnusable(f"preferences.{name} is {value!r}, but must be seconds from 1 to {PREFERRED_TIMEOUT_MAX_S}")
    phases = tuple(
        msgspec.structs.replace(phase, work=tuple(_timed(work, preferences) for work in phase.work)) for phase in playbook.phases
    )
    unknown = [f"the preference {name!r} means nothing to this kind of goal" for name in sorted(set(preferences) - known)]
    return msgspec.structs.replace(playbook, phases=phases), unknown


def _timed(work: Work, preferences: Mapping[str, Json]) -> Work:
    wanted = preferences.get(work.timeout_by) if work.timeout_by else None
    return msgspec.structs.replace(work, timeout_s=float(wanted)) if isinstance(wanted, int | float) else work


def _possible(selection: Selection, capabilities: Iterable[str], playbook: Playbook) -> tuple[Selection, list[str]]:
    """Return what of a selection this fleet can do, and a note for each capability that it lacks."""
    can = frozenset(capabilities)
    possible = {key: wanted & can for key, wanted in selection.items() if wanted & can}
    lacking = sorted({each for wanted in selection.values() for each in wanted - can})
    if not possible:
        raise NoPlaybook(f"the playbook {playbook.name!r} covers this goal, but no agent of this fleet has {', '.join(lacking)}")
    return possible, [f"left out, no agent of this fleet can do it: {each}" for each in lacking]


def _plan(goal: Goal, playbook: Playbook, selection: Selection, *, notes: Sequence[str], limits: FleetLimits) -> Plan:
    phases = [_narrowed(phase, selection[phase.key]) for phase in playbook.phases if phase.key in selection]
    gates = tuple(GATE + phase.key for phase in phases)
    tasks = [_fixed(task, goal, playbook, phases=phases, gates=gates, notes=notes) for task in playbook.fixed]
    chosen = {phase.key for phase in phases}
    for phase in phases:
        earlier = tuple(GATE + key for key in phase.after if key in chosen)
        tasks += _part(phase, goal, playbook, earlier=earlier, limits=limits)
    return Plan(
        playbook=playbook.name,
        complexity=graded(len(tasks)),
        tasks=tuple(tasks),
        deliverable=playbook.deliverable,
        notes=tuple(notes),
    )


def _narrowed(phase: Phase, capabilities: frozenset[str]) -> Phase:
    """Return the phase with the chosen capabilities alone, and no `after` that leads to others."""
    work = [
        msgspec.structs.replace(each, after=tuple(name for name in each.after if name in capabilities))
        for each in phase.work
        if each.capability in capabilities
    ]
    return msgspec.structs.replace(phase, work=tuple(work))


def _part(phase: Phase, goal: Goal, playbook: Playbook, *, earlier: tuple[str, ...], limits: FleetLimits) -> list[SubTask]:
    """Return a phase's two tasks: its lead's and its gate's."""
    common: dict[str, Json] = {
        "goal": goal.text,
        "part": phase.key,
        "phase": msgspec.to_builtins(phase),
        "source": playbook.source,
        "limits": msgspec.to_builtins(limits),
        "priority": goal.priority,
        "gate": msgspec.to_builtins(playbook.gate or GateSpec()),
    }
    lead = SubTask(
        key=phase.key,
        capability=phase.lead,
        input=common,
        needs=(playbook.source, *earlier),
        title=phase.title,
        layer=Layer.MANAGEMENT,
        priority=goal.priority,
        spawns=tuple(work.capability for work in phase.work),
        on_failure="skip",  # the gate turns it into a part that says what is missing
    )
    gate = SubTask(
        key=GATE + phase.key,
        capability=playbook.checked_by,
        input=common,
        needs=(playbook.source, *earlier, phase.key),
        title=f"Check: {phase.title}",
        layer=Layer.EXECUTIVE,
        priority=goal.priority,
    )
    return [lead, gate]


def _fixed(
    task: Fixed, goal: Goal, playbook: Playbook, *, phases: Sequence[Phase], gates: tuple[str, ...], notes: Sequence[str]
) -> SubTask:
    needs = tuple(each for need in task.needs for each in (gates if need == PARTS else (need,)))
    return SubTask(
        key=task.key,
        capability=task.capability,
        input={
            "goal": goal.text,
            "input_dir": goal.input_dir,
            "output_dir": goal.output_dir,
            "preferences": goal.preferences,
            "playbook": playbook.name,
            "writer": playbook.writer,
            "parts": {phase.key: phase.title for phase in phases},
            "notes": list(notes),
        },
        needs=needs,
        title=task.title,
        layer=_layer(task.capability),
        priority=goal.priority,
        on_failure="skip" if task.optional else "fail",
    )


def _layer(capability: str) -> Layer:
    name = capability.partition(".")[0]
    return Layer(name) if name in set(Layer) else Layer.SPECIALIST


def _notes(asked: Asked, reading: Reading) -> list[str]:
    notes = [f"read {wrong!r} as {meant!r}" for wrong, meant in reading.mended]
    notes += [f"left out as asked: {title}" for title in asked.left_out]
    return notes + [f"not covered: {text!r}" for text in asked.uncovered]


def _no_playbook(goal: Goal, uncovered: Sequence[str], capabilities: Iterable[str]) -> str:
    """Return the one text that says what wasn't understood and what this fleet can do."""
    grouped: dict[str, list[str]] = defaultdict(list)
    for capability in sorted(capabilities):
        group, _, name = capability.partition(".")
        if group not in set(Layer):  # who runs a fleet is not what it can be asked for
            grouped[group].append(name.replace("_", " "))
    can = "; ".join(f"{group}: {', '.join(names)}" for group, names in grouped.items()) or "nothing of its own"
    what = "; ".join(f"{text!r}" for text in uncovered if text) or f"{goal.text.strip()!r}"
    return (
        f"no playbook covers this goal; not understood: {what}. This fleet can do {can}. "
        "Ask for one of these, or add a playbook; other goals need a planner with a model (AMAS_MODEL, docs/planning.md)"
    )
