"""Playbooks: how a kind of goal is met, as data. A file in `playbooks/` becomes a `Playbook`, checked as a whole.

Phrases (`asked_by`, `general`) are words that must all stand in one clause, in any order and form; `{check}` stands for any
word of that synonym group. Read by the rules planner (and, as examples, by a planner with a model). Nothing here is executed.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from amas.core.gates import mistakes as gate_mistakes
from amas.model.gate import GateSpec
from amas.model.meant import did_you_mean
from amas.model.yamlfile import YamlFile, shipped_folder

FanOut = Literal["whole", "file_groups", "packages"]
"""One specialist for all, one for each group of files, or one for each package."""

Files = Literal["python", "tests", "all", "none"]

PARTS = "@parts"
"""Among a fixed task's needs: every part, as its gate passed it on."""


class Work(msgspec.Struct, frozen=True, kw_only=True):
    """What one capability does in a phase."""

    capability: str
    title: str = ""
    files: Files = "python"
    fan_out: FanOut | None = None
    """None takes the phase's."""
    takes: tuple[str, ...] = ()
    """Fields of the ingested input that it gets as they are."""
    after: tuple[str, ...] = ()
    """Capabilities of the same phase whose results it gets."""
    asked_by: tuple[str, ...] = ()
    """Phrases that ask for this capability alone."""
    covers: bool = True
    """Whether it must account for every file that it gets."""
    timeout_s: float = 0.0
    timeout_by: str = ""
    """The goal's preference, in seconds, that replaces `timeout_s`."""
    instead: tuple[str, ...] = ()
    """Capabilities that give the same output: the next one that the fleet has does what this one failed to do for good."""
    groups: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Of work that is planned again: its portions, as paths by group; empty to cut them as `fan_out` says."""


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the deliverable: a lead and its team."""

    key: str
    lead: str
    work: tuple[Work, ...]
    title: str = ""
    asked_by: tuple[str, ...] = ()
    default: bool = True
    """Whether a general goal such as `review this project` includes it."""
    fan_out: FanOut = "file_groups"
    after: tuple[str, ...] = ()
    """Phases whose accepted parts it gets."""
    gate: GateSpec | None = None
    """How its part is judged, where it isn't as the playbook's others."""
    smaller: bool = False
    """Whether groups of files that failed for good are tried once more in smaller groups."""


class Fixed(msgspec.Struct, frozen=True, kw_only=True):
    """A task that every plan of the playbook has."""

    key: str
    capability: str
    title: str = ""
    needs: tuple[str, ...] = ()
    optional: bool = False
    """Whether those that need it go on without it."""
    instead: tuple[str, ...] = ()
    """Capabilities that give the same output, as in `Work`."""


