"""One agent for every capability that is a family of ruff's rules: the table says which, `review()` runs it.

Ruff runs isolated from the project's configuration, so that figures of different projects compare; only `requires-python` is
taken over, as the target version. The command in the result is the command that ran, less the output format. Called by the
host, and by `complexity.py` and `dead_code.py` for the rules that they add to their own tool's. Must never change a file.
"""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Finding, Scope, Tool, Unread, specialist
from amas.agents.skills.programs import tool_output
from amas.agents.skills.project import requires_python
from amas.agents.skills.severity import severity_of
from amas.agents.skills.sources import cover, usable
from amas.agents.skills.tools import version_of
from amas.model.task import Json

TEST_FILES = ("**/tests/**", "**/test/**", "test_*.py", "*_test.py", "conftest.py")
"""What counts as test code in `--per-file-ignores`."""


class Family(msgspec.Struct, frozen=True):
    """A capability's rules."""

    category: str
    select: tuple[str, ...]
    not_in_tests: tuple[str, ...] = ()
    """Rules that say nothing about test code and would drown the report."""


FAMILIES: dict[str, Family] = {
    "development.code_review": Family("correctness", ("F", "E7", "E9", "B", "PLE", "PLW")),
    "development.style": Family("style", ("E", "W", "I", "N")),
    "development.security": Family("security", ("S",), ("S101",)),  # assert is how tests speak
    "development.modernise": Family("modernisation", ("UP", "FURB")),
    "development.simplify": Family("simplification", ("SIM", "RET", "C4", "PIE")),
    "development.performance": Family("performance", ("PERF",)),
    "development.exceptions": Family("exceptions", ("BLE", "TRY")),
    "development.typing": Family("typing", ("ANN",), ("ANN",)),  # tests need no annotations: pytest gives the arguments
    "development.async_code": Family("asynchrony", ("ASYNC",)),
    "development.dates": Family("dates", ("DTZ",)),
    "documentation.docstrings": Family("documentation", ("D1",), ("D1",)),  # a test's name is its documentation
    "testing.style": Family("test style", ("PT",)),
}


def target_version(root: Path) -> str:
    """Return ruff's `py3XX` for the oldest Python that the project supports; this interpreter's where it doesn't say."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        declared = SpecifierSet(requires_python(root))
    except InvalidSpecifier:
        declared = SpecifierSet()
    # 3.7 to 3.15 are what ruff knows; .99 so that ">=3.8.1" means 3.8
    supported = [minor for minor in range(7, 16) if declared.contains(f"3.{minor}.99")] if str(declared) else []
    return f"py3{supported[0] if supported else sys.version_info.minor}"


def ruff_arguments(family: Family, *, target: str, named: Sequence[str]) -> list[str]:
    """Return what follows `ruff` on the command line."""
    ignores = [f"{pattern}:{rule}" for pattern in TEST_FILES for rule in family.not_in_tests]
    return [
        *("check", "--isolated", "--no-cache", "--no-respect-gitignore", "--target-version", target),
        *("--select", ",".join(family.select)),
        *(("--per-file-ignores", ",".join(ignores)) if ignores else ()),
        *named,
    ]


def ruff_findings(printed: str, *, root: Path, category: str) -> list[Finding]:
    """Return the findings in ruff's JSON output."""
    found: list[dict[str, Any]] = msgspec.json.decode(printed) if printed.strip() else []
    return [
        Finding(
            rule=item["code"] or "invalid-syntax",
            message=item["message"],
            path=Path(os.path.relpath(item["filename"], root)).as_posix(),
            line=item["location"]["row"],
            column=item["location"]["column"],
            severity=severity_of(item["code"] or "invalid-syntax"),
            category=category,
            tool="ruff",
        )
        for item in found
    ]


def not_analysed(findings: Sequence[Finding], *, paths: Sequence[str], root: Path) -> list[Unread]:
    """Return the files that ruff could not parse, once each, with the reason: no rule but the syntax's own was tried on them."""
    reasons = {path: "is not UTF-8 text, the only encoding that ruff reads" for path in paths if not _is_utf8(root / path)}
    for finding in findings:
        if finding.rule == "invalid-syntax":
            reasons.setdefault(finding.path, f"line {finding.line}: {finding.message}")
    return [Unread(path, reason) for path, reason in sorted(reasons.items())]


def _is_utf8(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


async def review(scope: Scope, family: Family) -> Analysis:
    """Run one family of rules over the scope's files and return what ruff says."""
    root = scope.root.resolve()
    paths, failed = usable(scope)
    arguments = ruff_arguments(family, target=target_version(root), named=cover(root, paths))
    tool = Tool("ruff", version_of("ruff"), shlex.join(["ruff", *arguments]))
    if not paths:
        return Analysis(tool=tool, failed=failed)
    printed = await tool_output("ruff", *arguments, "--output-format", "json", "--quiet", cwd=root, codes=(0, 1))
    findings = ruff_findings(printed, root=root, category=family.category)
    failed += not_analysed(findings, paths=paths, root=root)
    unread = {file.path for file in failed}
    covered = [path for path in paths if path not in unread]
    return Analysis(tool=tool, covered=covered, failed=failed, findings=findings, figures={"files": len(paths)})


@agent(*FAMILIES)
async def ruff_review(ctx: Context) -> Json:
    """Review the scope's files by the rules of the task's capability."""
    family = FAMILIES[ctx.spec.capability]
    return await specialist(ctx, lambda scope: review(scope, family))
