"""How a part that its gate gave up on is made once more: which specialists instead, or which smaller portions.

Results that the gate found nothing wrong with are kept. What is missing goes to another capability that gives the same output,
else into smaller groups of files where the playbook's phase says so, else it stays missing. Work that goes `after` any of that is
done again, since it went without. Pure; called by `replanning.py`, and `still_wanted` by the part's lead.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.agents.skills.partition import SizedFile, partition
from amas.core.quality import Redo
from amas.orchestration.playbooks import Phase, Work
from amas.orchestration.split import Input, Part, Portion, again, part_of, split

SMALLER = 8
"""Into so many groups a lost one is cut: a file that breaks its specialist takes an eighth of the others along, not all."""

Ways = Mapping[str, tuple[str, ...]]
"""By capability, others that give the same output, the best first."""
Groups = dict[str, tuple[str, ...]]
"""Paths by group."""


class PartAgain(NamedTuple):
    """How a part is made once more."""

    phase: Phase
    kept: Part
    """The part with the results that are kept; its `missing` is what no other way is known for."""
    notes: tuple[str, ...]
    changed: bool
    """Whether there is anything to do."""


class Means(NamedTuple):
    """What there is to choose from."""

    can: Collection[str]
    """The fleet's capabilities."""
    ways: Ways
    max_subtasks: int


def part_again(phase: Phase, part: Part, source: Input, means: Means) -> PartAgain:
    """Return how a part is made once more, of which `missing` names what is lost."""
    portions, _ = split(phase, source, max_subtasks=means.max_subtasks)
    missing = {_key(each): each for each in part["missing"]}
    taken = {work.capability for work in phase.work}
    sizes = {file.path: file.lines for file in source.files}
    works: list[Work] = []
    notes: list[str] = []
    stands_for: dict[str, tuple[str, ...]] = {}
    """By capability whose results change: those that give them from now on."""
    for work in phase.work:
        mine = [portion for portion in portions if portion.share.capability == work.capability]
        lost = [portion for portion in mine if portion_key(portion) in missing]
        after = tuple(name for each in work.after for name in stands_for.get(each, (each,)))
        if set(work.after) & stands_for.keys():
            works.append(msgspec.structs.replace(work, after=after))
            stands_for[work.capability] = (work.capability,)
            continue
        gone = {each.share.group: tuple(missing[portion_key(each)]["paths"]) or each.paths for each in lost}
        held = _held(mine, gone)
        other = next((each for each in means.ways.get(work.capability, ()) if each in means.can and each not in taken), "")
        packages = (work.fan_out or phase.fan_out) == "packages"
        pieces = {} if other or not lost else _smaller(phase, work, mine, gone, sizes)
        if lost and other and not (packages and held):
            taken.add(other)
            stand_in = msgspec.structs.replace(work, capability=other, instead=(), groups={} if packages else gone)
            works += [*([msgspec.structs.replace(work, groups=held)] if held else []), stand_in]
            stands_for[work.capability] = (*((work.capability,) if held else ()), other)
            notes.append(f"planned again: {_said(phase, work, missing, lost)}; {other} did it instead")
        elif pieces:
            works.append(msgspec.structs.replace(work, groups={**held, **pieces}))
            stands_for[work.capability] = (work.capability,)
            notes.append(f"planned again: {_said(phase, work, missing, lost)}; done in smaller portions")
        else:
            works.append(work)
            notes += [f"left out: {_said(phase, work, missing, lost)}; there is no other way"] if lost else []
    made = msgspec.structs.replace(phase, work=tuple(works))
    changed = {name for names in stands_for.values() for name in names}
    kept = _kept(made, part, split(made, source, max_subtasks=means.max_subtasks)[0], rerun=changed)
    return PartAgain(made, kept, tuple(notes), bool(stands_for))


def still_wanted(portions: Sequence[Portion], kept: Part, feedback: Sequence[Redo]) -> list[Portion]:
    """Return the portions that a part which is made once more lacks; `feedback`: what its gate wants done again."""
    asked = {(redo.capability, redo.group) for redo in feedback}
    hopeless = {_key(each) for each in kept["missing"]}
    have = {_key(each) for each in kept["specialists"]} - asked
    considered = again(portions, feedback) if feedback else portions
    return [portion for portion in considered if portion_key(portion) not in hopeless | have]


def references(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return where the lists of results are, for specialists that build on them."""
    return [
        {name: value for name, value in result.items() if name in {"capability", "group"} or name.endswith("_ref")}
        for result in results
    ]


def portion_key(portion: Portion) -> tuple[str, str]:
    """Return what tells a portion from the part's others."""
    return portion.share.capability, portion.share.group


def _held(mine: Sequence[Portion], gone: Groups) -> Groups:
    """Return the groups without the paths that are lost; a group of which all is lost isn't there."""
    held: Groups = {}
    for portion in mine:
        lost = gone.get(portion.share.group)
        if lost is None:
            held[portion.share.group] = portion.paths
        elif rest := tuple(path for path in portion.paths if path not in lost):
            held[portion.share.group] = rest
    return held


def _smaller(phase: Phase, work: Work, mine: Sequence[Portion], gone: Groups, sizes: Mapping[str, int]) -> Groups:
    """Return what is lost in smaller groups than before; empty where there are none or the phase doesn't want it."""
    if not phase.smaller or (work.fan_out or phase.fan_out) != "file_groups":
        return {}
    whole = {portion.share.group: len(portion.paths) for portion in mine}
    pieces: Groups = {}
    for group, paths in gone.items():
        cut = partition([SizedFile(path, sizes.get(path, 1)) for path in paths], SMALLER)
        if len(cut) > 1 or len(paths) < whole[group]:
            pieces |= {f"{group}.{number}": piece.paths for number, piece in enumerate(cut, 1)}
    return pieces


def _kept(phase: Phase, part: Part, portions: Sequence[Portion], *, rerun: Collection[str]) -> Part:
    """Return the part with the results that the phase still has a place for and that needn't be made anew."""
    expected = {portion_key(portion): portion for portion in portions}
    lost = {_key(each) for each in part["missing"]}
    sound = [each for each in part["specialists"] if _stays(each, expected, lost)]
    specialists = [each for each in sound if _key(each)[0] not in _downstream(phase, rerun)]
    missing = [each for each in part["missing"] if _key(each)[0] not in rerun and _key(each) in expected]
    return {**part_of(phase, specialists, missing), "led_by": part.get("led_by")}


def _stays(result: Mapping[str, Any], expected: Mapping[tuple[str, str], Portion], lost: Collection[tuple[str, str]]) -> bool:
    portion = expected.get(_key(result))
    if portion is None:
        return False
    return _key(result) not in lost or (
        bool(portion.share.paths) and set(portion.share.paths) <= set(result.get("covered") or [])
    )


def _downstream(phase: Phase, rerun: Collection[str]) -> set[str]:
    """Return the capabilities that go after one whose results change."""
    found: set[str] = set()
    for work in phase.work:
        found |= {work.capability} if set(work.after) & ({*rerun} | found) else set()
    return found


def _said(phase: Phase, work: Work, missing: Mapping[tuple[str, str], Mapping[str, Any]], lost: Sequence[Portion]) -> str:
    reason = missing[portion_key(lost[0])]["reason"]
    more = f", {len(lost)} portions" if len(lost) > 1 else ""
    return f"{phase.title or phase.key}: {work.capability} failed ({reason}{more})"


def _key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("capability", "")), str(entry.get("group", ""))
