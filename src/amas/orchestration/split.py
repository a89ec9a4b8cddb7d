"""How a lead's part falls into portions, and how the portions' results become the part again.

`split` is used by the lead (to have the work done) and by the gate (to know what was expected), so both always mean the same.
A part is plain JSON: `{part, title, lead, accepted, score, rounds, checks, specialists, missing, summary, figures}`. Pure.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from amas.agents.skills.partition import SizedFile, partition
from amas.core.quality import Redo, Share
from amas.model.goal import SubTask
from amas.model.states import Layer
from amas.model.task import Failure, Json, TaskOutcome
from amas.orchestration.playbooks import Phase, Work

LINES_PER_GROUP = 4000
"""A specialist's portion of lines: seconds of work, so that a lost attempt costs little and small inputs aren't cut to shreds."""

WHOLE = "all"
"""The group's name where one specialist gets everything."""

PART_BYTES_MAX = 600_000
"""A part above this has its lists of covered files moved to artifacts: a result may be 1 MiB, and the gate adds to it."""

_SEVERITIES = ("error", "warning", "note")

Part = dict[str, Json]


class FileEntry(msgspec.Struct, frozen=True):
    """A file of the snapshot."""

    path: str
    lines: int = 0
    language: str = ""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    """The snapshot that a part is about."""

    ingest: Mapping[str, Json]
    """The ingest task's result."""
    files: Sequence[FileEntry]

    @property
    def broken(self) -> frozenset[str]:
        """Files that don't parse."""
        listed = self.ingest.get("broken")
        return frozenset(str(each["path"]) for each in listed) if isinstance(listed, list) else frozenset()


class Portion(msgspec.Struct, frozen=True, kw_only=True):
    """What one specialist gets."""

    work: Work
    share: Share
    paths: tuple[str, ...]
    takes: dict[str, Json]

    @property
    def key(self) -> str:
        """Its task's key."""
        return f"{self.share.capability}/{self.share.group}"


