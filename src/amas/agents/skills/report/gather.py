"""What the parts of a goal handed on, read into one value that the sections are made of.

Parts are JSON from many agents; one that is missing a field gives less of a report and never breaks it. The same finding by two
specialists (same rule and place) is one finding that names both tasks. Artifacts that are gone are listed as problems.
Called by `write.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from amas.agents.skills.findings import SEVERITIES, Finding, load_findings
from amas.agents.skills.report.model import TaskRef
from amas.artifacts.store import ArtifactStore
from amas.errors import ArtifactLost
from amas.model.task import Json

SHORT_CHARS_MIN = 6


class TaskRow(msgspec.Struct, kw_only=True):
    """One task in the appendix."""

    id: str
    key: str = ""
    capability: str = ""
    agent_id: str = ""
    state: str = ""
    seconds: float | None = None
    command: str = ""
    tool: str = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part as the quality gate passed it on."""

    name: str
    title: str
    lead: str
    led_by: Mapping[str, Any]
    """The lead's `task_id` and `agent_id`."""
    judged_by: Mapping[str, Any]
    """The gate's."""
    accepted: bool | None
    """None where no gate looked at it."""
    score: float | None
    rounds: int
    checks: Sequence[Mapping[str, Any]]
    summary: str
    figures: Mapping[str, float]
    specialists: Sequence[Mapping[str, Any]]
    missing: Sequence[Mapping[str, Any]]
    """What should have been done and wasn't: `{capability, group, paths, reason}`."""


class Problem(msgspec.Struct, frozen=True):
    """One thing that couldn't be read or done; who met the same for the same reason stands in one of these together."""

    what: str
    why: str
    task_ids: tuple[str, ...]


class Found(msgspec.Struct, frozen=True):
    """A finding and the tasks that found it."""

    finding: Finding
    task_ids: tuple[str, ...]


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a report is made of."""

    goal: str
    source: str
    ingest: Mapping[str, Any]
    tools: Mapping[str, Any]
    parts: Sequence[Part]
    findings: Sequence[Found]
    """Gravest first, then by rule's frequency, file and line."""
    tasks: Mapping[str, TaskRow]
    problems: Sequence[Problem]
    """What couldn't be read or done."""
    notes: Sequence[str]
    """What the planner understood otherwise than it was written, or left out."""
    artifacts: ArtifactStore

    def done(self, capability: str = "") -> Iterator[Mapping[str, Any]]:
        """Return the specialists' results, of one capability or all."""
        for part in self.parts:
            yield from (result for result in part.specialists if not capability or result.get("capability") == capability)

    def load(self, result: Mapping[str, Any], name: str) -> Json:
        """Return what a result keeps under `name_ref`; None when there is nothing."""
        reference = result.get(f"{name}_ref")
        if not isinstance(reference, str):
            return None
        try:
            return self.artifacts.get_json(reference)
        except (ArtifactLost, msgspec.DecodeError):
            return None

    def refs(self, *task_ids: str) -> tuple[TaskRef, ...]:
        """Return how these tasks are named, those that are known."""
        order = list(self.tasks)
        shorts = short_names(order)
        return tuple(
            TaskRef(shorts[known], f"task-{order.index(known) + 1}") for known in dict.fromkeys(task_ids) if known in self.tasks
        )

    def refs_of(self, results: Sequence[Mapping[str, Any]]) -> tuple[TaskRef, ...]:
        """Return how the tasks of these results are named."""
        return self.refs(*(str(result.get("task_id", "")) for result in results))

    def by_key(self, key: str) -> tuple[TaskRef, ...]:
        """Return how the tasks with this key are named."""
        return self.refs(*(row.id for row in self.tasks.values() if row.key == key))


def gather(task_input: Mapping[str, Any], results: Mapping[str, Json], artifacts: ArtifactStore) -> Material:
    """Return the material of a report from the task's input and the results that it depends on."""
    parts = [_part(name, value) for name, value in results.items() if _is_part(name, value)]
    findings, problems = _findings(parts, artifacts)
    ingest, tools = results.get("ingest"), results.get("tools")
    return Material(
        goal=str(task_input.get("goal", "")),
        source=str(task_input.get("source") or task_input.get("root") or ""),
        ingest=ingest if isinstance(ingest, dict) else {},
        tools=tools if isinstance(tools, dict) else {},
        parts=parts,
        findings=findings,
        tasks=_tasks(task_input.get("tasks") or [], results, parts),
        problems=_together([*_broken(ingest), *_failed(parts), *_missing(parts), *problems]),
        notes=[str(note) for note in task_input.get("notes") or []],
        artifacts=artifacts,
    )


def short_names(ids: Sequence[str]) -> dict[str, str]:
    """Return for each id its shortest ending that no other shares (ids made by time share their beginnings)."""
    distinct = list(dict.fromkeys(ids))
    for length in range(SHORT_CHARS_MIN, 65):
        shorts = {known: known[-length:] for known in distinct}
        if len(set(shorts.values())) == len(distinct):
            return shorts
    return {known: known for known in distinct}


def _is_part(name: str, value: Json) -> bool:
    return name not in {"ingest", "tools", "charts", "plan"} and isinstance(value, dict)


def _part(name: str, value: Mapping[str, Any]) -> Part:
    specialists = value.get("specialists")
    score = value.get("score")
    return Part(
        name=str(value.get("part") or name),
        title=str(value.get("title") or name),
        led_by=value.get("led_by") or {},
        judged_by=value.get("judged_by") or {},
        lead=str(value.get("lead", "")),
        accepted=value.get("accepted") if isinstance(value.get("accepted"), bool) else None,
        score=float(score) if isinstance(score, int | float) else None,
        rounds=int(value.get("rounds") or 0),
        checks=[check for check in value.get("checks") or [] if isinstance(check, dict)],
        summary=str(value.get("summary") or ""),
        figures=numbers(value.get("figures")),
        specialists=[result for result in specialists or [] if isinstance(result, dict)],
        missing=[entry for entry in value.get("missing") or [] if isinstance(entry, dict)],
    )