class Playbook(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of goal and how it is met."""

    name: str
    title: str
    phases: tuple[Phase, ...]
    fixed: tuple[Fixed, ...]
    deliverable: str
    gate: GateSpec | None = None
    """How its parts are judged, where it isn't as the fleet says."""
    checked_by: str = "executive.quality"
    """The capability that judges each part."""
    source: str = "ingest"
    """The fixed task that every phase starts from."""
    needs_input: bool = True
    writer: str = "reporting.write"
    """The capability that makes the deliverable of the parts."""
    synonyms: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    spellings: dict[str, str] = msgspec.field(default_factory=dict)
    """Words that mean something of their own together, and how the phrases here write them: `code base: codebase`."""
    subjects: tuple[str, ...] = ()
    """Words of which a goal must have one, unless it comes with an input folder."""
    general: tuple[str, ...] = ()
    """Phrases that ask for every phase that is on by default."""
    report: tuple[str, ...] = ()
    """Phrases that ask for what every plan does anyway."""
    cannot: tuple[str, ...] = ()
    """What this playbook has no answer to, left out and said so: verbs that start a clause, and phrases of several words."""

    @property
    def capabilities(self) -> set[str]:
        """Everything that a plan of this playbook may need."""
        needed = {self.checked_by, *(task.capability for task in self.fixed)}
        needed |= {self.writer} if "management.integration" in needed else set()
        return needed | {phase.lead for phase in self.phases} | {work.capability for phase in self.phases for work in phase.work}

    @property
    def instead(self) -> dict[str, tuple[str, ...]]:
        """By capability, those that give the same output."""
        works = [(work.capability, work.instead) for phase in self.phases for work in phase.work]
        return {name: others for name, others in [*((each.capability, each.instead) for each in self.fixed), *works] if others}


def load_playbook(path: Path) -> Playbook:
    """Return the playbook in a file; FleetFileInvalid names file, line, field and the mend."""
    file = YamlFile.read(path)
    playbook = file.decode(Playbook)
    for field, message in _mistakes(playbook):
        raise file.invalid(message, field)
    return playbook


def load_playbooks(names: Sequence[str] = (), *, folder: Path | None = None) -> list[Playbook]:
    """Return the playbooks at these paths, or called so in `folder`; all of the folder when none is named.

    The folder is the one that ships with the product where none is given.
    """
    folder = folder or shipped_folder("playbooks")
    paths = [Path(name) if "/" in name or name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml" for name in names]
    return [load_playbook(path) for path in paths or sorted(folder.glob("*.yaml"))]


def _mistakes(playbook: Playbook) -> Iterator[tuple[str, str]]:
    """Yield field and message of each rule that the types can't say."""
    keys = [task.key for task in playbook.fixed] + [phase.key for phase in playbook.phases]
    fixed = {task.key for task in playbook.fixed}
    for name, key in (("deliverable", playbook.deliverable), ("source", playbook.source)):
        if key not in fixed:
            yield name, f"{key!r} is none of the fixed tasks{did_you_mean(key, fixed)}"
    yield from ((f"gate.{name}", message) for name, message in gate_mistakes(playbook.gate))
    for i, task in enumerate(playbook.fixed):
        if keys.count(task.key) > 1:
            yield f"fixed[{i}].key", f"{task.key!r} is used more than once"
        for need in task.needs:
            if need not in fixed and need != PARTS:
                yield f"fixed[{i}].needs", f"{need!r} is no fixed task, nor {PARTS}{did_you_mean(need, {*fixed, PARTS})}"
    for i, phase in enumerate(playbook.phases):
        yield from _phase_mistakes(phase, f"phases[{i}]", keys, [each.key for each in playbook.phases[:i]])
    yield from _phrase_mistakes(playbook)


def _phase_mistakes(phase: Phase, field: str, keys: list[str], earlier: list[str]) -> Iterator[tuple[str, str]]:
    if keys.count(phase.key) > 1:
        yield f"{field}.key", f"{phase.key!r} is used more than once"
    if not phase.work:
        yield f"{field}.work", "names no capability: add one"
    for each in phase.after:
        if each not in earlier:
            yield f"{field}.after", f"{each!r} is no phase above this one{did_you_mean(each, earlier)}"
    yield from ((f"{field}.gate.{name}", message) for name, message in gate_mistakes(phase.gate))
    capabilities = [work.capability for work in phase.work]
    for i, work in enumerate(phase.work):
        if work.groups:
            yield f"{field}.work[{i}].groups", "is for work that is planned again: say fan_out"
        if capabilities.count(work.capability) > 1:
            yield f"{field}.work[{i}].capability", f"{work.capability!r} stands in this phase more than once"
        for each in work.after:
            if each not in capabilities[:i]:
                yield f"{field}.work[{i}].after", f"{each!r} is no capability above this one{did_you_mean(each, capabilities)}"


def _phrase_mistakes(playbook: Playbook) -> Iterator[tuple[str, str]]:
    phrases = [("general", playbook.general), ("report", playbook.report), ("cannot", playbook.cannot)]
    for i, phase in enumerate(playbook.phases):
        phrases.append((f"phases[{i}].asked_by", phase.asked_by))
        phrases += [(f"phases[{i}].work[{n}].asked_by", work.asked_by) for n, work in enumerate(phase.work)]
    for field, each in phrases:
        for i, phrase in enumerate(each):
            for group in re.findall(r"\{(.*?)\}", phrase):
                if group not in playbook.synonyms:
                    yield f"{field}[{i}]", f"no synonyms are called {group!r}{did_you_mean(group, playbook.synonyms)}"