def split(phase: Phase, source: Input, *, max_subtasks: int) -> tuple[list[Portion], list[Redo]]:
    """Return the portions of a phase, at most `max_subtasks`, and what had to stay out."""
    work = [each for each in phase.work if each.files == "none" or _files_for(each, source)]
    kept, over = work[:max_subtasks], work[max_subtasks:]
    cut = [each for each in kept if (each.fan_out or phase.fan_out) != "whole"]
    groups_max = max(1, (max_subtasks - len(kept) + len(cut)) // max(len(cut), 1))
    portions = [portion for each in kept for portion in _portions(each, phase, source, groups_max)]
    reason = f"the limit of {max_subtasks} sub-tasks (max_subtasks) leaves no room for it"
    return portions, [Redo(each.capability, WHOLE, (), reason) for each in over]


def sub_tasks(portions: Sequence[Portion], source: Input, *, priority: int, more: Mapping[str, Json]) -> list[SubTask]:
    """Return the portions as tasks; `more` goes into the input of those that build on others."""
    return [_sub_task(portion, portions, source, priority=priority, more=more) for portion in portions]


def again(portions: Sequence[Portion], feedback: Sequence[Redo]) -> list[Portion]:
    """Return the portions that a gate wants done again, with those that work from them and those that these work from."""
    wanted = {(redo.capability, redo.group) for redo in feedback}
    works = {portion.share.capability: portion.work for portion in portions}  # in the playbook's order: `after` looks up
    redone = {capability for capability, _ in wanted & {_share_key(portion) for portion in portions}}
    along: set[str] = set()
    for name, work in works.items():
        along |= {name} if set(work.after) & (redone | along) else set()
    for name, work in reversed(works.items()):
        along |= set(work.after) if name in redone | along else set()
    return [portion for portion in portions if _share_key(portion) in wanted or portion.share.capability in along]


def _share_key(portion: Portion) -> tuple[str, str]:
    return portion.share.capability, portion.share.group


def aggregate(
    phase: Phase, portions: Sequence[Portion], outcomes: Mapping[str, TaskOutcome], *, left_out: Sequence[Redo] = ()
) -> Part:
    """Return the part that the portions' outcomes make; a specialist that failed is an entry of `missing`."""
    specialists, missing = [], list(left_out)
    for portion in portions:
        outcome = outcomes.get(portion.key)
        if outcome is not None and outcome.failure is None and isinstance(outcome.result, dict):
            specialists.append(outcome.result)
        else:
            reason = _reason(outcome.failure if outcome else None)
            missing.append(Redo(portion.share.capability, portion.share.group, portion.paths, reason))
    return part_of(phase, specialists, [msgspec.to_builtins(each) for each in missing])


def part_of(phase: Phase, specialists: list[dict[str, Any]], missing: list[dict[str, Any]]) -> Part:
    """Return a part in its shape, not yet judged."""
    figures = figures_of(specialists)
    return {
        "part": phase.key,
        "title": phase.title or phase.key,
        "lead": phase.lead,
        "accepted": False,
        "score": 0.0,
        "rounds": 0,
        "checks": [],
        "specialists": specialists,
        "missing": missing,
        "summary": _summary(phase, specialists, figures, len(missing)),
        "figures": figures,
    }


def merged(phase: Phase, before: Part, after: Part) -> Part:
    """Return a part with the results of a further round in the place of those that they replace."""
    results = {_key(each): each for each in before["specialists"]} | {_key(each): each for each in after["specialists"]}
    missing = {_key(each): each for each in [*before["missing"], *after["missing"]] if _key(each) not in results}
    made = part_of(phase, list(results.values()), list(missing.values()))
    return {**made, "led_by": before.get("led_by") or after.get("led_by")}


def figures_of(specialists: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what adds up over specialists: findings by severity, files covered, test outcomes."""
    figures: dict[str, float] = {f"{name}s": sum(_count(each, "counts", name) for each in specialists) for name in _SEVERITIES}
    figures["findings"] = sum(figures.values())
    figures["files"] = len({path for each in specialists for path in each.get("covered") or []})
    figures["specialists"] = len(specialists)
    for name in sorted({name for each in specialists for name in each.get("outcomes") or {}}):
        figures[f"tests_{name}"] = sum(_count(each, "outcomes", name) for each in specialists)
    return figures


def _portions(work: Work, phase: Phase, source: Input, groups_max: int) -> list[Portion]:
    files = _files_for(work, source)
    fan_out = work.fan_out or phase.fan_out
    packages = source.ingest.get("packages")
    if work.groups:
        return [_portion(work, source, name, paths) for name, paths in work.groups.items()]
    if fan_out == "packages" and isinstance(packages, list) and packages:
        return _by_package(work, source, packages, groups_max)
    if fan_out == "file_groups" and files:
        lines = sum(file.lines for file in files)
        count = min(groups_max, max(1, math.ceil(lines / LINES_PER_GROUP)))
        groups = partition([SizedFile(file.path, file.lines) for file in files], count)
        return [_portion(work, source, group.name, group.paths) for group in groups]
    return [_portion(work, source, WHOLE, tuple(file.path for file in files))]


def _by_package(work: Work, source: Input, packages: list[Any], groups_max: int) -> list[Portion]:
    """Return a portion for each package; the last takes the rest where there are more packages than room."""
    wanted = {file.path for file in _files_for(work, source)}
    room = groups_max if len(packages) <= groups_max else groups_max - 1
    heads, rest = packages[:room], packages[room:]
    portions = []
    for group in [*([each] for each in heads), *([rest] if rest else [])]:
        paths = tuple(path for package in group for path in package.get("files") or [] if path in wanted)
        name = str(group[0]["name"]) if len(group) == 1 else "rest"
        portion = _portion(work, source, name, paths)
        portions.append(msgspec.structs.replace(portion, takes={**portion.takes, "packages": group}))
    return portions


def _portion(work: Work, source: Input, group: str, paths: tuple[str, ...]) -> Portion:
    takes = {name: source.ingest[name] for name in work.takes if name in source.ingest}
    share = Share(work.capability, group, paths if work.covers else ())
    return Portion(work=work, share=share, paths=paths, takes=takes)


def _files_for(work: Work, source: Input) -> list[FileEntry]:
    if work.files == "none":
        return []
    if work.files == "all":
        return list(source.files)
    python = [file for file in source.files if file.language == "python"]
    if work.files == "python":
        return python
    listed = source.ingest.get("test_paths")
    tests = [str(each).rstrip("/") for each in listed] if isinstance(listed, list) else []
    return [file for file in python if any(file.path == test or file.path.startswith(f"{test}/") for test in tests)]


def _sub_task(
    portion: Portion, portions: Sequence[Portion], source: Input, *, priority: int, more: Mapping[str, Json]
) -> SubTask:
    work = portion.work
    needs = tuple(other.key for other in portions if other.share.capability in work.after)
    given: dict[str, Json] = {
        "root": source.ingest.get("root", ""),
        "source": source.ingest.get("source", ""),
        "paths": list(portion.paths),
        "group": portion.share.group,
        **portion.takes,
        **(more if work.after else {}),
    }
    if work.timeout_s:
        given["timeout_s"] = work.timeout_s
    return SubTask(
        key=portion.key,
        capability=work.capability,
        input=given,
        needs=needs,
        title=f"{work.title or work.capability}: {portion.share.group}",
        layer=Layer.SPECIALIST,
        priority=priority,
        timeout_s=work.timeout_s + 60 if work.timeout_s else 0.0,  # a minute to write down what happened until then
        on_failure="skip",
    )


def _reason(failure: Failure | None) -> str:
    return failure.message if failure else "there is no result"


def _key(entry: Mapping[str, Any]) -> tuple[str, str]:
    return str(entry.get("capability", "")), str(entry.get("group", ""))


def _count(result: Mapping[str, Any], name: str, key: str) -> int:
    counts = result.get(name)
    value = counts.get(key, 0) if isinstance(counts, dict) else 0
    return value if isinstance(value, int) else 0


def _summary(phase: Phase, specialists: Sequence[Mapping[str, Any]], figures: Mapping[str, float], missing: int) -> str:
    done = len({str(each.get("capability")) for each in specialists})
    counted = ", ".join(f"{figures[name + 's']:g} {name}s" for name in _SEVERITIES)
    lacking = f"; {missing} portions are missing" if missing else ""
    return f"{phase.title or phase.key}: {done} kinds of work over {figures['files']:g} files found {counted}{lacking}"
