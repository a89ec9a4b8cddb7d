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
    again = _Again(phase, part, source, means)
    for work in phase.work:
        again.take(work, [portion for portion in portions if portion.share.capability == work.capability])
    made = msgspec.structs.replace(phase, work=tuple(again.works))
    changed = {name for names in again.stands_for.values() for name in names}
    kept = _kept(made, part, split(made, source, max_subtasks=means.max_subtasks)[0], rerun=changed)
    return PartAgain(made, kept, tuple(again.notes), bool(again.stands_for))


class _Again:
    """The work of a part that is made once more; `take` is told each work of the phase, in order."""

    def __init__(self, phase: Phase, part: Part, source: Input, means: Means) -> None:
        self._phase, self._means = phase, means
        self._missing = {_key(each): each for each in part["missing"]}
        self._sizes = {file.path: file.lines for file in source.files}
        self._taken = {work.capability for work in phase.work}
        self.works: list[Work] = []
        self.notes: list[str] = []
        self.stands_for: dict[str, tuple[str, ...]] = {}
        """By capability whose results change: those that give them from now on."""

    def take(self, work: Work, mine: Sequence[Portion]) -> None:
        """Go on with a work; `mine` are the portions that it had."""
        lost = [portion for portion in mine if portion_key(portion) in self._missing]
        if set(work.after) & self.stands_for.keys():
            after = tuple(name for each in work.after for name in self.stands_for.get(each, (each,)))
            self._change(work.capability, msgspec.structs.replace(work, after=after))
        elif lost:
            self._make_good(work, mine, lost)
        else:
            self.works.append(work)

    def _make_good(self, work: Work, mine: Sequence[Portion], lost: Sequence[Portion]) -> None:
        gone = {each.share.group: tuple(self._missing[portion_key(each)]["paths"]) or each.paths for each in lost}
        held = _held(mine, gone)
        packages = (work.fan_out or self._phase.fan_out) == "packages"
        other = self._other_than(work)
        pieces = {} if other else _smaller(self._phase, work, mine, gone, self._sizes)
        said = _said(self._phase, work, self._missing, lost)
        if other and not (packages and held):
            self._taken.add(other)
            rest = [msgspec.structs.replace(work, groups=held)] if held else []
            stand_in = msgspec.structs.replace(work, capability=other, instead=(), groups={} if packages else gone)
            self._change(work.capability, *rest, stand_in)
            self.notes.append(f"planned again: {said}; {other} did it instead")
        elif pieces:
            self._change(work.capability, msgspec.structs.replace(work, groups={**held, **pieces}))
            self.notes.append(f"planned again: {said}; done in smaller portions")
        else:
            self.works.append(work)
            self.notes.append(f"left out: {said}; there is no other way")

    def _other_than(self, work: Work) -> str:
        """Return the best capability that gives the same output and does nothing of this part yet; empty for none."""
        ways = self._means.ways.get(work.capability, ())
        return next((each for each in ways if each in self._means.can and each not in self._taken), "")

    def _change(self, capability: str, *instead: Work) -> None:
        self.works += instead
        self.stands_for[capability] = tuple(work.capability for work in instead)


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
