"""What every specialist takes and returns: `Scope` in, `Analysis` out, and the task's result that is made of the two.

A skill is a function `analyse(scope) -> Analysis`; its agent is `return await specialist(ctx, analyse)`. The result is plain
JSON: `{capability, group, task_id, agent_id, covered, failed, findings_ref, counts, by_rule, figures, tool, seconds}`, then the
skill's own fields. `covered` and `failed` share no path; `tool` is `{name, version, command}`.
Called by each agent of `skills/`; leads and reports read `findings_ref` back with `load_findings`. Must never run a tool itself.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, cast

import msgspec

from amas.agents.context import Context
from amas.agents.grounds import check_links
from amas.artifacts.store import ArtifactStore
from amas.errors import GiveUp
from amas.model.task import Json

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Gravest first."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a tool says about one place."""

    rule: str
    message: str
    path: str
    """Relative to the scope's root, with `/`."""
    line: int
    """From 1; 0 where it is about the whole file."""
    column: int
    """From 1; 0 where the tool doesn't say."""
    severity: Severity
    category: str
    """`security`, `style`, `licence`, ...: what reports group by."""
    tool: str


class Unread(msgspec.Struct, frozen=True):
    """A file that a specialist couldn't work on."""

    path: str
    reason: str


class Tool(msgspec.Struct, frozen=True):
    """What found it, and how a person gets the same numbers."""

    name: str
    version: str
    command: str
    """What to type in a shell, the scope's root being the current folder; empty where there is no such program."""


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What one specialist is to look at."""

    root: Path
    paths: tuple[str, ...] = ()
    """Files, relative to `root`."""
    group: str = ""
    options: dict[str, Json] = msgspec.field(default_factory=dict)
    """The rest of the task's input."""


class Analysis(msgspec.Struct, frozen=True, kw_only=True):
    """What one specialist found."""

    tool: Tool
    covered: Sequence[str] = ()
    failed: Sequence[Unread] = ()
    findings: Sequence[Finding] = ()
    figures: dict[str, float] = msgspec.field(default_factory=dict)
    fields: dict[str, Json] = msgspec.field(default_factory=dict)
    """Small values of the skill's own, put into the result as they are."""
    artifacts: dict[str, Json] = msgspec.field(default_factory=dict)
    """Large values by name: `tests` is stored and the result has `tests_ref`."""


class By(msgspec.Struct, frozen=True):
    """Who did it."""

    capability: str
    task_id: str
    agent_id: str = ""


def scope_of(task_input: Json, *, own: Callable[[str], Path] = Path) -> Scope:
    """Return the scope that a task's input names; GiveUp (`input_unusable`) when it names no folder, or files outside of it.

    `own`: returns where the task may read what it names, and raises where it may not.
    """
    fields = dict(task_input) if isinstance(task_input, dict) else {}
    root, paths, group = fields.pop("root", ""), fields.pop("paths", []), fields.pop("group", "")
    if not isinstance(root, str) or not root or not is_folder(folder := own(root)):
        raise GiveUp(f"the task's input has no usable folder: root is {str(root)[:200]!r}", code="input_unusable")
    if not isinstance(paths, list) or not all(isinstance(path, str) and _is_below(path) for path in paths):
        raise GiveUp("the task's input is wrong: paths must be a list of files below its root", code="input_unusable")
    return Scope(root=folder, paths=tuple(paths), group=str(group), options=fields)


def is_folder(path: Path) -> bool:
    """Return whether a path that somebody named is a folder; what no file can be called is none."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name that is too long
        return False


def _is_below(path: str) -> bool:
    return not path.startswith("/") and "\0" not in path and ".." not in PurePosixPath(path).parts


def count_by_severity(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of each severity, zeros included."""
    counted = Counter(finding.severity for finding in findings)
    return {severity: counted[severity] for severity in SEVERITIES}


def count_by_rule(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings each rule has, the most frequent first."""
    counted = Counter(finding.rule for finding in findings)
    return dict(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))


def specialist_result(analysis: Analysis, scope: Scope, *, by: By, store: ArtifactStore, seconds: float) -> dict[str, Json]:
    """Store what is large and return the task's result as plain JSON."""
    ordered = sorted(analysis.findings, key=lambda found: (found.path, found.line, found.column, found.rule))
    return {
        "capability": by.capability,
        "group": scope.group,
        "task_id": by.task_id,
        "agent_id": by.agent_id,
        "covered": list(analysis.covered),
        "failed": msgspec.to_builtins(list(analysis.failed)),
        "findings_ref": store.put_json(ordered),
        "counts": count_by_severity(ordered),
        "by_rule": count_by_rule(ordered),
        "figures": dict(analysis.figures),
        "tool": msgspec.to_builtins(analysis.tool),
        "seconds": round(seconds, 3),
        **analysis.fields,
        **{f"{name}_ref": store.put_json(value) for name, value in analysis.artifacts.items()},
    }


def load_findings(store: ArtifactStore, reference: str) -> list[Finding]:
    """Return the findings stored under `reference`; an ArtifactError when they can't be had."""
    return msgspec.json.decode(store.get(reference), type=list[Finding])


def _scope_of(ctx: Context) -> Scope:
    scope = scope_of(ctx.input, own=ctx.own)
    if ctx.spec.tenant:
        check_links(scope.root)
        _check_sources(scope.root)
    return scope


def _check_sources(root: Path) -> None:
    """Raise GiveUp for a Python file below a tenant's folder that no snapshot would take in."""
    from amas.agents.skills.sources import PYTHON_SUFFIXES, SURELY_PARSEABLE_BYTES, TOO_DENSE, is_parseable

    for at, _, names in os.walk(root):
        for name in names:
            path = Path(at, name)
            large = name.endswith(PYTHON_SUFFIXES) and path.is_file() and path.stat().st_size > SURELY_PARSEABLE_BYTES
            if large and not is_parseable(path.read_bytes()):
                raise GiveUp(f"{path.relative_to(root)} is {TOO_DENSE}", code="input_unusable")


async def specialist(ctx: Context, analyse: Callable[[Scope], Awaitable[Analysis]]) -> dict[str, Json]:
    """Run `analyse` on the task's scope as one journaled step and return the task's result."""
    scope = await asyncio.to_thread(_scope_of, ctx)

    async def work() -> Json:
        started = time.monotonic()
        analysis = await analyse(scope)
        seconds = time.monotonic() - started
        return specialist_result(
            analysis, scope, by=By(ctx.spec.capability, ctx.id, ctx.agent_id), store=ctx.artifacts, seconds=seconds
        )

    return cast(dict[str, Json], await ctx.step("analyse", work))