def _task_of(by: Json) -> str:
    return str(by.get("task_id") or "") if isinstance(by, dict) else ""


def numbers(value: Json) -> dict[str, float]:
    """Return the entries of a mapping that are numbers."""
    found = value.items() if isinstance(value, dict) else []
    return {str(key): number for key, number in found if isinstance(number, int | float) and not isinstance(number, bool)}


def _findings(parts: Sequence[Part], artifacts: ArtifactStore) -> tuple[list[Found], list[tuple[str, str, str]]]:
    found: dict[tuple[str, str, int, int, str], tuple[Finding, list[str]]] = {}
    problems = []
    for part in parts:
        for result in part.specialists:
            task_id, reference = str(result.get("task_id", "")), result.get("findings_ref")
            if not isinstance(reference, str):
                continue
            try:
                loaded = load_findings(artifacts, reference)
            except (ArtifactLost, msgspec.MsgspecError):
                problems.append((f"findings of {result.get('capability', part.name)}", "the stored list can't be read", task_id))
                continue
            for one in loaded:
                place = (one.rule, one.path, one.line, one.column, one.message)
                _, task_ids = found.setdefault(place, (one, []))
                task_ids.append(task_id)
    return _ordered([Found(finding, tuple(dict.fromkeys(task_ids))) for finding, task_ids in found.values()]), problems


def _ordered(found: list[Found]) -> list[Found]:
    def rank(one: Found) -> tuple[int, bool, str, str, int, int]:
        finding = one.finding
        # within a severity, security first: it is what a reader would act on today
        return (
            SEVERITIES.index(finding.severity),
            finding.category != "security",
            finding.rule,
            finding.path,
            finding.line,
            finding.column,
        )

    return sorted(found, key=rank)


def _together(problems: Sequence[tuple[str, str, str]]) -> list[Problem]:
    """Return the problems, those of the same thing for the same reason as one: a dozen linters meet the same broken file."""
    met: dict[tuple[str, str], list[str]] = {}
    for what, why, task_id in problems:
        met.setdefault((what, why), []).append(task_id)
    return [Problem(what, why, tuple(filter(None, dict.fromkeys(ids)))) for (what, why), ids in met.items()]


def _broken(ingest: Json) -> list[tuple[str, str, str]]:
    """Return the files that Python itself can't read."""
    listed = ingest.get("broken") or [] if isinstance(ingest, dict) else []
    return [
        (str(each.get("path", "")), f"line {each.get('line', 0)}: {each.get('message', '')}", _task_of(ingest)) for each in listed
    ]


def _missing(parts: Sequence[Part]) -> list[tuple[str, str, str]]:
    return [
        (f"{entry.get('capability', '')} on {entry.get('group', '')}", str(entry.get("reason", "")), _task_of(part.judged_by))
        for part in parts
        for entry in part.missing
    ]


def _failed(parts: Sequence[Part]) -> list[tuple[str, str, str]]:
    return [
        (str(failed.get("path", "")), str(failed.get("reason", "")), str(result.get("task_id", "")))
        for part in parts
        for result in part.specialists
        for failed in result.get("failed") or []
        if isinstance(failed, dict)
    ]


def _tasks(given: Sequence[Mapping[str, Any]], results: Mapping[str, Json], parts: Sequence[Part]) -> dict[str, TaskRow]:
    """Return the tasks that the caller lists and those that results name, in that order; who left a result has succeeded."""
    rows: dict[str, TaskRow] = {}
    for task in given:
        if isinstance(task, dict) and task.get("id"):
            known = {name: str(task.get(name) or "") for name in ("key", "capability", "agent_id", "state")}
            rows[str(task["id"])] = TaskRow(id=str(task["id"]), seconds=_seconds(task), **known)
    for key in ("ingest", "tools"):
        _named(rows, results.get(key), key=key, capability=f"execution.{key}")
    for part in parts:
        _named(rows, part.led_by, key=part.name, capability=part.lead)
        for result in part.specialists:
            _named(rows, result, key=f"{part.name}/{result.get('group', '')}", capability=str(result.get("capability", "")))
        _named(rows, part.judged_by, key=f"gate/{part.name}", capability="executive.quality")
    return rows


def _named(rows: dict[str, TaskRow], made: Mapping[str, Any] | Json, *, key: str, capability: str) -> None:
    """Add the task that `made` says it comes from, or complete what is known of it."""
    if not isinstance(made, dict) or not made.get("task_id"):
        return
    task_id = str(made["task_id"])
    row = rows.setdefault(task_id, TaskRow(id=task_id))
    row.key, row.capability = row.key or key.rstrip("/"), row.capability or capability
    row.agent_id, row.state = row.agent_id or str(made.get("agent_id", "")), row.state or "succeeded"
    row.seconds = _seconds(made) if row.seconds is None else row.seconds
    tool: Mapping[str, Any] = made.get("tool") or {}
    row.command, row.tool = str(tool.get("command", "")), f"{tool.get('name', '')} {tool.get('version', '')}".strip()


def _seconds(task: Mapping[str, Any]) -> float | None:
    if isinstance(task.get("seconds"), int | float):
        return float(task["seconds"])
    if task.get("started_ms") and task.get("finished_ms"):
        return float(task["finished_ms"] - task["started_ms"]) / 1000
    return None
